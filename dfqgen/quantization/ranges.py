"""From statistics to scales."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.special import ndtri

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.statistics.channel import ChannelStatistics

RangeMethod = Literal["sigma", "mse", "min-max", "percentile"]

PERCENTILE = 99.99
# Below this a range carries no information; it avoids scales of zero.
SMALLEST_RANGE = 1e-6


def sigma_range(statistics: ChannelStatistics, n_sigma: float) -> tuple[float, float]:
    """The widest channel's mean -+ n sigma within its bounds (Nagel et al. 2019, section 5)."""
    lo, hi = statistics.interval(n_sigma)
    return float(lo.min()), float(hi.max())


def mse_range(statistics: ChannelStatistics, dtype: IntType, n_sigma: float) -> tuple[float, float]:
    """The range that minimises the expected squared error of rounding and clipping over all channels.

    Candidates shrink both ends of the n-sigma range (on samples: of their extremes). The error is that of
    the samples' values where there are any, else integrated over each channel's clipped normal.
    """
    if statistics.values is not None:
        lo, hi = extremes(statistics)
        samples = statistics.values[:, None]
        weights = np.full(samples.shape[0], 1.0 / samples.shape[0])
    else:
        lo, hi = sigma_range(statistics, n_sigma)
        quantiles = (np.arange(512) + 0.5) / 512
        tail = np.array([1e-7, 1e-6, 1e-5, 1e-4, 5e-4])
        tails = np.concatenate([tail, quantiles, 1 - tail[::-1]])
        weights = np.gradient(np.concatenate([[0.0], tails, [1.0]]))[1:-1]
        normals = statistics.mean + statistics.std * ndtri(tails)[:, None]
        samples = np.clip(normals, statistics.lo, statistics.hi)
    best, best_error = (lo, hi), np.inf
    levels = 2**dtype.bits - 1
    for low in np.linspace(0.3, 1.0, 15) if lo < 0 else [1.0]:
        for high in np.linspace(0.3, 1.0, 15) if hi > 0 else [1.0]:
            a, b = min(lo * low, 0.0), max(hi * high, 0.0)
            step = (b - a) / levels
            beyond = np.maximum(a - samples, 0.0) + np.maximum(samples - b, 0.0)
            error = float(np.mean(weights @ beyond**2)) + step**2 / 12
            if error < best_error:
                best, best_error = (a, b), error
    return best


def extremes(statistics: ChannelStatistics) -> tuple[float, float]:
    """Smallest and largest value on the samples the statistics were measured on."""
    lo, hi = (statistics.lo, statistics.hi) if statistics.seen is None else statistics.seen
    return float(lo.min()), float(hi.max())


def percentile_range(statistics: ChannelStatistics, percentile: float) -> tuple[float, float]:
    """The range without the outer 100 - percentile per cent of the samples' values, half at either end."""
    assert statistics.values is not None
    tail = (1.0 - percentile / 100.0) / 2
    lo, hi = np.quantile(statistics.values, [tail, 1.0 - tail])
    return float(lo), float(hi)


def activation_type(
    lo: float, hi: float, *, power_of_two: bool = False, dtype: IntType = IntType.INT8
) -> QType:
    """The type that covers [lo, hi] and zero.

    With `power_of_two` the scale is 2**-n and the zero point 0, or the smallest integer for a tensor
    that is never negative: it is folded into biases all the same, and doubles the resolution after a ReLU.
    int16 is symmetric.
    """
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    if hi - lo < SMALLEST_RANGE:
        hi = lo + SMALLEST_RANGE
    if dtype is IntType.INT16:
        scale = max(hi, -lo) / dtype.maximum
        return QType(dtype, 2.0 ** math.ceil(math.log2(scale)) if power_of_two else at_least(scale))
    if power_of_two:
        if lo == 0.0:
            scale = 2.0 ** math.ceil(math.log2(hi / (dtype.maximum - dtype.minimum)))
            return QType(dtype, scale, dtype.minimum)
        largest = max(hi / dtype.maximum, lo / dtype.minimum)
        return QType(dtype, 2.0 ** math.ceil(math.log2(largest)))
    scale = (hi - lo) / (dtype.maximum - dtype.minimum)
    zero_point = round(dtype.minimum - lo / scale)
    # Cover both ends after rounding the zero point, so that the ends are representable.
    scale = max(
        hi / (dtype.maximum - zero_point) if dtype.maximum > zero_point else 0.0,
        lo / (dtype.minimum - zero_point) if zero_point > dtype.minimum else 0.0,
    )
    return QType(dtype, at_least(scale), zero_point)


def at_least(scale: float) -> float:
    """The smallest float32 that is not below: scales that other formats can hold."""
    single = np.float32(scale)
    return float(single if single >= scale else np.nextafter(single, np.float32(np.inf)))


def choose_range(
    statistics: ChannelStatistics, method: RangeMethod, n_sigma: float, dtype: IntType
) -> tuple[float, float]:
    """The real range to represent, by the named method."""
    if method == "mse":
        return mse_range(statistics, dtype, n_sigma)
    if method == "sigma":
        return sigma_range(statistics, n_sigma)
    if statistics.values is None:
        raise UserError(
            f"ranges by {method} need samples",
            "Give calibration data or synthesize samples, or choose the ranges by sigma or mse.",
        )
    return extremes(statistics) if method == "min-max" else percentile_range(statistics, PERCENTILE)


def weight_scale(largest: Array, dtype: IntType, idle_scale: float, *, power_of_two: bool) -> Array:
    """Symmetric scale for weights up to `largest`; channels of zeros get `idle_scale`."""
    largest = np.asarray(largest, np.float64)
    scale = np.where(largest > 0, largest / dtype.maximum, idle_scale)
    return np.exp2(np.ceil(np.log2(scale))) if power_of_two else scale
