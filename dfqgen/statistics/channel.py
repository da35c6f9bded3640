"""What is known, without data, about the values of one activation tensor: a clipped normal a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.statistics.gaussian import clipped_normal_moments

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """Each channel c is clip(N(mean[c], std[c]**2), lo[c], hi[c]); arrays are float64 [channels].

    `lo`, `hi` are hard bounds (may be infinite): no value lies outside them. `mean`, `std` are the
    parameters of the normal before clipping, as batch normalization gives them (Nagel et al. 2019,
    section 4.2.1). `seen`, where given, are the smallest and largest values [channels] that samples
    reached; they widen `interval` and change no moment, and any operation on the statistics drops them.
    So it does `values`, a random choice of what samples gave, all channels together, in ascending order.
    """

    mean: Array
    std: Array
    lo: Array
    hi: Array
    seen: tuple[Array, Array] | None = None
    values: Array | None = None

    @classmethod
    def normal(
        cls, mean: Array, std: Array | float, lo: Array | float = -np.inf, hi: Array | float = np.inf
    ) -> ChannelStatistics:
        """N(mean, std**2) within hard bounds; everything is broadcast to the shape of `mean`."""
        mean = np.atleast_1d(np.asarray(mean, np.float64))

        def as_channels(value: Array | float) -> Array:
            return np.broadcast_to(np.asarray(value, np.float64), mean.shape).copy()

        return cls(mean.copy(), as_channels(std), as_channels(lo), as_channels(hi))

    @property
    def channels(self) -> int:
        return int(self.mean.shape[0])

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance per channel, clipping included."""
        return clipped_normal_moments(self.mean, self.std, self.lo, self.hi)

    def clip(self, lo: Array | float, hi: Array | float) -> ChannelStatistics:
        """Statistics after clip(x, lo, hi), such as ReLU and ReLU6."""
        return ChannelStatistics(self.mean, self.std, np.clip(self.lo, lo, hi), np.clip(self.hi, lo, hi))

    def scale_shift(self, scale: Array | float, shift: Array | float = 0.0) -> ChannelStatistics:
        """Statistics of scale * x + shift, per channel; negative scales swap the bounds."""
        scale = np.broadcast_to(np.asarray(scale, np.float64), self.mean.shape)
        # 0 * inf is 0 here: a channel multiplied away is the constant `shift`.
        ends = [
            np.multiply(end, scale, where=scale != 0, out=np.zeros_like(self.mean)) + shift
            for end in (self.lo, self.hi)
        ]
        return ChannelStatistics(
            self.mean * scale + shift,
            self.std * np.abs(scale),
            np.minimum(*ends),
            np.maximum(*ends),
        )

    def interval(self, n_sigma: float) -> tuple[Array, Array]:
        """mean -+ n_sigma * std per channel within the bounds (Nagel et al. 2019, section 5), and `seen`."""
        lo = np.clip(self.mean - n_sigma * self.std, self.lo, self.hi)
        hi = np.clip(self.mean + n_sigma * self.std, self.lo, self.hi)
        if self.seen is None:
            return lo, hi
        return np.minimum(lo, self.seen[0]), np.maximum(hi, self.seen[1])

    def transform(self, function: Callable[[Array], Array]) -> ChannelStatistics:
        """Statistics of function(x), elementwise: moments by quadrature, bounds by sampling the range."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(32)
        weights = weights / weights.sum()
        samples = np.clip(self.mean + self.std * nodes[:, None], self.lo, self.hi)
        values = function(samples)
        mean = weights @ values
        variance = weights @ (values - mean) ** 2
        lo, hi = self.interval(12.0)
        sweep = function(lo + (hi - lo) * np.linspace(0.0, 1.0, 257)[:, None])
        return ChannelStatistics(mean, np.sqrt(variance), sweep.min(axis=0), sweep.max(axis=0))

    def expand(self, shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
        """The four arrays broadcast over a whole tensor of this shape (channels last)."""
        mean, std, lo, hi = (np.broadcast_to(a, shape) for a in (self.mean, self.std, self.lo, self.hi))
        return mean, std, lo, hi


def by_channel(x: Array) -> Array:
    """Samples of a tensor [N, ..., C] as [elements of a channel, C]; of [N], one number each, as [N, 1]."""
    return x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1)


def mixture(mean: Array, std: Array, lo: Array, hi: Array) -> ChannelStatistics:
    """One normal a channel with the moments of a tensor's worth of normals (channels last)."""
    axes = tuple(range(mean.ndim - 1))
    centre = mean.mean(axis=axes)
    variance = (std**2 + mean**2).mean(axis=axes) - centre**2
    return ChannelStatistics(centre, np.sqrt(np.maximum(variance, 0.0)), lo.min(axis=axes), hi.max(axis=axes))


def move(
    statistics: ChannelStatistics, shape: tuple[int, ...], rearrange: Callable[[Array], Array]
) -> ChannelStatistics:
    """Statistics after an operator that only moves elements: `rearrange` applied to each parameter."""
    mean, std, lo, hi = (rearrange(a) for a in statistics.expand(shape))
    return mixture(mean, std, lo, hi)
