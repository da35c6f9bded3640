"""What layers' C takes is known before a network is made of it."""

from __future__ import annotations

import pytest

from dfqgen.compile import compile_model, draft_c
from dfqgen.goals.code import CodeSizes, layer_call
from dfqgen.plan.budget import Budget
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.records import Optimize
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import load_target
from tests.models import DIGITS

AROUND = 256
"""Bytes of NAME_invoke() and NAME_init(), and what calls differ by: 194 at most."""


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus", "riscv32imc"])
@pytest.mark.parametrize("optimize", ["speed", "size"])
@pytest.mark.parametrize("choices", [Choices(bits="8"), Choices(bits="4", activations="int16")], ids=str)
def test_layers_measured_one_by_one_add_up_to_the_network(
    target: str, optimize: Optimize, choices: Choices
) -> None:
    meaning = InputMeaning((0.0,), (16.0,), lo=0.0, hi=16.0)
    recipe = make_recipe(**(choices | Choices(target=target, optimize=optimize, meaning=meaning)))
    draft = draft_c(compile_model(DIGITS, recipe), Budget())
    sizes = CodeSizes(load_target(target), optimize)
    steps = draft.plan.steps
    found = sizes.total_bytes(
        [layer_call(step.kernel, step.op, step.inputs, step.output)[0] for step in steps]
    )
    assert draft.code is not None
    assert abs(draft.code.code_bytes - found) < AROUND
