"""Layers of few bits rounded front to back, each one's error put right in the next (docs/df-mpc.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfqgen.passes.contract import Note
from dfqgen.quantization.low_bit_layers import LowBitQuantizer, Mixed
from dfqgen.quantization.rounding import Bits, Rounded
from dfqgen.quantization.sensitivity import Sensitivity
from dfqgen.quantization.types import Typed
from dfqgen.recipe.records import LowBitsRecipe, RoundingRecipe, WeightsRecipe


@dataclass(frozen=True, slots=True)
class InTurn:
    """Error feedback (or SQuant, or nearest) within each layer, and compensation between layers."""

    weights: WeightsRecipe
    low_bits: LowBitsRecipe
    rounding: RoundingRecipe

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        quantizer = LowBitQuantizer(typed, self.weights, self.low_bits, self.rounding)
        mixed = quantizer.quantize(bits)
        notes = [*compensation_notes(quantizer, mixed), *effect_notes(quantizer, bits, mixed)]
        return Rounded(mixed.graph, mixed.weights, bits, tuple(notes))


def compensation_notes(quantizer: LowBitQuantizer, mixed: Mixed) -> list[Note]:
    """How many layers were compensated, and which could not be."""
    if quantizer.compensation is None:
        return []
    notes = []
    if mixed.factors:
        values = np.concatenate(list(mixed.factors.values()))
        low, high = np.quantile(values, (0.01, 0.99))
        notes.append(
            Note("compensation", f"{len(mixed.factors)} pairs, factors from {low:.2f} to {high:.2f}")
        )
    if mixed.uncompensated:
        names = ", ".join(mixed.uncompensated)
        notes.append(Note("not compensated", f"read by several or by none of their own: {names}"))
    return notes


def effect_notes(quantizer: LowBitQuantizer, bits: Bits, mixed: Mixed) -> list[Note]:
    """Output SQNR on the procedural samples, weights alone quantized, with one method after the other.

    `mixed` is what all methods together gave.
    """
    rounding, low_bits = quantizer.rounding, quantizer.low_bits
    alone = replace(low_bits, compensate="none")
    nearest = replace(rounding, method="nearest")
    steps = [("rounded to nearest", replace(nearest, bias="none"), alone)]
    if rounding.bias != "none":
        steps.append(("+ bias correction", nearest, alone))
    if rounding.method != "nearest":
        steps.append((f"+ {rounding.method} rounding", rounding, alone))
    if low_bits.compensate != "none":
        steps.append(("+ compensation", rounding, low_bits))
    found = []
    sensitivity = Sensitivity(quantizer)
    for name, how, chosen in steps:
        whole = (how, chosen) == (rounding, low_bits)
        result = mixed if whole else replace(quantizer, rounding=how, low_bits=chosen).quantize(bits)
        noise = sensitivity.noise_of(result.float_graph())
        found.append(f"{name} {-10.0 * np.log10(max(noise, 1e-30)):.1f} dB")
    return [Note("what each adds", ", ".join(found))]
