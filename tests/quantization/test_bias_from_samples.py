"""Empirical bias correction restores the output means that quantization moved."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.bias_from_samples import correct_bias_on_samples
from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.prepare import prepare
from dfqgen.quantization.quantize import quantize_graph
from tests.builders import chain, conv, relu

UNITS = InputMeaning(lo=-2.0, hi=2.0)


def output(program: Program, graph: Graph, x: np.ndarray) -> np.ndarray:
    result = program.run({"x": program.tensors["x"].qtype.quantize(x)})
    name = graph.outputs[0].tensor
    return program.tensors[name].qtype.dequantize(result[name])


def test_means_on_other_inputs_come_back_at_four_bits() -> None:
    rng = np.random.default_rng(4)
    graph = chain([conv(rng, 16, 3), relu(), conv(rng, 16, 16), relu(), conv(rng, 8, 16, 1, pad=0)])
    samples, others = (rng.uniform(-1, 2, (32, 8, 8, 3)).astype(np.float32) for _ in range(2))
    options = QuantizeOptions(correct_bias=False)
    prepared = prepare(graph, {"x": UNITS}, options, {"x": samples})
    bits = {n.output: IntType.INT4 for n in graph.nodes if isinstance(n.op, Conv2D)}
    target = next(iter(graph.evaluate({"x": others}).values())).mean(axis=(0, 1, 2))
    plain = output(quantize_graph(prepared, options, bits=bits), graph, others).mean(axis=(0, 1, 2))
    corrected, weights = correct_bias_on_samples(prepared, options, {"x": samples}, bits=bits)
    program = quantize_graph(corrected, options, weights=weights)
    restored = output(program, graph, others).mean(axis=(0, 1, 2))
    assert np.abs(restored - target).max() < 0.2 * np.abs(plain - target).max()


def test_ready_weights_keep_their_biases() -> None:
    rng = np.random.default_rng(5)
    graph = chain([conv(rng, 4, 3)])
    samples = rng.uniform(-1, 2, (8, 8, 8, 3)).astype(np.float32)
    options = QuantizeOptions()
    prepared = prepare(graph, {"x": UNITS}, options, {"x": samples})
    corrected, weights = correct_bias_on_samples(prepared, options, {"x": samples})
    again = QuantizeOptions(correct_bias=False)
    first, second = (quantize_graph(corrected, o, weights=weights) for o in (options, again))
    np.testing.assert_array_equal(first.ops[0].bias, second.ops[0].bias)
