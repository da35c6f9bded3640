"""Empirical bias correction restores the output means that quantization moved."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.bias_from_samples import CorrectedOnSamples
from dfqgen.quantization.lower import lower
from dfqgen.quantization.rounding import Independent, Rounder
from dfqgen.quantization.types import assign_types
from dfqgen.samples.made import NetworkSamples
from dfqgen.samples.meaning import InputMeaning
from tests.builders import chain, conv, relu
from tests.programs import STANDARD, prepare_by

UNITS = InputMeaning(lo=-2.0, hi=2.0)


def output(program: Program, graph: Graph, x: np.ndarray) -> np.ndarray:
    result = program.run({"x": program.tensors["x"].qtype.quantize(x)})
    name = graph.outputs[0].tensor
    return program.tensors[name].qtype.dequantize(result[name])


def test_means_on_other_inputs_come_back_at_four_bits() -> None:
    rng = np.random.default_rng(4)
    graph = chain([conv(rng, 16, 3), relu(), conv(rng, 16, 16), relu(), conv(rng, 8, 16, 1, pad=0)])
    samples, others = (rng.uniform(-1, 2, (32, 8, 8, 3)).astype(np.float32) for _ in range(2))
    typed = assign_types(prepare_by(graph, {"x": UNITS}, samples={"x": samples}), STANDARD.activations)
    bits = {n.output: IntType.INT4 for n in graph.nodes if isinstance(n.op, Conv2D)}
    target = next(iter(graph.evaluate({"x": others}).values())).mean(axis=(0, 1, 2))

    def means(rounder: Rounder) -> np.ndarray:
        return output(lower(typed, rounder.round(typed, bits)), graph, others).mean(axis=(0, 1, 2))

    plain = means(Independent(STANDARD.weights, correct_bias=False))
    restored = means(CorrectedOnSamples(STANDARD.weights, NetworkSamples({"x": samples}, "samples")))
    assert np.abs(restored - target).max() < 0.2 * np.abs(plain - target).max()
