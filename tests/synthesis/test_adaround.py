"""AdaRound rounds better than to the nearest, on inputs it has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Graph, Node, Port
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.lower import lower
from dfqgen.quantization.rounding import Independent, Rounded
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.recipe import Recipe, make_recipe
from dfqgen.samples.made import NetworkSamples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.synthesis.adaround import AdaRound, AdaRoundSettings, Reconstruction
from tests.builders import chain, conv, relu, relu6
from tests.programs import STANDARD, prepare_by

UNITS = InputMeaning(lo=-2.0, hi=2.0)
QUICK = AdaRoundSettings(iterations=150, rows=64, pool=2048)


def correlated(rng: np.random.Generator, count: int) -> Array:
    """Inputs [N,8,8,3] whose pixels and channels resemble each other, as real ones do."""
    coarse = rng.normal(0, 0.8, (count, 4, 4, 1)).repeat(2, axis=1).repeat(2, axis=2)
    return np.clip(coarse + rng.normal(0, 0.3, (count, 8, 8, 3)), -2, 2).astype(np.float32)


def network() -> Graph:
    """Plain, grouped, depthwise and strided convolutions, and a sum."""
    rng = np.random.default_rng(9)
    body = chain(
        [
            conv(rng, 12, 3),
            relu6(),
            conv(rng, 12, 12, groups=12),
            relu(),
            conv(rng, 12, 12, groups=3),
            relu(),
            conv(rng, 12, 12, 1, pad=0),
        ]
    )
    nodes = (
        *body.nodes,
        Node("sum", Add(), ("t3", "t6"), "t7"),
        Node("last", conv(rng, 5, 12, stride=2), ("t7",), "t8"),
    )
    graph = replace(body, nodes=nodes)
    return replace(graph, outputs=(Port("y", "t8", graph.shapes["t8"]),))


GRAPH = network()
RNG = np.random.default_rng(2)
SAMPLES, HELD_OUT = {"x": correlated(RNG, 24)}, {"x": correlated(RNG, 24)}


def all_at(dtype: IntType) -> dict[str, IntType]:
    return {n.output: dtype for n in GRAPH.nodes if isinstance(n.op, Conv2D)}


def typed_by(recipe: Recipe = STANDARD) -> Typed:
    return assign_types(prepare_by(GRAPH, {"x": UNITS}, recipe, SAMPLES), recipe.activations)


def rounder(recipe: Recipe = STANDARD, settings: AdaRoundSettings = QUICK) -> AdaRound:
    return AdaRound(recipe.weights, NetworkSamples(SAMPLES, "samples"), settings)


def error(typed: Typed, rounded: Rounded) -> float:
    """Mean squared error of the integer program on inputs it has not seen."""
    program = lower(typed, rounded)
    types = {name: tensor.qtype for name, tensor in program.tensors.items()}
    result = program.run({"x": types["x"].quantize(HELD_OUT["x"])})["t8"]
    exact = GRAPH.evaluate(HELD_OUT)["t8"]
    return float(np.mean((types["t8"].dequantize(result) - exact) ** 2))


@pytest.mark.parametrize(
    ("dtype", "weights", "scales"),
    [
        (IntType.INT3, "per-channel", "multiplier"),
        (IntType.INT4, "per-tensor", "multiplier"),
        (IntType.INT4, "per-channel", "power-of-two"),
    ],
)
def test_low_bit_outputs_err_less_than_rounded_to_nearest(dtype: IntType, weights: str, scales: str) -> None:
    recipe = make_recipe(weights=weights, scales=scales)  # type: ignore[arg-type]
    typed = typed_by(recipe)
    learned = rounder(recipe).round(typed, all_at(dtype))
    nearest = Independent(recipe.weights).round(typed, all_at(dtype))
    assert error(typed, learned) < 0.75 * error(typed, nearest)
    for weight in learned.weights.values():
        assert weight.dtype is dtype
        assert np.abs(weight.values).max() <= dtype.maximum


def test_eight_bits_do_not_get_worse() -> None:
    typed = typed_by()
    nearest = Independent(STANDARD.weights).round(typed, {})
    assert error(typed, rounder().round(typed, {})) < 1.1 * error(typed, nearest)


def result(settings: AdaRoundSettings) -> Reconstruction:
    return rounder(settings=settings).learn(typed_by(), all_at(IntType.INT4))


def test_every_weight_goes_to_a_neighbour_of_its_real_value_and_the_error_falls() -> None:
    learned = result(QUICK)
    for node in learned.graph.nodes:
        if isinstance(node.op, Conv2D):
            weight = learned.weights[node.output]
            real = node.op.weight / weight.scale.reshape(-1, 1, 1, 1)
            real = np.clip(real, -weight.dtype.maximum, weight.dtype.maximum)
            assert np.abs(weight.values - real).max() < 1.001
    assert all(layer.learned < layer.nearest for layer in learned.layers[1:])


def test_the_same_seed_gives_the_same_integers() -> None:
    first, again = (result(replace(QUICK, iterations=30)) for _ in range(2))
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(weight.values, again.weights[name].values)


def test_progress_counts_every_layer() -> None:
    seen: list[str] = []
    replace(rounder(settings=replace(QUICK, iterations=1)), progress=seen.append).round(typed_by(), {})
    assert seen == [f"AdaRound: {i + 1} of 5 layers" for i in range(5)]


def test_no_samples_are_refused() -> None:
    none = NetworkSamples({"x": SAMPLES["x"][:0]}, "no samples")
    with pytest.raises(UserError, match="needs samples"):
        AdaRound(STANDARD.weights, none, QUICK).round(typed_by(), {})
