"""Weights of few bits: each layer quantized in turn, its error put right in the next (Chen et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.fixedpoint.scales import LOW_BITS
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import Chain, find_chains, scale_input_channels
from dfqgen.passes.compensate import (
    Affine,
    Compensation,
    factors_for,
    recalibrate,
    restored_offset,
    sane,
)
from dfqgen.quantization.feedback import FEWEST_BITS, feedback_round
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import (
    Place,
    quantize_weight,
    squant_round,
    stated_weight,
    ternary_weight,
    to_nearest,
)
from dfqgen.recipe.records import LowBitsRecipe, RoundingRecipe, WeightsRecipe

FEWEST_VALUES = 64
"""A channel's mean and deviation are told from at least this many values."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer as it will run, and the factor [Cout] that its consumer's input channels need."""

    weight: QuantizedWeight
    bias: Array
    factor: Array | None = None

    def float_op(self, op: Conv2D) -> Conv2D:
        """The layer with its integers' reals."""
        return replace(op, weight=self.weight.dequantize(), bias=self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Ready integers by layer, the graph with the biases that go with them, and what could be compensated.

    `factors` by layer; `uncompensated` names the low layers that have no consumer of their own.
    """

    graph: Graph
    weights: Mapping[str, QuantizedWeight]
    factors: Mapping[str, Array]
    uncompensated: tuple[str, ...]

    def float_graph(self) -> Graph:
        """The graph with the reals that the integers stand for."""
        ops: dict[str, Op] = {}
        for name, weight in self.weights.items():
            conv = self.graph.producers[name].op
            assert isinstance(conv, Conv2D)
            ops[name] = replace(conv, weight=weight.dequantize())
        return self.graph.replace_ops(ops)


@dataclass(frozen=True, eq=False)
class LowBitQuantizer:
    """Quantizes layers of a typed graph one by one to any width, by the recipe's methods.

    `rounding` may be to nearest, SQuant or feedback; AdaRound does not work on single layers.
    """

    typed: Typed
    weights: WeightsRecipe
    low_bits: LowBitsRecipe
    rounding: RoundingRecipe

    @property
    def graph(self) -> Graph:
        return self.typed.graph

    @property
    def correct_bias(self) -> bool:
        return self.rounding.bias != "none"

    @cached_property
    def chains(self) -> dict[str, Chain]:
        """By first layer."""
        return {chain.first: chain for chain in find_chains(self.graph)}

    @cached_property
    def compensation(self) -> Compensation | None:
        """None leaves errors be."""
        return None if self.low_bits.compensate == "none" else Compensation(self.low_bits.compensate)

    def layer(self, node: Node, dtype: IntType, factor: Array | None = None) -> Layer:
        """The node's layer at this width; `factor` [Cin] is what its inputs need.

        The bias gives back the mean of the exact layer on exact inputs, whatever the factor.
        """
        exact = node.op
        assert isinstance(exact, Conv2D)
        kept = self.stated(node)
        if kept is not None:
            return Layer(kept, exact.bias)
        moments = self.typed.evidence.moments[node.output]
        wanted = exact.weight if factor is None else scale_input_channels(exact, factor)
        weight = self.round(node, wanted, dtype)
        settings = self.compensation if dtype.bits <= LOW_BITS else None
        if settings is not None and settings.recalibrate and self.weights.free_scale:
            weight = recalibrate(weight, wanted, moments)
        real = weight.dequantize()
        affine = Affine(exact.weight.astype(np.float64), exact.bias.astype(np.float64))
        bias = restored_offset(affine, real, moments) if self.correct_bias else affine.offset
        chain = self.chains.get(node.output)
        if settings is None or chain is None:
            return Layer(weight, bias)
        # The consumer sees the layer as it was meant: its own inputs' factor is already in `wanted`.
        meant = Affine(wanted.astype(np.float64), affine.offset)
        return Layer(
            weight, bias, factors_for(chain, self.graph, meant, Affine(real, bias), moments, settings)
        )

    def stated(self, node: Node) -> QuantizedWeight | None:
        """The layer's integers where the model states them."""
        return stated_weight(Place.of(node, self.typed.types, self.typed.clips))

    def round(self, node: Node, wanted: Array, dtype: IntType) -> QuantizedWeight:
        """The real weight as integers, by the rounding chosen."""
        conv, method = node.op, self.rounding.method
        assert isinstance(conv, Conv2D)
        place = Place.of(node, self.typed.types, self.typed.clips)
        place = replace(place, conv=replace(conv, weight=wanted))
        if dtype is IntType.INT2 and self.low_bits.ternary == "threshold":
            return place.fit(lambda smallest: ternary_weight(wanted, smallest))
        integers = squant_round if method == "squant" else to_nearest
        weight = place.fit(
            lambda smallest: quantize_weight(
                wanted, self.weights, smallest, dtype, integers, idle_scale=place.idle_scale
            )
        )
        if dtype.bits > LOW_BITS or method != "feedback":
            return weight
        moments = self.typed.evidence.moments[node.output]
        reader = self.graph.sole_consumer(node.output)
        if dtype.bits <= FEWEST_BITS and reader is not None and isinstance(reader.op, Clip):
            moments = self.typed.evidence.passing(node, reader.op)
        return feedback_round(wanted, weight, moments, fixed_scale=not self.weights.free_scale)

    def quantize(self, bits: Mapping[str, IntType]) -> Mixed:
        """All layers, front to back; those not in `bits` get 8."""
        weights: dict[str, QuantizedWeight] = {}
        ops: dict[str, Op] = {}
        needed: dict[str, Array] = {}
        factors: dict[str, Array] = {}
        uncompensated: list[str] = []
        for node in self.graph.nodes:
            if not isinstance(node.op, Conv2D):
                continue
            dtype = bits.get(node.output, IntType.INT8)
            layer = self.layer(node, dtype, needed.get(node.output))
            weights[node.output] = layer.weight
            ops[node.output] = replace(node.op, bias=layer.bias)
            if layer.factor is not None:
                needed[self.chains[node.output].second] = layer.factor
                factors[node.output] = layer.factor
            elif self.compensation is not None and dtype.bits <= LOW_BITS:
                uncompensated.append(node.name)
        if self.compensation is not None and self.compensation.recalibrate and self.correct_bias:
            self.recalibrate(weights, ops)
        return Mixed(self.graph.replace_ops(ops), weights, factors, tuple(uncompensated))

    def recalibrate(self, weights: dict[str, QuantizedWeight], ops: dict[str, Op]) -> None:
        """Every layer's output gets back the mean and the deviation it has in the exact network; in place.

        Front to back, each behind the quantized ones before it, on the samples: what recalibrated batch
        normalization does in Chen et al. 2023. The mean goes into the bias, the deviation into the scale
        where that is free.
        """
        exact, actual = dict(self.typed.evidence.samples), dict(self.typed.evidence.samples)
        for node in self.graph.nodes:
            wanted = node.op.evaluate(*(exact[name] for name in node.inputs))
            op = ops.get(node.output, node.op)
            if isinstance(op, Conv2D):
                op = replace(op, weight=weights[node.output].dequantize())
            found = op.evaluate(*(actual[name] for name in node.inputs))
            free = isinstance(op, Conv2D) and self.stated(node) is None
            if free and isinstance(op, Conv2D) and found.size // op.out_channels >= FEWEST_VALUES:
                ratio, shift = restoring(wanted, found, keep_scale=not self.weights.free_scale)
                weight = weights[node.output]
                weights[node.output] = replace(weight, scale=weight.scale * ratio)
                ops[node.output] = replace(op, bias=op.bias * ratio + shift)
                found = (found * ratio + shift).astype(found.dtype)
            exact[node.output], actual[node.output] = wanted, found


def restoring(wanted: Array, found: Array, *, keep_scale: bool = False) -> tuple[Array, Array]:
    """(ratio, shift) [C]: ratio * found + shift has the mean and the deviation of `wanted` in each channel.

    With `keep_scale` the ratio is 1. A channel that is constant keeps its scale too.
    """
    first, second = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (wanted, found))
    ratio = np.ones(first.shape[1])
    if not keep_scale:
        ratio = np.sqrt(sane(first.var(axis=0), second.var(axis=0)))
    return ratio, first.mean(axis=0) - ratio * second.mean(axis=0)
