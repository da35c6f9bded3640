"""A short run of the campaign; what it found once is a test where it was mended."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.campaign import State, run
from tests.fuzz.cases import case
from tests.fuzz.oracle import Verdict, examine
from tests.fuzz.seeds import small_seeds

CASES = 240
FIRST = 1_000_000
"""Others than a campaign begins with."""


def test_mutated_models_are_refused_or_equal_onnxruntime() -> None:
    found = {}
    verdicts = []
    for number in range(FIRST, FIRST + CASES):
        outcome = examine(case(number))
        verdicts.append(outcome.verdict)
        if outcome.verdict.is_finding:
            found[number] = outcome
    assert not found
    assert verdicts.count(Verdict.TAKEN) > CASES // 10  # it is not all refused at the door


def test_a_case_is_the_same_on_every_run() -> None:
    assert case(7) == case(7)
    assert len({case(number) for number in range(20)}) > 15


def test_the_corpus_compiles_but_for_what_is_documented() -> None:
    seeds = small_seeds()[::7]
    verdicts = [examine(seed).verdict for seed in seeds]
    assert set(verdicts) <= {Verdict.TAKEN, Verdict.REFUSED}
    assert verdicts.count(Verdict.TAKEN) > len(seeds) // 2


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    assert run(folder, 60.0, workers=1, most_cases=3).following == 3
    state = run(folder, 60.0, workers=2, most_cases=4)
    assert state.following == 7
    assert sum(state.counts.values()) == 7
    assert State.read(folder) == state
