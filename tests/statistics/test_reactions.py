"""The noise model: what it predicts of small errors is what they do."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.graph.ir import Graph
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.pool import AveragePool
from dfqgen.ops.softmax import Softmax
from dfqgen.statistics.from_data import measure
from dfqgen.statistics.reactions import LEVELS, measure_reactions
from dfqgen.statistics.saturation import heads
from tests.builders import chain, conv, relu

RNG = np.random.default_rng(0)
SAMPLES = {"x": RNG.normal(size=(4, 8, 8, 3)).astype(np.float32)}


def network() -> Graph:
    layers = [
        conv(RNG, 16, 3),
        relu(),
        conv(RNG, 16, 16),
        Elementwise("sigmoid"),
        AveragePool((4, 4), (4, 4)),
    ]
    return chain([*layers, conv(RNG, 5, 16)])


def noise_to_signal(graph: Graph, tensor: str, changed: np.ndarray) -> float:
    exact = graph.evaluate(SAMPLES)
    other = graph.evaluate(SAMPLES, lambda node, _, value: changed if node.output == tensor else None)
    (output,) = graph.output_tensors
    return float(np.sum((other[output] - exact[output]) ** 2) / np.sum(exact[output] ** 2))


def value_of(graph: Graph, tensor: str) -> np.ndarray:
    found: list[np.ndarray] = []
    graph.evaluate(SAMPLES, lambda node, _, value: found.append(value) if node.output == tensor else None)
    return found[0]


@pytest.mark.parametrize("layer", range(5))
def test_independent_errors_do_what_the_gain_says_within_2_decibels(layer: int) -> None:
    graph = network()
    tensor = graph.nodes[layer].output
    value = value_of(graph, tensor)
    step = 0.02 * float(value.std())
    (predicted,) = measure_reactions(graph, SAMPLES, probes=32)[tensor].rounding(0.0, 255 * step)
    errors = np.random.default_rng(1).uniform(-step / 2, step / 2, (24, *value.shape))
    found = np.mean([noise_to_signal(graph, tensor, (value + e).astype(np.float32)) for e in errors])
    assert 10 * np.log10(predicted / found) == pytest.approx(0.0, abs=2.0)


@pytest.mark.parametrize("part", [0.5, 0.7])
def test_clipping_adds_up_over_averages_as_its_errors_point_one_way(part: float) -> None:
    graph = network()
    tensor = graph.nodes[3].output  # the average after it keeps a common error and removes independent ones
    value = value_of(graph, tensor)
    limit = part * float(value.max())
    reaction = measure_reactions(graph, SAMPLES, probes=32)[tensor]
    found = noise_to_signal(graph, tensor, np.minimum(value, limit))
    independent = (
        float(reaction.gain.mean()) * float(np.mean(np.maximum(value - limit, 0) ** 2)) * value.shape[-1]
    )
    assert 10 * np.log10(float(reaction.clipping(0.0, limit)[0]) / found) == pytest.approx(0.0, abs=2.0)
    assert found > 3 * independent
    assert reaction.clipping(0.0, float(value.max()))[0] == 0.0


def test_clipping_is_the_square_of_what_all_values_beyond_add_up_to() -> None:
    graph = chain([AveragePool((8, 8), (8, 8))], (1, 8, 8, 1))
    x = np.random.default_rng(5).normal(size=(3, 8, 8, 1)).astype(np.float32)
    reaction = measure_reactions(graph, {"x": x})["x"]
    signal = float(np.mean(x.mean(axis=(1, 2)) ** 2))
    for part in LEVELS:
        above = np.maximum(x - part * x.max(), 0.0).mean(axis=(1, 2))
        below = np.maximum(part * x.min() - x, 0.0).mean(axis=(1, 2))
        expected = (np.mean(above**2) + np.mean(below**2)) / signal
        found = reaction.clipping(part * float(x.min()), part * float(x.max()))
        assert float(found[0]) == pytest.approx(float(expected), rel=1e-4, abs=1e-12)


def test_ranges_are_judged_together_as_one_by_one() -> None:
    graph = network()
    reaction = measure_reactions(graph, SAMPLES)[graph.nodes[0].output]
    lows, highs = np.array([-2.0, -0.5, -9.0]), np.array([1.0, 0.2, 9.0])
    for judge in (reaction.rounding, reaction.clipping):
        alone = [judge(lo, hi) for lo, hi in zip(lows.tolist(), highs.tolist(), strict=True)]
        np.testing.assert_allclose(judge(lows, highs), np.stack(alone, axis=-1), rtol=1e-12)
        together = judge(-2.0, highs)
        np.testing.assert_allclose(together[:, 0], judge(-2.0, 1.0), rtol=1e-12)


def test_an_output_is_judged_before_what_saturates() -> None:
    graph = chain([conv(RNG, 4, 3), Clip.of(0.0, np.inf), conv(RNG, 4, 4), Softmax(3)])
    assert heads(graph) == (graph.nodes[2].output,)


def test_a_tensor_of_one_number_for_each_sample_has_one_channel() -> None:
    graph = chain([relu()], (1,))
    samples = {"x": np.random.default_rng(0).normal(size=5).astype(np.float32)}
    assert measure_reactions(graph, samples)["x"].gain.shape == (1, 1)
    assert measure(graph, samples)["x"].mean.shape == (1,)
