"""What each layer at each width does to the network's output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.recurrent import Recurrent
from dfqgen.passes.chains import scale_input_channels
from dfqgen.quantization.knapsack import Choice
from dfqgen.quantization.low_bit_layers import Layer, LowBitQuantizer
from dfqgen.quantization.tensor_ranges import score_tensors
from dfqgen.recipe.choices import WIDTHS

MEASURED = IntType.INT4
"""The noise of more bits than these follows from theirs."""
SENSITIVITY_ELEMENTS = 400_000
"""Input values on which the network is run for each layer and width, and at least this many samples:"""
SENSITIVITY_SAMPLES = 2


def weight_size_bytes(op: Op, dtype: IntType) -> int:
    """Packed, of a layer with weights."""
    if isinstance(op, Recurrent):
        return sum((matrix.size * dtype.bits + 7) // 8 for matrix in op.matrices.values())
    assert isinstance(op, Conv2D)
    return (int(op.weight.size) * dtype.bits + 7) // 8


class Sensitivity:
    """What each layer at each width does to the network's output, measured on procedural samples."""

    def __init__(self, quantizer: LowBitQuantizer) -> None:
        self.quantizer = quantizer
        self.graph = quantizer.graph
        low_bits = quantizer.low_bits
        how = (quantizer.weights, quantizer.rounding, low_bits.compensate, low_bits.ternary)
        self._measured = quantizer.typed.evidence.noises.setdefault(how, {})
        size = sum(int(np.prod(port.shape)) for port in self.graph.inputs)
        count = max(SENSITIVITY_SAMPLES, SENSITIVITY_ELEMENTS // size)
        self._samples = {name: values[:count] for name, values in quantizer.typed.evidence.samples.items()}
        self._values: dict[str, Array] = dict(self._samples)
        for node in self.graph.nodes:
            self._values[node.output] = node.op.evaluate(*(self._values[name] for name in node.inputs))
        # Behind a softmax small errors of sure answers vanish: look in front of it.
        scores = score_tensors(self.graph)
        first = [n for n in self.graph.nodes if n.output in scores and not scores & set(n.inputs)]
        self._outputs = [node.output for node in first]
        self._power = {name: float(self._values[name].var()) or 1.0 for name in self._outputs}

    def choices(self, node: Node, widths: Collection[IntType] = WIDTHS) -> list[Choice]:
        """Every width of a layer; noise is relative to the signal, a mean over the outputs."""
        found = []
        for dtype in widths:
            found.append(Choice(dtype, weight_size_bytes(node.op, dtype), self._noise_at(node, dtype)))
        return found

    def _noise_at(self, node: Node, dtype: IntType) -> float:
        """As `noise`. From 4 bits on each bit quarters it, which saves most of the work."""
        measured = dtype if dtype.bits < MEASURED.bits else MEASURED
        key = node.output, measured
        if key not in self._measured:
            self._measured[key] = self.noise(node, measured)
        return self._measured[key] / 4.0 ** (dtype.bits - measured.bits)

    def noise(self, node: Node, dtype: IntType) -> float:
        """Noise to signal of the outputs when this layer alone is quantized."""
        compensated: dict[str, Op] = {}
        if isinstance(node.op, Recurrent):
            quantized: Op = node.op.rounded(dtype)
        else:
            assert isinstance(node.op, Conv2D)
            layer = self.quantizer.layer(node, dtype)
            quantized, compensated = layer.float_op(node.op), self._consumer(node, layer)
        changed = {node.output: quantized.evaluate(*(self._values[name] for name in node.inputs))}
        for later in self.graph.nodes:
            if later.output not in changed and any(name in changed for name in later.inputs):
                inputs = (changed.get(name, self._values[name]) for name in later.inputs)
                changed[later.output] = compensated.get(later.output, later.op).evaluate(*inputs)
        return self._noise(changed)

    def noise_of(self, graph: Graph) -> float:
        """Noise to signal of the outputs of this graph, which has the tensors of the exact one."""
        found: dict[str, Array] = {}

        def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
            if node.output in self._outputs:
                found[node.output] = output

        graph.evaluate(self._samples, watch)
        return self._noise(found)

    def _noise(self, values: Mapping[str, Array]) -> float:
        total = 0.0
        for name in self._outputs:
            error = values.get(name, self._values[name]) - self._values[name]
            total += float(np.mean(error.astype(np.float64) ** 2)) / self._power[name]
        return total / len(self._outputs)

    def _consumer(self, node: Node, layer: Layer) -> dict[str, Op]:
        """The float consumer that a compensated layer gets, by its tensor."""
        if layer.factor is None:
            return {}
        name = self.quantizer.chains[node.output].second
        op = self.graph.producers[name].op
        assert isinstance(op, Conv2D)
        weight, moments = scale_input_channels(op, layer.factor), self.quantizer.typed.evidence.moments[name]
        bias = op.bias + moments.expectation(op.weight) - moments.expectation(weight)
        return {name: replace(op, weight=weight, bias=bias)}
