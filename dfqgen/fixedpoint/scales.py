"""Scales of weights of few bits: clipping the largest of them for a finer step pays."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType

LOW_BITS = 6
"""Up to this many bits."""


def scale_factors(dtype: IntType, *, power_of_two: bool = False) -> Array:
    """What the scale that covers the largest weight may be multiplied by, 1 first."""
    low = dtype.bits <= LOW_BITS
    if power_of_two:
        return np.array([1.0, 0.5, 0.25] if low else [1.0, 0.5])
    return np.linspace(1.0, 0.25, 76) if low else np.ones(1)


def least_squares_scale(
    weight: Array,
    scale: Array,
    factors: Array,
    smallest_scale: Array,
    dtype: IntType,
    *,
    shared: bool = False,
) -> Array:
    """`scale` [Cout] times the factor that makes the squared error of weights [Cout, ...] smallest, per
    channel or shared.

    Clipping the largest weights can cost less than the finer step gains. The first factor is 1.
    """
    best, best_error = scale, np.full(scale.shape, np.inf)
    for factor in factors:
        candidate = factor * scale
        steps = candidate.reshape((-1,) + (1,) * (weight.ndim - 1))
        q = np.clip(np.floor(weight / steps + 0.5), -dtype.maximum, dtype.maximum)
        error = ((q * steps - weight) ** 2).reshape(weight.shape[0], -1).sum(axis=1)
        if shared:
            error = np.full_like(error, error.sum())
        better = (error < best_error) & ((candidate >= smallest_scale) | (factor == 1.0))
        best = np.where(better, candidate, best)
        best_error = np.where(better, error, best_error)
    return best
