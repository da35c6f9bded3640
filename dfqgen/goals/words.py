"""What was tried and what was given up, in words."""

from __future__ import annotations

from dfqgen.compile import Compiled
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import Plan
from dfqgen.recipe.records import Recipe


def tried(asked: Recipe, *, few_bits: bool) -> list[str]:
    """What the solver had to choose from."""
    if few_bits:
        return ["weights of fewer bits"]
    open_choices = {
        "int8 in place of int16": asked.activations.activations == "auto",
        "kernels that spend no flash": asked.code.winograd == "auto",
        "code made for size": asked.code.optimize is None,
    }
    return [text for text, is_open in open_choices.items() if is_open]


def given_up(asked: Compiled, found: Compiled, plan: Plan) -> tuple[str, ...]:
    """How what was found differs from what was asked for."""
    changes = []
    before, after = asked.recipe, found.recipe
    if after.low_bits != before.low_bits:
        (chosen,) = (note for note in found.quantized.notes if note.step == "weights of few bits")
        changes.append(f"weights got fewer bits: {chosen.effect}")
    if after.code.winograd != before.code.winograd:
        count = sum(step.kernel.spends_flash for step in plan.steps)
        changes.append(f"kernels that spend flash for speed: {count or 'none'}")
    if after.code.made_for != before.code.made_for:
        changes.append(f"made for {after.code.made_for}")
    counts = [
        sum(tensor.qtype.dtype is IntType.INT16 for tensor in compiled.program.tensors.values())
        for compiled in (asked, found)
    ]
    if counts[0] != counts[1]:
        changes.append(f"int16 for {counts[1]} tensors, not {counts[0]}")
    return tuple(f"so that the network fits, {change}" for change in changes)
