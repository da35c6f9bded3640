"""Factors of channels by predicted noise: the same function, and less noise where channels are uneven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.ops.add import Add
from dfqgen.ops.concat import Concat
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.movement import Reshape
from dfqgen.ops.pool import MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.passes.scaling import FIXED, scalable_channels, scale_channels
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from tests.builders import chain, conv, relu, relu6
from tests.programs import prepare_by, program_by

RNG = np.random.default_rng(0)
UNITS = {"x": InputMeaning(lo=-1.0, hi=1.0)}
X = RNG.uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)


def uneven(layer: Conv2D, sizes: np.ndarray) -> Conv2D:
    return replace(layer, weight=layer.weight * sizes.reshape(-1, 1, 1, 1), bias=layer.bias * sizes)


def undone(layer: Conv2D, sizes: np.ndarray) -> Conv2D:
    return replace(layer, weight=layer.weight / sizes.reshape(1, 1, 1, -1))


def branches() -> Graph:
    """Two branches of very different size, joined, one of them summed with a third; then a flat layer."""
    nodes = (
        Node("a", replace(conv(RNG, 4, 3), weight=conv(RNG, 4, 3).weight * 300.0), ("x",), "a"),
        Node("p", PRelu(np.full(4, 0.1)), ("a",), "p"),
        Node("b", conv(RNG, 4, 3), ("x",), "b"),
        Node("c", conv(RNG, 4, 3), ("x",), "c"),
        Node("s", Add(), ("b", "c"), "s"),
        Node("j", Concat(3), ("p", "s"), "j"),
        Node("m", MaxPool((4, 4), (4, 4)), ("j",), "m"),
        Node("f", Reshape((1, 1, 1, 32)), ("m",), "f"),
        Node("y", undone(conv(RNG, 5, 32, 1, pad=0), np.tile(np.repeat([300.0, 1.0], 4), 4)), ("f",), "y"),
    )
    return Graph("branches", (Port("x", "x", (1, 8, 8, 3)),), (Port("y", "y", (1, 1, 1, 5)),), nodes)


NETWORKS = {
    "chain": lambda: chain([conv(RNG, 6, 3), relu6(), conv(RNG, 6, 6, groups=6), relu(), conv(RNG, 4, 6)]),
    "branches": branches,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_factors_of_channels_keep_the_function(name: str) -> None:
    graph = NETWORKS[name]()
    scalable = scalable_channels(graph)
    factors = np.exp(RNG.normal(0, 2, scalable.count))
    factors[FIXED] = 1.0
    scaled, _ = scale_channels(graph, {}, scalable, factors)
    scaled.verify()
    (output,) = graph.output_tensors
    found, exact = scaled.evaluate({"x": X})[output], graph.evaluate({"x": X})[output]
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_channels_are_bound_together_by_sums_and_flat_layers_and_to_what_cannot_be_scaled() -> None:
    labels = scalable_channels(branches()).labels
    assert set(labels["x"]) == set(labels["y"]) == {FIXED}
    assert list(labels["b"]) == list(labels["c"]) == list(labels["j"][4:])
    assert list(labels["f"]) == 4 * list(labels["j"])
    assert len(set(labels["j"])) == 8
    sigmoid = chain([conv(RNG, 4, 3), Elementwise("sigmoid"), conv(RNG, 2, 4)])
    assert scalable_channels(sigmoid).count == 1


def sqnr_db(graph: Graph, **choices: object) -> float:
    recipe = make_recipe(**choices)  # type: ignore[arg-type]
    program = program_by(prepare_by(graph, UNITS, recipe), recipe)
    (port,) = program.outputs
    found = program.run({"x": program.tensors["x"].qtype.quantize(X)})[port.tensor]
    exact = graph.evaluate({"x": X})[port.tensor]
    error = program.tensors[port.tensor].qtype.dequantize(found) - exact
    return float(10 * np.log10(np.sum(exact**2) / np.sum(error**2)))


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_uneven_channels_and_branches_are_evened_by_default(weights: str) -> None:
    sizes = np.array([1.0, 10.0, 100.0, 300.0])
    first, second = conv(RNG, 4, 3), conv(RNG, 4, 4)
    assert isinstance(first, Conv2D)
    assert isinstance(second, Conv2D)
    for graph in (chain([uneven(first, sizes), relu(), undone(second, sizes)]), branches()):
        assert sqnr_db(graph, weights=weights, equalize=False) < 14.0
        assert sqnr_db(graph, weights=weights) > 25.0
