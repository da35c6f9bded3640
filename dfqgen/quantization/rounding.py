"""What makes integers of a typed graph's weights: the protocol, and rounding each layer by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.site import QuantizedWeight
from dfqgen.passes.contract import Note
from dfqgen.passes.correct_bias import correct_bias
from dfqgen.quantization.descent import descended
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import quantize_weights, squant_round, to_nearest
from dfqgen.recipe.records import RoundingMethod, WeightsRecipe

Bits = Mapping[str, IntType]
"""Widths of weights by the layer's output tensor; layers that are not named have 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """The typed graph with the biases that go with these integers, and what was done, for the report.

    Recurrent layers make their integers when they are lowered, as wide as `bits` say.
    """

    graph: Graph
    weights: Mapping[str, QuantizedWeight]
    bits: Bits
    notes: tuple[Note, ...] = ()


class Rounder(Protocol):
    """Makes the integers of all weights, and the biases that go with them."""

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """The graph is not changed but for its biases. Raises UserError where a method cannot do it."""
        ...


def round_weights(
    typed: Typed,
    bits: Bits,
    weights: WeightsRecipe,
    method: RoundingMethod,
    samples: Mapping[str, Array] | None = None,
) -> dict[str, QuantizedWeight]:
    """Every layer by itself: to the nearest, by SQuant, or by feedback, for which `samples` [N, ...] by input
    tensor show how inputs go together (procedural ones by default).
    """
    integers = squant_round if method == "squant" else to_nearest
    found = quantize_weights(typed.graph, typed.types, typed.clips, weights, bits, integers)
    return descended(typed, found, samples) if method == "feedback" else found


@dataclass(frozen=True, slots=True, eq=False)
class Independent:
    """Every layer by itself (`round_weights`); biases corrected by the statistics' means."""

    weights: WeightsRecipe
    method: RoundingMethod = "nearest"
    correct_bias: bool = True
    samples: Mapping[str, Array] | None = None

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        weights = round_weights(typed, bits, self.weights, self.method, self.samples)
        if not self.correct_bias:
            return Rounded(typed.graph, weights, bits)
        means = {name: channels.moments()[0] for name, channels in typed.statistics.items()}
        real = {
            name: weight.dequantize() for name, weight in weights.items() if not typed.states(name, weight)
        }
        return Rounded(correct_bias(typed.graph, means, real), weights, bits)
