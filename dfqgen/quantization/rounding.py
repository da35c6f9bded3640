"""What makes integers of a typed graph's weights: the protocol, and rounding each layer by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph
from dfqgen.graph.site import QuantizedWeight
from dfqgen.passes.contract import Note
from dfqgen.passes.correct_bias import correct_bias
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import Integers, quantize_weights, to_nearest
from dfqgen.recipe.records import WeightsRecipe

Bits = Mapping[str, IntType]
"""Widths of weights by the layer's output tensor; layers that are not named have 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """The typed graph with the biases that go with these integers, and what was done, for the report."""

    graph: Graph
    weights: Mapping[str, QuantizedWeight]
    notes: tuple[Note, ...] = ()


class Rounder(Protocol):
    """Makes the integers of all weights, and the biases that go with them."""

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """The graph is not changed but for its biases. Raises UserError where a method cannot do it."""
        ...


@dataclass(frozen=True, slots=True)
class Independent:
    """Every layer by itself, to nearest or by SQuant; biases corrected by the statistics' means."""

    weights: WeightsRecipe
    integers: Integers = to_nearest
    correct_bias: bool = True

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        weights = quantize_weights(typed.graph, typed.types, typed.clips, self.weights, bits, self.integers)
        if not self.correct_bias:
            return Rounded(typed.graph, weights)
        means = {name: channels.moments()[0] for name, channels in typed.statistics.items()}
        real = {
            name: weight.dequantize() for name, weight in weights.items() if not typed.states(name, weight)
        }
        return Rounded(correct_bias(typed.graph, means, real), weights)
