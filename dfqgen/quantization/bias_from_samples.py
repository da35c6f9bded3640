"""Empirical bias correction (Nagel et al. 2019, appendix D): channel means compared on samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.quantize import assign_types
from dfqgen.quantization.weights import quantize_weights
from dfqgen.statistics.from_data import measure


def correct_bias_on_samples(
    prepared: Prepared,
    options: QuantizeOptions,
    samples: Mapping[str, Array],
    *,
    bits: Mapping[str, IntType] | None = None,
) -> tuple[Prepared, dict[str, QuantizedWeight]]:
    """Shift every bias by the mean difference between the float output and the quantized one, front to back.

    `samples` ([N, ...] by input tensor, as the float network sees them) run through both networks at once;
    the quantized one has rounded weights, rounded activations and the biases corrected so far. Unlike the
    analytic correction it sees activations' rounding and clipping too. Gives the prepared graph with the
    biases, and the weights they belong to: `quantize_graph(prepared, options, weights=weights)`.
    """
    typed = assign_types(prepared, options)
    weights = quantize_weights(typed.graph, typed.types, typed.clips, options, bits or {})
    means = {name: channels.mean for name, channels in measure(typed.graph, samples).items()}
    rounded: dict[str, Op] = {
        node.output: replace(node.op, weight=weights[node.output].dequantize())
        for node in typed.graph.nodes
        if isinstance(node.op, Conv2D)
    }
    shifts: dict[str, Array] = {}

    def correct(node: Node, _: tuple[Array, ...], output: Array) -> Array:
        if node.output in weights:
            actual = output.reshape(-1, output.shape[-1]).mean(axis=0, dtype=np.float64)
            shifts[node.output] = means[node.output] - actual
            output = output + shifts[node.output].astype(output.dtype)
        qtype = typed.types.get(node.output)
        return output if qtype is None else qtype.dequantize(qtype.quantize(output))

    inputs = {
        name: typed.types[name].dequantize(typed.types[name].quantize(value))
        for name, value in samples.items()
    }
    typed.graph.replace_ops(rounded).evaluate(inputs, correct)
    corrected: dict[str, Op] = {
        node.output: replace(node.op, bias=node.op.bias + shifts[node.output])
        for node in prepared.graph.nodes
        if isinstance(node.op, Conv2D)
    }
    return replace(prepared, graph=prepared.graph.replace_ops(corrected)), weights
