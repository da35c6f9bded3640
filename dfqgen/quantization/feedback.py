"""Rounding against the input's covariance: each weight's error is carried by those not yet rounded.

Minimises the expected error of the layer's output, (s q - w)^T Sigma (s q - w) for each output channel,
where SQuant looks at sums alone and rounding to nearest at single weights. The solver is OBQ's in GPTQ's
order (Frantar et al., NeurIPS 2022 and ICLR 2023) with descent along coordinates after it; Sigma comes
from statistics, not from data.
"""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Array
from dfqgen.graph.site import QuantizedWeight
from dfqgen.statistics.second_moments import InputMoments

REFINEMENTS = 2
"""Rounds of (scale by least squares, one descent along every coordinate)."""
FEWEST_BITS = 3
"""Up to this many bits the search starts from several scales."""
SCALE_STARTS = (1.0, 0.75, 0.87, 1.15, 1.3)
SEARCHED_ELEMENTS = 1 << 25
"""A layer with more products of weights and inputs than these starts from one scale only."""
BLOCK = 32
"""Inputs whose errors are carried one by one; those behind them get the whole block's at once."""


def feedback_round(
    weight: Array, start: QuantizedWeight, moments: InputMoments, *, fixed_scale: bool = False
) -> QuantizedWeight:
    """`start` rounded again, and its scales fitted, for the smallest expected output error.

    weight [Cout, kh, kw, Cin/groups]. `fixed_scale` keeps the scales (powers of two, or one for all).
    `moments` may have more groups than the layer: each is for the output channels that follow in order.
    """
    groups, size = moments.mean.shape
    large = weight.size * size > SEARCHED_ELEMENTS
    single = fixed_scale or large or start.dtype.bits > FEWEST_BITS
    starts = np.array([1.0] if single else SCALE_STARTS)
    # [groups, out * starts, ...]: every start is an output channel of its own.
    rows = np.repeat(weight.astype(np.float64).reshape(groups, -1, size), len(starts), axis=1)
    scale = (start.scale.astype(np.float64).reshape(groups, -1, 1) * starts).reshape(groups, -1)
    covariance = moments.damped
    largest = start.dtype.maximum
    integers = carry_errors(rows, scale, moments, largest)
    for _ in range(REFINEMENTS):
        if not fixed_scale:
            scale = fitted_scale(rows, integers, covariance, scale)
        descend(rows, scale, integers, covariance, -largest - 1, largest)
    error = integers * scale[:, :, None] - rows
    noise = np.einsum("gok,gok->go", error @ moments.covariance, error).reshape(-1, len(starts))
    best = np.arange(len(noise)) * len(starts) + noise.argmin(axis=1)
    values = integers.reshape(-1, size)[best].reshape(weight.shape).astype(np.int8)
    return QuantizedWeight(values, scale.reshape(-1)[best], start.dtype)


def carry_errors(rows: Array, scale: Array, moments: InputMoments, largest: int) -> Array:
    """Integers [groups, out, K] in [-largest - 1, largest]: inputs of large variance first, each error
    spread over the ones left.
    """
    size = rows.shape[2]
    order, factor = moments.elimination
    left = np.take_along_axis(rows, order[:, None, :], axis=2).copy()
    integers = np.empty_like(left)
    for start in range(0, size, BLOCK):
        end = min(start + BLOCK, size)
        errors = np.empty((*left.shape[:2], end - start))
        for k in range(start, end):
            integers[:, :, k] = np.clip(np.floor(left[:, :, k] / scale + 0.5), -largest - 1, largest)
            error = (left[:, :, k] - integers[:, :, k] * scale) / factor[:, k, k, None]
            left[:, :, k + 1 : end] -= error[:, :, None] * factor[:, None, k, k + 1 : end]
            errors[:, :, k - start] = error
        left[:, :, end:] -= errors @ factor[:, start:end, end:]
    result = np.empty_like(integers)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], rows.shape), integers, axis=2)
    return result


def fitted_scale(rows: Array, integers: Array, covariance: Array, scale: Array) -> Array:
    """The scale [groups, out] of least expected error for these integers; unusable ones stay."""
    seen = integers @ covariance
    over, under = (np.einsum("gok,gok->go", seen, other) for other in (rows, integers))
    usable = (over > 0) & (under > 0)
    return np.where(usable, over / np.where(under > 0, under, 1.0), scale)


def descend(
    rows: Array, scale: Array, integers: Array, covariance: Array, smallest: int, largest: int
) -> None:
    """Move each weight in turn to its best integer, given the others; in place. The error never grows."""
    gradient = (integers * scale[:, :, None] - rows) @ covariance
    for k in range(rows.shape[2]):
        curvature = covariance[:, k, k, None]
        best = integers[:, :, k] - gradient[:, :, k] / (curvature * scale)
        moved = np.clip(np.floor(best + 0.5), smallest, largest) - integers[:, :, k]
        group, out = np.nonzero(moved)
        if group.size:
            step = (moved * scale)[group, out]
            gradient[group, out] += step[:, None] * covariance[group, k]
            integers[:, :, k] += moved
