"""Second moments of what a convolution's window sees: the correlation that per-channel statistics lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.windows import pad_image, taps
from dfqgen.statistics.propagate import Statistics

DAMPING = 0.01
"""Part of the mean variance added to every input's where few bits need a matrix that can be inverted."""
DOUBT = 0.2
"""The same where bits suffice, and trust in estimated correlations must not harm. Of 0.01, 0.05, 0.2 and 1 it
did best on armkws_CNN, mlc_kws_float, vww01 and ic01-folded together."""
LEVEL_VARIANCE = 0.29
"""Variance of a level over its mean squared, where nobody knows how much of its stated range an input fills:
that of the levels 1, 1/2 and 1/4."""
WINDOWS = 4096
"""Windows drawn for each layer: enough to tell a few hundred inputs' correlations."""
GATED_ELEMENTS = 1 << 23
"""A layer whose output channels' covariances have more elements than this is not looked at one by one."""
MARGIN = 0.3
"""Pre-activations count as passing up to this many deviations beyond the clip: the rounding moves them."""
CLIPPED_WEIGHT = 0.1
"""What a window whose output is clipped counts, beside 1 for the others."""


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Mean [groups, K] and covariance [groups, K, K] of a window; K = kh kw Cin/groups, as in the weight.

    `windows` float32 [N, K] are drawn ones with these moments, where there is one group and the layer is
    small enough for `passing`.
    """

    mean: Array
    covariance: Array
    windows: Array | None = None

    def product(self, first: Array, second: Array) -> Array:
        """Cov[first x, second x] [Cout] for two weights [Cout, kh, kw, Cin/groups]."""
        groups = self.mean.shape[0]
        a, b = (weight.reshape(groups, weight.shape[0] // groups, -1) for weight in (first, second))
        return np.einsum("gok,gok->go", a @ self.covariance, b).reshape(-1)

    def expectation(self, weight: Array) -> Array:
        """E[weight x] [Cout]."""
        groups = self.mean.shape[0]
        rows = weight.reshape(groups, weight.shape[0] // groups, -1)
        return np.einsum("gok,gk->go", rows, self.mean).reshape(-1)

    @cached_property
    def damped(self) -> Array:
        """The covariance, safely invertible."""
        size = self.covariance.shape[1]
        mean = np.einsum("gkk->g", self.covariance) / size
        return self.covariance + np.eye(size) * (DAMPING * mean + 1e-20)[:, None, None]

    def doubted(self) -> Array:
        """E[x x^T] [groups, K, K] behind a bias that makes up for the mean, as far as that is known: samples
        tell correlations roughly, and whether real inputs are as loud as they are, not at all.
        """
        size = self.covariance.shape[1]
        mean = np.einsum("gkk->g", self.covariance) / size
        found = LEVEL_VARIANCE * self.mean[:, :, None] * self.mean[:, None, :]
        found += self.covariance
        found[:, np.arange(size), np.arange(size)] += (DOUBT * mean + 1e-20)[:, None]
        return np.asarray(found)

    @cached_property
    def elimination(self) -> tuple[Array, Array]:
        """Inputs [groups, K] by falling variance, and in that order the upper Cholesky factor [groups, K, K]
        of the damped covariance's inverse: row k says how the inputs behind k make up for it.
        """
        order = np.argsort(-np.einsum("gkk->gk", self.damped), axis=1, kind="stable")
        ordered = np.stack([c[np.ix_(o, o)] for c, o in zip(self.damped, order, strict=True)])
        return order, np.linalg.cholesky(np.linalg.inv(ordered)).transpose(0, 2, 1)

    def passing(self, conv: Conv2D, lo: Array, hi: Array) -> InputMoments:
        """The moments of the windows whose output the clip at lo, hi [Cout] or [1] lets through.

        One group for each output channel, since each has its own; `self` where that is too much.
        """
        if self.windows is None:
            return self
        rows = conv.weight.reshape(conv.out_channels, -1).astype(np.float32)
        output = self.windows @ rows.T + conv.bias.astype(np.float32)
        margin = MARGIN * output.std(axis=0)
        inside = (output > lo - margin) & (output < hi + margin)
        size = rows.shape[1]
        means = np.empty((conv.out_channels, size))
        covariances = np.empty((conv.out_channels, size, size))
        for channel in range(conv.out_channels):
            counts = np.where(inside[:, channel], 1.0, CLIPPED_WEIGHT).astype(np.float32)
            total = float(counts.sum())
            mean = counts @ self.windows / total
            centred = self.windows - mean
            covariance = ((centred * counts[:, None]).T @ centred / total).astype(np.float64)
            variance = np.diag(covariance).copy()
            covariance *= total / (total + size)
            np.fill_diagonal(covariance, variance)
            means[channel], covariances[channel] = mean, covariance
        return InputMoments(means, covariances)


Use = Callable[[Node, InputMoments], None]


def input_moments(
    graph: Graph, statistics: Statistics, samples: Mapping[str, Array], seed: int = 0
) -> dict[str, InputMoments]:
    """Moments of every convolution's windows, by its output tensor."""
    found: dict[str, InputMoments] = {}
    each_input_moments(
        graph, statistics, samples, lambda node, moments: found.update({node.output: moments}), seed=seed
    )
    return found


