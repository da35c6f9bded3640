"""Second moments of what a convolution's window sees: the correlation that per-channel statistics lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.windows import pad_image, taps
from dfqgen.statistics.propagate import Statistics

WINDOWS = 4096
"""Windows drawn for each layer: enough to tell a few hundred inputs' correlations."""


@dataclass(frozen=True, slots=True, eq=False)
class InputMoments:
    """Mean [groups, K] and covariance [groups, K, K] of a window; K = kh kw Cin/groups, as in the weight."""

    mean: Array
    covariance: Array

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

    def of_output(self, channel: int, out_channels: int) -> Array:
        """E[x x^T] [K, K] of the windows that this output channel sees."""
        group = channel * self.mean.shape[0] // out_channels
        return self.covariance[group] + np.outer(self.mean[group], self.mean[group])


def input_moments(
    graph: Graph, statistics: Statistics, samples: Mapping[str, Array], seed: int = 0
) -> dict[str, InputMoments]:
    """Moments of every convolution's windows, by its output tensor.

    Correlations are those on `samples` (procedural ones will do), drawn towards zero where there are few
    windows for many inputs; each channel's mean and variance are those of `statistics`, which batch
    normalization may know better.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, InputMoments] = {}

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        if isinstance(node.op, Conv2D):
            windows = _windows(node.op, arguments[0], output.shape, generator)
            mean, variance = statistics[node.inputs[0]].moments()
            found[node.output] = _moments(windows, node.op, mean, variance)

    graph.evaluate(samples, watch)
    return found


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
    groups, count, size = windows.shape
    repeat = conv.kernel[0] * conv.kernel[1]

    def per_tap(channels: Array) -> Array:
        return np.tile(channels.reshape(groups, 1, -1), (1, repeat, 1)).reshape(groups, size)

    centred = windows - windows.mean(axis=1, keepdims=True)
    covariance = centred.transpose(0, 2, 1) @ centred / count
    deviation = np.sqrt(np.einsum("gkk->gk", covariance))
    inverse = np.divide(1.0, deviation, where=deviation > 0, out=np.zeros_like(deviation))
    shrink = size / (size + count)
    correlation = (1.0 - shrink) * covariance * inverse[:, :, None] * inverse[:, None, :]
    correlation[:, np.arange(size), np.arange(size)] = 1.0
    known = per_tap(np.sqrt(variance))
    return InputMoments(per_tap(mean), correlation * known[:, :, None] * known[:, None, :])
