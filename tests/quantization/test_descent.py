"""Weights of 8 bits make up for each other's errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization import descent
from dfqgen.quantization.descent import descend_from
from dfqgen.quantization.rounding import Independent, Rounded
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.quantization.weights import quantize_weight
from dfqgen.recipe.records import ActivationsRecipe, RoundingMethod, WeightsRecipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.procedural import dead_leaves
from dfqgen.statistics.second_moments import InputMoments
from tests.builders import chain, conv, relu
from tests.programs import prepare_by

PIXELS = InputMeaning(lo=0.0, hi=255.0)


def network() -> Graph:
    rng = np.random.default_rng(3)
    return chain([conv(rng, 8, 3), relu(), conv(rng, 8, 8), relu(), conv(rng, 4, 8)], (1, 24, 24, 3))


def typed(graph: Graph) -> Typed:
    return assign_types(prepare_by(graph, {"x": PIXELS}), ActivationsRecipe(activations="int8"))


def noise(of: Typed, rounded: Rounded, x: Array) -> float:
    """Mean squared error of the output with rounded weights and exact activations."""
    ops: dict[str, Op] = {
        node.output: replace(node.op, weight=rounded.weights[node.output].dequantize())
        for node in rounded.graph.nodes
        if isinstance(node.op, Conv2D)
    }
    output = of.graph.outputs[0].tensor
    exact, found = (g.evaluate({"x": x})[output] for g in (of.graph, rounded.graph.replace_ops(ops)))
    return float(np.mean((found - exact) ** 2))


def test_a_layer_errs_less_on_inputs_that_go_together_and_its_scales_stay() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 3, 3, 4))
    factor = rng.normal(size=(36, 3))
    seen = InputMoments(rng.normal(size=(1, 36)), (factor @ factor.T + 0.1 * np.eye(36))[None])
    start = quantize_weight(weight, WeightsRecipe(), np.zeros(6))
    found = descend_from(start, weight, seen.doubted())
    before, after = (seen.product(e, e) for e in (of.dequantize() - weight for of in (start, found)))
    assert after.sum() < 0.4 * before.sum()
    assert np.abs(found.values.astype(int)).max() <= 127
    np.testing.assert_array_equal(found.scale, start.scale)


@pytest.mark.parametrize("level", [1.0, 0.25])
def test_images_of_any_level_come_out_closer_than_by_nearest_integers(level: float) -> None:
    of, rng = typed(network()), np.random.default_rng(9)
    x = np.stack([dead_leaves(rng, 24, 24, 3) for _ in range(8)]).astype(np.float32) * 255.0 * level

    def by(method: RoundingMethod) -> float:
        return noise(of, Independent(WeightsRecipe(), method).round(of, {}), x)

    assert by("feedback") < 0.7 * by("nearest")


def test_a_layer_of_too_many_inputs_keeps_its_nearest_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    of = typed(network())
    nearest, better = (Independent(WeightsRecipe(), m).round(of, {}).weights for m in ("nearest", "feedback"))
    monkeypatch.setattr(descent, "MOMENT_ELEMENTS", 0)
    bounded = Independent(WeightsRecipe(), "feedback").round(of, {}).weights
    for name in nearest:
        np.testing.assert_array_equal(bounded[name].values, nearest[name].values)
        assert np.any(better[name].values != nearest[name].values)
