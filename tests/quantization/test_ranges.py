"""Activation ranges from samples, and weights at low bits."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.quantization.ranges import choose_range
from dfqgen.quantization.weights import quantize_weight
from dfqgen.recipe.records import WeightsRecipe
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.from_data import measure
from tests.builders import chain, relu


def measured(values: np.ndarray) -> ChannelStatistics:
    graph = chain([relu()], (1, 10, 10, 2))
    return measure(graph, {"x": values.reshape(-1, 10, 10, 2)})["x"]


@pytest.fixture
def with_outlier() -> np.ndarray:
    values = np.random.default_rng(1).normal(0, 1, 400_000)
    values[7] = 90.0
    return values


def test_min_max_is_exactly_the_samples_extremes(with_outlier: np.ndarray) -> None:
    lo, hi = choose_range(measured(with_outlier), "min-max", 6.0, IntType.INT8)
    assert (lo, hi) == (with_outlier.min(), 90.0)


def test_percentile_leaves_a_single_outlier_out(with_outlier: np.ndarray) -> None:
    lo, hi = choose_range(measured(with_outlier), "percentile", 6.0, IntType.INT8)
    assert -6.0 < lo < -3.0
    assert 3.0 < hi < 6.0


def test_least_squares_range_errs_less_than_min_max_on_the_samples(with_outlier: np.ndarray) -> None:
    def error(bounds: tuple[float, float]) -> float:
        step = (bounds[1] - bounds[0]) / 255
        rounded = np.round(np.clip(with_outlier, *bounds) / step) * step
        return float(np.mean((rounded - with_outlier) ** 2))

    statistics = measured(with_outlier)
    best = choose_range(statistics, "mse", 6.0, IntType.INT8)
    assert error(best) < error(choose_range(statistics, "min-max", 6.0, IntType.INT8))


def test_ranges_by_samples_without_samples_are_refused() -> None:
    with pytest.raises(UserError, match="need samples"):
        choose_range(ChannelStatistics.normal(np.zeros(2), 1.0), "percentile", 6.0, IntType.INT8)


@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("dtype", [IntType.INT3, IntType.INT4])
def test_low_bit_scales_err_less_than_covering_ones(dtype: IntType, weights: str, scales: str) -> None:
    weight = np.random.default_rng(2).standard_t(4, (8, 3, 3, 16))
    recipe = WeightsRecipe(weights, scales)  # type: ignore[arg-type]
    quantized = quantize_weight(weight, recipe, np.zeros(8), dtype)
    largest = np.abs(weight).max(axis=(1, 2, 3)) if weights == "per-channel" else np.abs(weight).max()
    covering = np.broadcast_to(largest / dtype.maximum, (8,))
    if scales == "power-of-two":
        covering = np.exp2(np.ceil(np.log2(covering)))
    steps = covering.reshape(8, 1, 1, 1)
    rounded = np.clip(np.round(weight / steps), -dtype.maximum, dtype.maximum) * steps
    assert np.abs(quantized.values).max() <= dtype.maximum
    assert np.mean((quantized.dequantize() - weight) ** 2) < 0.9 * np.mean((rounded - weight) ** 2)


def test_a_scale_is_never_below_what_the_bias_needs() -> None:
    weight = np.random.default_rng(3).normal(0, 0.1, (4, 3, 3, 8))
    quantized = quantize_weight(weight, WeightsRecipe(), np.full(4, 0.5), IntType.INT4)
    np.testing.assert_array_equal(quantized.scale, 0.5)