def each_input_moments(
    graph: Graph,
    statistics: Statistics,
    samples: Mapping[str, Array],
    use: Use,
    *,
    wanted: Callable[[Node], bool] = lambda node: True,
    seed: int = 0,
) -> None:
    """`use` gets the moments of the windows of one `wanted` convolution after the other.

    Correlations are those on `samples` (procedural ones will do), drawn towards zero where there are few
    windows for many inputs; each channel's mean and variance are those of `statistics`, which batch
    normalization may know better.
    """
    generator = np.random.default_rng(seed)

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        if isinstance(node.op, Conv2D) and wanted(node):
            mean, variance = statistics[node.inputs[0]].moments()
            # Nothing here holds the windows while the moments are used: of a wide layer both are large.
            windows = _windows(node.op, arguments[0], output.shape, generator)
            moments = _moments(windows, node.op, mean, variance)
            del windows
            use(node, moments)

    graph.evaluate(samples, watch)


def _windows(conv: Conv2D, x: Array, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """What the windows of random output pixels hold, [groups, windows, K] float64."""
    pixels = int(np.prod(shape[:3]))
    chosen = np.sort(generator.permutation(pixels)[:WINDOWS])
    place = np.unravel_index(chosen, shape[:3])
    views = taps(pad_image(x, conv.pads, 0.0), conv.kernel, conv.stride, conv.dilation)
    rows = np.stack([view[place] for line in views for view in line], axis=1)  # [windows, taps, Cin]
    split = rows.reshape(len(chosen), rows.shape[1], conv.groups, -1)
    return split.transpose(2, 0, 1, 3).reshape(conv.groups, len(chosen), -1).astype(np.float64)


def _moments(windows: Array, conv: Conv2D, mean: Array, variance: Array) -> InputMoments:
    """Spends `windows`: worked on in place, as the covariance is; a wide layer's are large."""
    groups, count, size = windows.shape
    repeat = conv.kernel[0] * conv.kernel[1]

    def per_tap(channels: Array) -> Array:
        return np.tile(channels.reshape(groups, 1, -1), (1, repeat, 1)).reshape(groups, size)

    windows -= windows.mean(axis=1, keepdims=True)
    covariance = windows.transpose(0, 2, 1) @ windows
    covariance /= count
    deviation = np.sqrt(np.einsum("gkk->gk", covariance))
    inverse = np.divide(1.0, deviation, where=deviation > 0, out=np.zeros_like(deviation))
    shrink = size / (size + count)
    covariance *= 1.0 - shrink
    for factor in (inverse[:, :, None], inverse[:, None, :]):
        covariance *= factor
    covariance[:, np.arange(size), np.arange(size)] = 1.0  # of what are correlations now
    known = per_tap(np.sqrt(variance))
    scaled = None
    if groups == 1 and conv.out_channels * size * size <= GATED_ELEMENTS:
        scaled = (windows[0] * (inverse * known)[0] + per_tap(mean)[0]).astype(np.float32)
    for factor in (known[:, :, None], known[:, None, :]):
        covariance *= factor
    return InputMoments(per_tap(mean), covariance, scaled)
