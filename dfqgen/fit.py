"""Budgets as goals: what the user left open is chosen until the C fits.

A build that does not fit is made again with what costs the least accuracy by predicted error: weights of
fewer bits where flash is short (`quantization/choose_bits.py` finds the best use of the bytes). What the user
chose stays. Time has no such remedy: the kernels are the fastest known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dfqgen.compile import Built, Compiled, build_c, compile_model, plan_for, quantize_again
from dfqgen.errors import BudgetExceeded, UserError
from dfqgen.plan.budget import Budget
from dfqgen.progress import Progress, silent
from dfqgen.recipe.choices import with_low_bits
from dfqgen.recipe.records import FlashBytes, Recipe

ROUNDS = 5
"""Builds at most. Kernels pad packed weights, and fewer bits need other code: a round may miss a little."""

SPARE = 0.002
"""Share of the flash taken off beside what was too much, so that a second correction is rare."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What fits, and what was given up for it in words."""

    compiled: Compiled
    built: Built
    sacrifices: tuple[str, ...] = ()


def compile_to_fit(
    model: str | Path, recipe: Recipe | None, budget: Budget, progress: Progress = silent
) -> Fitted:
    """The build of a recipe, its open choices changed where it would not fit.

    Raises BudgetExceeded with the nearest miss, other UserErrors and VerificationFailed.
    """
    asked = recipe or Recipe()
    compiled = compile_model(model, asked, progress)
    nearest: BudgetExceeded | None = None
    for _ in range(2 * ROUNDS):
        try:
            built = build_c(compiled, budget, progress)
            return Fitted(compiled, built, _sacrifices(asked, compiled))
        except BudgetExceeded as error:
            thrifty = _without_winograd(compiled, budget, error)
            if thrifty is not None:
                compiled = thrifty
                continue
            if not _could_be_narrower(asked, error):
                raise
            nearest = _nearer(nearest, error)
            progress("trying fewer bits")
            narrower = _narrower(asked, compiled, error, progress)
            if narrower is None:
                break
            compiled = narrower
    assert nearest is not None
    tried = "Weights of fewer bits were tried, down to the narrowest or until they saved no more."
    raise BudgetExceeded(nearest.message, f"{tried}\n{nearest.hint}", nearest.excess)


def _without_winograd(compiled: Compiled, budget: Budget, error: BudgetExceeded) -> Compiled | None:
    """The same with no flash spent on speed, where some was: plans only guess the size of code."""
    code = compiled.recipe.code
    plan = plan_for(compiled.program, code, compiled.target, budget)
    if "flash" not in error.excess or not any(step.kernel.spends_flash for step in plan.steps):
        return None
    return replace(compiled, recipe=replace(compiled.recipe, code=replace(code, winograd="off")))


def _could_be_narrower(asked: Recipe, error: BudgetExceeded) -> bool:
    """Flash alone is missing, and the user did not choose bits."""
    return set(error.excess) == {"flash"} and asked.low_bits.wish is None


def _nearer(nearest: BudgetExceeded | None, error: BudgetExceeded) -> BudgetExceeded:
    return error if nearest is None or error.excess["flash"] < nearest.excess["flash"] else nearest


def _narrower(
    asked: Recipe, compiled: Compiled, error: BudgetExceeded, progress: Progress
) -> Compiled | None:
    """With weights that take so much less than now; None where there are none."""
    now = compiled.program.weight_bytes
    before = compiled.recipe.low_bits.wish
    goal = min(now, before.bytes) if isinstance(before, FlashBytes) else now
    goal -= int(error.excess["flash"] + SPARE * goal) + 1
    if goal <= 0:
        return None
    low_bits = replace(asked.low_bits, wish=FlashBytes(goal), low_ends=True)
    try:
        return quantize_again(compiled, with_low_bits(asked, low_bits), progress)
    except UserError:  # the model compiles, so it is the wish: the narrowest weights take more
        return None


def _sacrifices(asked: Recipe, compiled: Compiled) -> tuple[str, ...]:
    if compiled.recipe.low_bits == asked.low_bits:
        return ()
    chosen = next(note.effect for note in compiled.quantized.notes if note.step == "weights of few bits")
    return (f"weights got fewer bits so that the network fits: {chosen}",)
