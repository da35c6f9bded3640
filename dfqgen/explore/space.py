"""Which choices are tried: weights by share of the flash they take, and types of activations."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.recipe.choices import Choices

LEAST_PERCENT = 35
"""Near 2-bit weights throughout, with biases and factors."""


def variations(base: Choices, quantizations: int) -> list[Choices]:
    """At least one, at most `quantizations` choices: those of `base`, and evenly less flash for constants.

    Half of them have int16 activations, unless `base` says which it wants; what `base` says of bits is kept.
    """
    kinds: Sequence[Choices] = [Choices(activations="int8"), Choices(activations="int16")]
    if "activations" in base or "activations_map" in base or quantizations < 2:
        kinds = [Choices()]
    chosen = any(key in base for key in ("bits", "bits_map", "flash_budget", "target_sqnr"))
    steps = 1 if chosen else max(1, quantizations // len(kinds))
    return [Choices(**base, **kind, **_share(step, steps)) for kind in kinds for step in range(steps)]


def _share(step: int, steps: int) -> Choices:
    if step == 0:
        return Choices()
    percent = 100 - (100 - LEAST_PERCENT) * step / (steps - 1)
    return Choices(flash_budget=f"{percent:.3g}%")
