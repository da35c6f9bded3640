"""The closed form of DF-MPC against numerical minimisation, on moments drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.ops.lookup import Clip
from dfqgen.passes.compensate import (
    Affine,
    Compensation,
    activation_factors,
    compensation_factors,
    compensation_loss,
    recalibrate,
    restored_offset,
)
from dfqgen.quantization.weights import quantize_weight, ternary_weight
from dfqgen.recipe.records import WeightsRecipe
from dfqgen.statistics.second_moments import InputMoments

CHANNELS, DEPTH = 5, 6


def layer(seed: int) -> tuple[Affine, Affine, InputMoments]:
    """A random 3x3 layer, its 2-bit form, and moments of correlated inputs."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(CHANNELS, 3, 3, DEPTH))
    offset = rng.normal(size=CHANNELS)
    size = 9 * DEPTH
    factor = rng.normal(size=(size, 4)) + 0.2
    covariance = factor @ factor.T + 0.3 * np.eye(size)
    moments = InputMoments(rng.uniform(0, 1, (1, size)), covariance[None])
    rounded = ternary_weight(weight, np.zeros(CHANNELS)).dequantize()
    exact = Affine(weight, offset)
    return exact, Affine(rounded, restored_offset(exact, rounded, moments)), moments


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("offset", "shrinkage"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.2), (3.0, 1.0)])
def test_the_closed_form_minimises_the_stated_loss(weighted: bool, offset: float, shrinkage: float) -> None:
    exact, quantized, moments = layer(1)
    settings = Compensation(offset=offset, shrinkage=shrinkage)
    used = moments if weighted else None
    factors = compensation_factors(exact, quantized, settings, used)
    for channel in range(CHANNELS):

        def loss(c: float, channel: int = channel) -> float:
            trial = factors.copy()
            trial[channel] = c
            return float(compensation_loss(trial, exact, quantized, settings, used)[channel])

        found = minimize_scalar(loss, bounds=(0.25, 4.0), method="bounded", options={"xatol": 1e-9})
        assert factors[channel] == pytest.approx(found.x, abs=1e-5)


def test_a_factor_that_is_not_positive_becomes_one() -> None:
    exact, quantized, _ = layer(2)
    against = Affine(-quantized.weight, -quantized.offset)
    factors = compensation_factors(exact, against, Compensation())
    np.testing.assert_array_equal(factors, np.ones(CHANNELS))


def test_the_factor_behind_a_clip_minimises_the_error_of_the_activations() -> None:
    exact, quantized, moments = layer(3)
    clip = Clip.of(0.0, 6.0)
    factors = activation_factors(exact, quantized, moments, clip)
    rng = np.random.default_rng(5)
    root = np.linalg.cholesky(moments.covariance[0])
    x = rng.normal(size=(200_000, root.shape[0])) @ root.T + moments.mean[0]

    def activations(of: Affine) -> np.ndarray:
        return np.clip(x @ of.weight.reshape(CHANNELS, -1).T + of.offset, 0.0, 6.0)

    y, y_hat = activations(exact), activations(quantized)
    covariance = ((y - y.mean(0)) * (y_hat - y_hat.mean(0))).mean(0)
    np.testing.assert_allclose(factors, covariance / y_hat.var(0), rtol=0.02)


def test_recalibration_restores_the_deviation_and_the_offset_the_mean() -> None:
    exact, _, moments = layer(4)
    weight = recalibrate(ternary_weight(exact.weight, np.zeros(CHANNELS)), exact.weight, moments)
    real = weight.dequantize()
    np.testing.assert_allclose(moments.product(real, real), moments.product(exact.weight, exact.weight))
    offset = restored_offset(exact, real, moments)
    mean = moments.expectation(exact.weight) + exact.offset
    np.testing.assert_allclose(moments.expectation(real) + offset, mean)


@pytest.mark.parametrize("dtype", [IntType.INT2, IntType.INT3, IntType.INT4])
def test_ternary_and_least_squares_weights_stay_in_their_type(dtype: IntType) -> None:
    exact, _, _ = layer(6)
    weight = quantize_weight(exact.weight, WeightsRecipe(), np.zeros(CHANNELS), dtype)
    assert weight.values.min() >= -dtype.maximum
    assert weight.values.max() <= dtype.maximum
