"""Which of what fits is built."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfqgen.errors import BudgetExceeded
from dfqgen.goals import fit
from dfqgen.goals.fit import Candidate, Costs, Fitting
from dfqgen.plan.budget import Budget
from dfqgen.recipe import make_recipe

COSTS = Costs(0.0, 0.0, 0.0)


def compiled(decibels: float) -> Any:
    return SimpleNamespace(
        quantized=SimpleNamespace(predicted_db={"y": decibels}), recipe=make_recipe(target="cortex-m4")
    )


def candidate(decibels: float) -> Candidate:
    draft: Any = SimpleNamespace(plan=None)
    return Candidate(compiled(decibels), draft, COSTS, COSTS, COSTS)


@pytest.mark.parametrize(
    ("eight_bits", "few_bits", "best"),
    [
        (29.9, None, 29.9),  # nothing lost: fewer bits are not looked at
        (24.0, 27.0, 27.0),
        (24.0, 20.0, 24.0),
        (None, 20.0, 20.0),
    ],
)
def test_fewer_bits_are_weighed_where_eight_do_not_fit_or_lose_something(
    monkeypatch: pytest.MonkeyPatch, eight_bits: float | None, few_bits: float | None, best: float
) -> None:
    asked: list[bool] = []

    def search(self: Fitting, *, few_bits: bool, last: bool) -> Candidate | None:
        asked.append(few_bits)
        decibels = found[few_bits]
        return None if decibels is None else candidate(decibels)

    found = {False: eight_bits, True: few_bits}
    monkeypatch.setattr(Fitting, "_search", search)
    monkeypatch.setattr(fit, "given_up", lambda *_: ())
    monkeypatch.setattr(fit, "verify_draft", lambda *_: None)
    draft: Any = None
    fitting = Fitting(compiled(30.0), draft, Budget(flash_bytes=1), lambda _: None)
    fitted = fitting.run(BudgetExceeded("too much", excess={"flash": 1.0}))
    assert fitted.compiled.quantized.predicted_db == {"y": best}
    assert asked == ([False] if few_bits is None else [False, True])
