"""The predicted SQNR of a whole network is what the program has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.compile import quantize_prepared
from dfqgen.graph.ir import Node
from dfqgen.methods import SampleRoom
from dfqgen.ops.pool import AveragePool
from dfqgen.recipe import Choices, make_recipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import propagate
from tests.builders import chain, conv, relu, relu6
from tests.programs import prepare_by

UNITS = InputMeaning(lo=-1.0, hi=1.0)
LEAST_DB, MOST_DB = -3.0, 3.0


@pytest.mark.parametrize("choices", [{}, {"weights": "per-tensor"}, {"bits": "4", "low_ends": True}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_predicted_sqnr_is_the_programs_within_3_db(seed: int, choices: Choices) -> None:
    rng = np.random.default_rng(seed)
    layers = [conv(rng, 8, 3), relu(), conv(rng, 8, 8, groups=8), relu6(), AveragePool((2, 2), (2, 2))]
    graph = chain([*layers, conv(rng, 5, 8)])
    recipe = make_recipe(**(Choices(activations="int8") | choices))
    prepared = prepare_by(graph, {"x": UNITS}, recipe)
    quantized = quantize_prepared(prepared, recipe, SampleRoom(graph, {}, recipe.samples))
    x = rng.normal(0, 1 / 3, (32, *graph.inputs[0].shape[1:])).clip(-1, 1).astype(np.float32)
    (port,) = quantized.program.outputs
    types = quantized.program.tensors
    found = types[port.tensor].qtype.dequantize(
        quantized.program.run({"x": types["x"].qtype.quantize(x)})[port.tensor]
    )
    exact = graph.evaluate({"x": x})[port.tensor]
    measured = 10 * np.log10(np.sum(exact**2) / np.sum((found - exact) ** 2))
    (predicted,) = quantized.predicted_db.values()
    assert LEAST_DB < predicted - measured < MOST_DB
    assert "predicted" in [note.step for note in quantized.notes]


def test_what_batch_normalization_claims_ends_where_the_inputs_cannot_reach() -> None:
    rng = np.random.default_rng(0)
    layer = replace(conv(rng, 4, 3), weight=np.full((4, 3, 3, 3), 0.01), bias=np.zeros(4))
    graph = chain([layer])
    (node,) = graph.nodes
    assert isinstance(node, Node)
    known = {
        "x": ChannelStatistics.normal(np.zeros(3), 0.3, -1.0, 1.0),
        node.output: ChannelStatistics.normal(np.zeros(4), 5.0),
    }
    lo, hi = propagate(graph, known)[node.output].interval(4.0)
    assert np.allclose(hi, 0.27)
    assert np.allclose(lo, -0.27)
