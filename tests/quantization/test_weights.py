"""Scales of weights give way until no accumulator can overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfqgen.compile import quantize_graph
from dfqgen.errors import UserError
from dfqgen.graph.ir import Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from tests.builders import chain, relu6

MEANING = {"x": InputMeaning(lo=-32.0, hi=32.0)}
WAYS: list[dict[str, Any]] = [
    {},
    {"weights": "per-tensor"},
    {"scales": "power-of-two"},
    {"activations": "int16"},
    {"bits": "4", "low_ends": True},
    {"bits": "2", "low_ends": True, "ternary": "threshold"},
]


def layer(weight_sizes: list[float], biases: list[float]) -> Conv2D:
    """A 1x1 convolution of 8 inputs whose output channels have weights of these sizes."""
    weight = np.random.default_rng(0).normal(size=(len(biases), 1, 1, 8))
    return Conv2D(weight * np.reshape(weight_sizes, (-1, 1, 1, 1)), np.array(biases, np.float64))


def sqnr_db(ops: list[Op], **options: Any) -> float:
    """Of the quantized chain on inputs from the stated range."""
    graph = chain(ops, (1, 4, 4, 8))
    program = quantize_graph(graph, MEANING, make_recipe(fold_dead=False, **options)).program
    x = np.random.default_rng(1).uniform(-32, 32, (16, 4, 4, 8)).astype(np.float32)
    (port,) = program.outputs
    found = program.run({"x": program.tensors["x"].qtype.quantize(x)})[port.tensor]
    exact = graph.evaluate({"x": x})[port.tensor]
    error = program.tensors[port.tensor].qtype.dequantize(found) - exact
    return float(10 * np.log10(np.sum(exact**2) / np.sum(error**2)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("small", [0.0, 1e-3, 1e-6, 1e-12, 1e-30])
@pytest.mark.parametrize("bias", [0.0, 0.5, 4.0])
def test_a_channel_of_hardly_any_weight_takes_nothing_from_the_others(
    way: dict[str, Any], small: float, bias: float
) -> None:
    alive = sqnr_db([layer([0.05, 0.02, 0.05], [0.3, -0.2, 0.4]), relu6()], **way)
    beside = sqnr_db([layer([0.05, 0.02, 0.05, small], [0.3, -0.2, 0.4, bias]), relu6()], **way)
    assert beside > alive - 3.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bias", [1e3, -1e6, 1e12, -1e30])
def test_a_bias_beyond_what_the_output_shows_is_as_good_as_a_smaller_one(
    way: dict[str, Any], bias: float
) -> None:
    weights = [0.05, 0.02, 0.05, 0.03]
    modest = sqnr_db([layer(weights, [0.3, -0.2, 0.4, np.sign(bias) * 50.0]), relu6()], **way)
    assert sqnr_db([layer(weights, [0.3, -0.2, 0.4, bias]), relu6()], **way) > modest - 3.0


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_of_zeros_gives_its_bias(way: dict[str, Any]) -> None:
    assert sqnr_db([layer([0.0, 0.0], [0.7, 4.2]), relu6()], **way) > 35.0


def test_sums_that_no_scale_can_hold_are_refused_with_their_size() -> None:
    with pytest.raises(UserError, match=r"'layer0'.* its sums reach .*e\+\d\d, its output spans"):
        sqnr_db([layer([1e20, 1e20], [0.0, 0.0]), Clip.of(0.0, 1.0)])


@pytest.mark.parametrize("way", [WAYS[0], WAYS[2]])
def test_a_channel_with_a_large_factor_shifts_a_bias_of_another_out_of_its_room(way: dict[str, Any]) -> None:
    """All channels of a layer share one shift; the second's bias takes 29 bits before it."""
    assert sqnr_db([layer([1e3, 1e-9], [0.0, 0.5]), Clip.of(0.0, 1.0)], **way) > 20.0
