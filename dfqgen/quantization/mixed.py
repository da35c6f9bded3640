"""Weights of few bits: each layer quantized in turn, its error put right in the next (Chen et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.chains import Chain, find_chains, scale_input_channels
from dfqgen.passes.compensate import Affine, Compensation, factors_for, recalibrate, restored_offset
from dfqgen.quantization.feedback import feedback_round
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.quantize import assign_types
from dfqgen.quantization.weights import LARGEST_BIAS, LOW_BITS, quantize_weight, ternary_weight
from dfqgen.statistics.procedural import procedural_samples
from dfqgen.statistics.second_moments import InputMoments, input_moments

SAMPLE_ELEMENTS = 200_000
"""Procedural samples are drawn up to this many input values, at least FEWEST and at most MOST of them."""
FEWEST, MOST = 8, 64


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

    prepared: Prepared
    weights: Mapping[str, QuantizedWeight]
    factors: Mapping[str, Array]
    uncompensated: tuple[str, ...]

    def float_graph(self) -> Graph:
        """The graph with the reals that the integers stand for."""
        graph = self.prepared.graph
        ops: dict[str, Op] = {}
        for name, weight in self.weights.items():
            conv = graph.producers[name].op
            assert isinstance(conv, Conv2D)
            ops[name] = replace(conv, weight=weight.dequantize())
        return graph.replace_ops(ops)


@dataclass(frozen=True, eq=False)
class LowBitQuantizer:
    """Quantizes layers of a prepared graph one by one to any width, by the options' methods."""

    prepared: Prepared
    options: QuantizeOptions

    def with_options(self, options: QuantizeOptions) -> LowBitQuantizer:
        """Another choice of methods on the same statistics."""
        other = LowBitQuantizer(self.prepared, options)
        other.__dict__.update(samples=self.samples, moments=self.moments)
        return other

    @property
    def graph(self) -> Graph:
        return self.prepared.graph

    @cached_property
    def samples(self) -> dict[str, Array]:
        """Procedural inputs by tensor; more of small ones."""
        largest = max(int(np.prod(port.shape)) for port in self.graph.inputs)
        count = min(max(SAMPLE_ELEMENTS // largest, FEWEST), MOST)
        return {
            port.tensor: procedural_samples(self.prepared.statistics[port.tensor], port.shape, count)
            for port in self.graph.inputs
        }

    @cached_property
    def moments(self) -> dict[str, InputMoments]:
        return input_moments(self.graph, self.prepared.statistics, self.samples)

    @cached_property
    def chains(self) -> dict[str, Chain]:
        """By first layer."""
        return {chain.first: chain for chain in find_chains(self.graph)}

    @cached_property
    def compensation(self) -> Compensation | None:
        """None leaves errors be."""
        return None if self.options.compensate == "none" else Compensation(self.options.compensate)

    @cached_property
    def input_scales(self) -> dict[str, float]:
        """The scale of each layer's input."""
        typed = assign_types(self.prepared, self.options)
        return {
            node.output: typed.types[node.inputs[0]].scale
            for node in typed.graph.nodes
            if isinstance(node.op, Conv2D)
        }

    def layer(self, node: Node, dtype: IntType, factor: Array | None = None) -> Layer:
        """The node's layer at this width; `factor` [Cin] is what its inputs need.

        The bias gives back the mean of the exact layer on exact inputs, whatever the factor.
        """
        exact = node.op
        assert isinstance(exact, Conv2D)
        moments = self.moments[node.output]
        wanted = exact.weight if factor is None else scale_input_channels(exact, factor)
        weight = self.round(node, wanted, dtype)
        settings = self.compensation if dtype.bits <= LOW_BITS else None
        free_scale = not self.options.power_of_two and self.options.weights == "per-channel"
        if settings is not None and settings.recalibrate and free_scale:
            weight = recalibrate(weight, wanted, moments)
        real = weight.dequantize()
        affine = Affine(exact.weight.astype(np.float64), exact.bias.astype(np.float64))
        bias = restored_offset(affine, real, moments) if self.options.correct_bias else affine.offset
        chain = self.chains.get(node.output)
        if settings is None or chain is None:
            return Layer(weight, bias)
        # The consumer sees the layer as it was meant: its own inputs' factor is already in `wanted`.
        meant = Affine(wanted.astype(np.float64), affine.offset)
        return Layer(
            weight, bias, factors_for(chain, self.graph, meant, Affine(real, bias), moments, settings)
        )

    def round(self, node: Node, wanted: Array, dtype: IntType) -> QuantizedWeight:
        """The real weight as integers, by the rounding chosen."""
        options, conv = self.options, node.op
        assert isinstance(conv, Conv2D)
        smallest = np.abs(conv.bias.astype(np.float64)) / (self.input_scales[node.output] * LARGEST_BIAS)
        low = dtype.bits <= LOW_BITS
        if dtype is IntType.INT2 and options.ternary == "threshold":
            return ternary_weight(wanted, smallest)
        weight = quantize_weight(wanted, options, smallest, dtype)
        if not low or options.rounding not in ("auto", "feedback"):
            return weight
        fixed = options.power_of_two or options.weights == "per-tensor"
        return feedback_round(wanted, weight, self.moments[node.output], fixed_scale=fixed)

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
        prepared = replace(self.prepared, graph=self.graph.replace_ops(ops))
        return Mixed(prepared, weights, factors, tuple(uncompensated))
