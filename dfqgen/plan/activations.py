"""`--activations auto`, the default: int16 for the tensors that are worth it, as a recipe and in words."""

from __future__ import annotations

import math
from dataclasses import replace

from dfqgen.errors import UserError
from dfqgen.passes.contract import Note
from dfqgen.plan.budget import Budget
from dfqgen.plan.widening import Chosen, Search
from dfqgen.quantization.prepared import Prepared
from dfqgen.recipe.records import ActivationsRecipe, Recipe
from dfqgen.targets import Target

STEP = "activations"


def choose_activations(
    prepared: Prepared, recipe: Recipe, target: Target
) -> tuple[ActivationsRecipe, tuple[Note, ...]]:
    """The recipe with "auto" settled: layers by name, and what was chosen and why.

    Of the choices that are worth it the best whose arena the target's RAM holds, or the recipe's; where that
    does not hold int8's either, the best whose arena is no larger.
    """
    options = recipe.activations
    if options.activations != "auto":
        return options, ()
    narrow = replace(options, activations="int8")
    if not prepared.reactions:
        return narrow, (Note(STEP, "int8: without samples nothing tells what int16 would gain"),)
    try:
        search = Search(prepared, recipe, target)
    except UserError as error:
        return narrow, (Note(STEP, f"int8: in int16 {error.message}"),)
    int8, choices = search.choices()
    room_bytes = Budget(ram_bytes=recipe.code.ram_bytes).on(target).ram_bytes
    for choice in choices:
        settled = search.settled(frozenset(widening.root for widening in choice.widenings))
        arena_bytes = search.planned_bytes(settled)
        if room_bytes is None or arena_bytes <= max(room_bytes, search.planned.arena_bytes):
            before = replace(int8, arena_bytes=search.planned.arena_bytes)
            return settled, notes(before, replace(choice, arena_bytes=arena_bytes))
    why = "there is no RAM for int16" if choices else "int16 is not worth its time and RAM"
    return narrow, (Note(STEP, f"int8: {why}, predicted at the outputs {_decibels(int8.noise)}"),)


def notes(int8: Chosen, chosen: Chosen) -> tuple[Note, ...]:
    """The choice for the terminal, what it is made of for the report."""
    count = len(chosen.widenings)
    which = f"int16 for {count} tensor{'s' if count > 1 else ''}"
    gain = f"predicted at the outputs {_decibels(chosen.noise)} for {_decibels(int8.noise)}"
    more = (chosen.instructions - int8.instructions) / max(int8.instructions, 1.0)  # a view alone takes none
    time = f"{100.0 * more:+.1f} % instructions"
    arena = f"arena {chosen.arena_bytes:,} bytes for {int8.arena_bytes:,}"
    why = [
        f"{', '.join(w.layers[:2]) or 'input'}{' ...' if len(w.layers) > 2 else ''} {100.0 * w.share:.0f} %"
        for w in chosen.widenings
    ]
    return (
        Note(STEP, f"{which}, {gain}, {time}, {arena}"),
        Note("int16 tensors", f"what each takes of the noise left: {'; '.join(why)}"),
    )


def _decibels(noise: float) -> str:
    return f"{-10.0 * math.log10(max(noise, 1e-30)):.1f} dB"
