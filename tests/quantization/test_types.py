"""Ranges and scales: they cover what they must, and least squares is not worse than covering."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.quantization.ranges import activation_type, mse_range, sigma_range
from dfqgen.statistics.channel import ChannelStatistics

reals = st.floats(-1e4, 1e4, allow_nan=False, width=32)


@given(reals, reals, st.booleans())
def test_an_activation_type_covers_its_range_to_half_a_step_and_represents_zero(
    a: float, b: float, power: bool
) -> None:
    lo, hi = min(a, b), max(a, b)
    qtype = activation_type(lo, hi, power_of_two=power)
    low, high = qtype.real_range
    step = qtype.scale
    assert low <= min(lo, 0.0) + 0.501 * step
    assert high >= max(hi, 0.0) - 0.501 * step
    assert float(qtype.dequantize(qtype.quantize(np.array(0.0)))) == 0.0
    if power:
        assert np.log2(qtype.scale) == round(np.log2(qtype.scale))
        assert qtype.zero_point in (0, -128)


def test_pixels_become_themselves_less_128() -> None:
    qtype = activation_type(0.0, 255.0)
    pixels = np.arange(256)
    np.testing.assert_array_equal(qtype.quantize(pixels), pixels - 128)


def test_a_relu_output_uses_all_256_values_with_power_of_two_scales() -> None:
    qtype = activation_type(0.0, 7.9, power_of_two=True)
    assert (qtype.scale, qtype.zero_point) == (2.0**-5, -128)


def test_seen_values_widen_the_range_and_change_no_moment() -> None:
    plain = ChannelStatistics.normal(np.zeros(2), 1.0)
    seen = ChannelStatistics(
        plain.mean, plain.std, plain.lo, plain.hi, (np.array([-9.0, 0]), np.array([0, 7.0]))
    )
    assert sigma_range(plain, 4.0) == (-4.0, 4.0)
    assert sigma_range(seen, 4.0) == (-9.0, 7.0)
    np.testing.assert_array_equal(seen.moments(), plain.moments())


@pytest.mark.parametrize("std", [0.1, 1.0, 5.0])
def test_the_least_squares_range_has_the_smaller_error(std: float) -> None:
    statistics = ChannelStatistics.normal(np.zeros(1), std)
    samples = np.random.default_rng(0).normal(0, std, 200_000)

    def error(span: tuple[float, float]) -> float:
        qtype = activation_type(*span, dtype=IntType.INT8)
        return float(np.mean((qtype.dequantize(qtype.quantize(samples)) - samples) ** 2))

    assert error(mse_range(statistics, IntType.INT8, 8.0)) < error(sigma_range(statistics, 8.0))
