"""Closed-form moments against sampling, and against their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.gaussian import clipped_normal_moments


@pytest.mark.parametrize(
    ("mean", "std", "lo", "hi"),
    [(0, 1, 0, np.inf), (1, 2, 0, 6), (5.9, 0.3, 0, 6), (-3, 1, 0, 6), (0.5, 1, -1, 1), (8, 1, 0, 6)],
)
def test_clipped_normal_moments_match_sampling(mean: float, std: float, lo: float, hi: float) -> None:
    samples = np.clip(np.random.default_rng(0).normal(mean, std, 1_000_000), lo, hi)
    expectation, variance = clipped_normal_moments(*map(np.asarray, (mean, std, lo, hi)))
    assert expectation == pytest.approx(samples.mean(), abs=5e-3 * std)
    assert variance == pytest.approx(samples.var(), rel=3e-2, abs=1e-4)


@given(st.floats(-100, 100), st.floats(0, 50))
def test_without_bounds_the_moments_are_the_normals(mean: float, std: float) -> None:
    expectation, variance = clipped_normal_moments(*map(np.asarray, (mean, std, -np.inf, np.inf)))
    assert expectation == pytest.approx(mean)
    assert variance == pytest.approx(std**2)


@given(st.floats(-20, 20), st.floats(0, 20), st.floats(-10, 10), st.floats(0, 10))
def test_the_mean_lies_in_the_bounds_and_the_variance_is_not_larger(
    mean: float, std: float, lo: float, width: float
) -> None:
    expectation, variance = clipped_normal_moments(*map(np.asarray, (mean, std, lo, lo + width)))
    assert lo - 1e-9 <= expectation <= lo + width + 1e-9
    assert -1e-12 <= variance <= std**2 * (1 + 1e-9) + 1e-12


def test_scaling_by_zero_gives_a_constant_even_from_unbounded_channels() -> None:
    scaled = ChannelStatistics.normal(np.array([1.0]), 2.0).scale_shift(0.0, 3.0)
    assert (scaled.mean[0], scaled.std[0], scaled.lo[0], scaled.hi[0]) == (3.0, 0.0, 3.0, 3.0)


def test_transform_finds_the_moments_of_a_function() -> None:
    statistics = ChannelStatistics.normal(np.array([0.3]), 0.7).transform(np.tanh)
    samples = np.tanh(np.random.default_rng(0).normal(0.3, 0.7, 400_000))
    assert statistics.mean[0] == pytest.approx(samples.mean(), abs=2e-3)
    assert statistics.std[0] == pytest.approx(samples.std(), abs=2e-3)
