"""Weights to integers: scale, then rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.graph.ir import Graph
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.ranges import weight_scale

# A bias of at most 29 bits leaves the accumulator room for the products.
LARGEST_BIAS = 1 << 29


def quantize_weights(
    graph: Graph, types: Mapping[str, QType], options: QuantizeOptions
) -> dict[str, QuantizedWeight]:
    """The integer weight of every convolution, by output tensor; `types` are the activations'."""
    weights: dict[str, QuantizedWeight] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            input_scale = types[node.inputs[0]].scale
            smallest_scale = np.abs(node.op.bias.astype(np.float64)) / (input_scale * LARGEST_BIAS)
            weights[node.output] = quantize_weight(node.op.weight, options, smallest_scale)
    return weights


def quantize_weight(
    weight: Array, options: QuantizeOptions, smallest_scale: Array, dtype: IntType = IntType.INT8
) -> QuantizedWeight:
    """weight [Cout, ...] as symmetric integers, one scale per output channel or one for all.

    `smallest_scale` [Cout] bounds the scales from below (the layer's bias must fit its accumulator).
    """
    channels = weight.shape[0]
    largest = np.abs(weight.reshape(channels, -1)).max(axis=1).astype(np.float64)
    if options.weights == "per-tensor":
        largest = np.full(channels, largest.max())
        smallest_scale = np.full(channels, smallest_scale.max())
    scale = np.maximum(weight_scale(largest, dtype, power_of_two=options.power_of_two), smallest_scale)
    if options.power_of_two:
        scale = _best_power_of_two(weight, np.exp2(np.ceil(np.log2(scale))), smallest_scale, dtype, options)
    shape = (channels,) + (1,) * (weight.ndim - 1)
    real = weight.astype(np.float64) / scale.reshape(shape)
    integers = squant_round(real) if options.rounding == "squant" else np.floor(real + 0.5)
    return QuantizedWeight(np.clip(integers, -dtype.maximum, dtype.maximum).astype(np.int8), scale, dtype)


def _best_power_of_two(
    weight: Array, scale: Array, smallest_scale: Array, dtype: IntType, options: QuantizeOptions
) -> Array:
    """Half the covering scale where clipping the largest weights costs less than the finer step gains."""

    def error(candidate: Array) -> Array:
        shape = (-1,) + (1,) * (weight.ndim - 1)
        q = np.clip(np.floor(weight / candidate.reshape(shape) + 0.5), -dtype.maximum, dtype.maximum)
        squares = (q * candidate.reshape(shape) - weight) ** 2
        per_channel: Array = squares.reshape(weight.shape[0], -1).sum(axis=1)
        return (
            np.full_like(per_channel, per_channel.sum()) if options.weights == "per-tensor" else per_channel
        )

    half = scale / 2
    better = (error(half) < error(scale)) & (half >= smallest_scale)
    return np.where(better, half, scale)


def squant_round(real: Array) -> Array:
    """Round so that errors cancel in sums: first over each kernel, then over each output channel.

    Closed form of SQuant (Guo et al., ICLR 2022). real [Cout, kh, kw, Cin/groups] in units of the scale.
    Starting from nearest, each kernel (o, :, :, i) with |sum of errors| > 1/2 flips the elements with
    the largest rounding error in that direction to their other neighbour; then each output channel
    flips at most one more element per kernel until its |sum of errors| <= 1/2.
    """
    out_channels = real.shape[0]
    kernels = np.moveaxis(real, 3, 1).reshape(out_channels, real.shape[3], -1)  # [O, I, K]
    rounded = np.floor(kernels + 0.5)
    error = rounded - kernels
    sums = error.sum(axis=2)
    flips = np.floor(np.abs(sums) + 0.5).astype(np.int64)
    direction = np.sign(sums)
    # Most willing first: the errors that point the way of the sum.
    order = np.argsort(-error * direction[:, :, None], axis=2, kind="stable")
    rank = np.argsort(order, axis=2, kind="stable")
    flip = rank < flips[:, :, None]
    rounded -= flip * direction[:, :, None]
    error = rounded - kernels
    # Over kernels: the next candidate of each kernel, at most one.
    totals = error.sum(axis=(1, 2))
    for channel in np.flatnonzero(np.abs(totals) > 0.5):
        way = np.sign(totals[channel])
        candidates = (error[channel] * way).argmax(axis=1)
        gains = np.take_along_axis(error[channel] * way, candidates[:, None], axis=1)[:, 0]
        count = int(np.floor(abs(totals[channel]) + 0.5))
        for kernel in np.argsort(-gains, kind="stable")[:count]:
            if gains[kernel] > 0:
                rounded[channel, kernel, candidates[kernel]] -= way
    return np.moveaxis(rounded.reshape(out_channels, real.shape[3], real.shape[1], real.shape[2]), 1, 3)
