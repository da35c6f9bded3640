"""Weights to integers: scale, then rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import Array, IntType, QType, Requantize
from dfqgen.fixedpoint.scales import least_squares_scale, scale_factors
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.line import Line
from dfqgen.quantization.ranges import weight_scale
from dfqgen.recipe.records import WeightsRecipe

Integers = Callable[[Array], Array]
"""How reals [Cout, kh, kw, Cin/groups] in units of the scale become integers."""

# A bias of at most 29 bits leaves the accumulator room for the products.
LARGEST_BIAS = 1 << 29
LARGEST_PRODUCTS = 1 << 30
# Of what 32 bits hold; the rest is for biases that are corrected when the weights are rounded.
LARGEST_ACCUMULATOR = 0.9375 * 2.0**31
MOST_DOUBLINGS = 40
# An accumulator step in output steps, in channels without weights: finer than any bias can show.
IDLE_FACTOR = 2.0**-16


def quantize_weights(
    graph: Graph,
    types: Mapping[str, QType],
    clips: Mapping[str, Node],
    recipe: WeightsRecipe,
    bits: Mapping[str, IntType],
    integers: Integers | None = None,
) -> dict[str, QuantizedWeight]:
    """The integer weight of every convolution, by output tensor; `types` are the activations'.

    `clips` are the fused activations by the tensor they take over. `bits` has the layers with another width
    than 8; `integers` rounds, to nearest by default. Raises UserError for a layer whose sums no scale can
    hold.
    """
    weights: dict[str, QuantizedWeight] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            place = Place.of(node, types, clips)
            dtype = bits.get(node.output, IntType.INT8)

            kept = stated_weight(place)
            if kept is not None:
                weights[node.output] = kept
                continue

            def quantize(
                smallest: Array, conv: Conv2D = node.op, dtype: IntType = dtype, place: Place = place
            ) -> QuantizedWeight:
                rounding = integers or to_nearest
                if conv.weight[0].size == 1 and not (recipe.per_tensor or recipe.power_of_two):
                    line = Line(conv.weight, place.bias, place.x, place.y)
                    return line.quantized(smallest, dtype, place.idle_scale)
                return quantize_weight(
                    conv.weight, recipe, smallest, dtype, rounding, idle_scale=place.idle_scale
                )

            weights[node.output] = place.fit(quantize)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A convolution between the types of its input and its output: which scales its weights may have."""

    name: str
    conv: Conv2D
    x: QType
    y: QType

    @classmethod
    def of(cls, node: Node, types: Mapping[str, QType], clips: Mapping[str, Node]) -> Place:
        """Where the node stands in a graph whose tensors have these types."""
        assert isinstance(node.op, Conv2D)
        output = clips[node.output].output if node.output in clips else node.output
        return cls(node.name, node.op, types[node.inputs[0]], types[output])

    @property
    def idle_scale(self) -> float:
        """For channels without weights: fine for their bias, and far below any factor that needs a shift."""
        return self.y.scale / self.x.scale * IDLE_FACTOR

    @property
    def bias(self) -> Array:
        """The bias [Cout], no larger than what is clipped by the output's type whatever the input is."""
        largest_input = max(abs(end) for end in self.x.real_range)
        sums = np.abs(self.conv.weight.astype(np.float64)).sum(axis=(1, 2, 3)) * largest_input
        beyond = 2.0 * (sums + max(abs(end) for end in self.y.real_range))
        return np.clip(self.conv.bias.astype(np.float64), -beyond, beyond)

    def fit(self, quantize: Callable[[Array], QuantizedWeight]) -> QuantizedWeight:
        """`quantize` with the smallest scales [Cout] at which no accumulator can leave 32 bits.

        Where a bias is out of proportion to its weights, or one channel's factor shifts all others, scales
        give way. Raises UserError where that does not end: the sums are too large for the output's type.
        """
        conv = replace(self.conv, bias=self.bias)
        smallest = smallest_scales(conv, self.x)
        for _ in range(MOST_DOUBLINGS):
            weight = quantize(smallest)
            reach = self._largest_accumulators(conv, weight)
            if np.all(reach <= LARGEST_ACCUMULATOR):
                return weight
            smallest = np.where(reach > LARGEST_ACCUMULATOR, 2.0 * weight.scale, smallest)
        lo, hi = self.y.real_range
        weights = float(np.abs(conv.weight.astype(np.float64)).sum(axis=(1, 2, 3)).max())
        sums = weights * max(abs(end) for end in self.x.real_range)
        raise UserError(
            f"layer {self.name!r}: its sums reach {sums:.3g}, its output spans {lo:.3g} to {hi:.3g} only",
            "Its weights are damaged, or its batch normalization's statistics are.",
        )

    def holds(self, weight: QuantizedWeight, largest: float = 2.0**31 - 1) -> bool:
        """Whether no accumulator can get larger: leave 32 bits, or what `fit` allows with
        `LARGEST_ACCUMULATOR`, which has room for a corrected bias.
        """
        conv = replace(self.conv, bias=self.bias)
        return bool(np.all(self._largest_accumulators(conv, weight) <= largest))

    def _largest_accumulators(self, conv: Conv2D, weight: QuantizedWeight) -> Array:
        """Upper bound [Cout] of |accumulator| after the layer's shift, float64."""
        scale = np.broadcast_to(weight.scale * self.x.scale, conv.bias.shape)
        values = weight.values.astype(np.int64)
        offset = np.abs(self.x.zero_point * values.sum(axis=(1, 2, 3)))
        sums = np.abs(values).sum(axis=(1, 2, 3)) * -self.x.dtype.minimum
        shift = Requantize.from_scale(scale / self.y.scale, 0, 0, 0).pre_shift
        return (np.abs(conv.bias) / scale + 1.0 + offset + sums) * 2.0**shift


def stated_weight(place: Place) -> QuantizedWeight | None:
    """The integers that the model states for this layer; None where it states none, or none that fit.

    A layer whose sums could leave 32 bits, or which has integers that its type cannot hold, gets ours.
    """
    conv = place.conv
    integers = conv.stated_integers
    if integers is None or conv.weight_scale is None:
        return None
    if integers.min() < conv.weight_type.minimum or integers.max() > conv.weight_type.maximum:
        return None
    weight = QuantizedWeight(integers.astype(np.int8), conv.weight_scale.astype(np.float64), conv.weight_type)
    return weight if place.holds(weight) else None


def bound_biases(graph: Graph, types: Mapping[str, QType], clips: Mapping[str, Node]) -> Graph:
    """The graph with `Place.bias` in every convolution: the same function behind the output's type."""
    ops: dict[str, Op] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            bias = Place.of(node, types, clips).bias
            if np.any(bias != node.op.bias):
                ops[node.output] = replace(node.op, bias=bias)
    return graph.replace_ops(ops)


def smallest_scales(conv: Conv2D, x: QType) -> Array:
    """What the weights' scales [Cout] must not go below, so that accumulators stay in 32 bits.

    A bias must fit, and over int16 inputs the sum of products: large layers give up some bits of weights.
    """
    smallest = np.abs(conv.bias.astype(np.float64)) / (x.scale * LARGEST_BIAS)
    if x.dtype is not IntType.INT16:
        return smallest
    sums = np.abs(conv.weight.astype(np.float64)).sum(axis=(1, 2, 3))
    return np.maximum(smallest, sums * -x.dtype.minimum / LARGEST_PRODUCTS)


def to_nearest(real: Array) -> Array:
    """The nearest integers, ties up."""
    return np.floor(real + 0.5)


def quantize_weight(
    weight: Array,
    recipe: WeightsRecipe,
    smallest_scale: Array,
    dtype: IntType = IntType.INT8,
    integers: Integers = to_nearest,
    *,
    idle_scale: float = 1.0,
) -> QuantizedWeight:
    """weight [Cout, ...] as symmetric integers, one scale per output channel or one for all.

    `smallest_scale` [Cout] bounds the scales from below (the layer's bias must fit its accumulator).
    The scale covers the largest weight, or at low bits (and powers of two) makes the squared error
    smallest; channels without weights get `idle_scale`.
    """
    channels = weight.shape[0]
    largest = np.abs(weight.reshape(channels, -1)).max(axis=1).astype(np.float64)
    if recipe.per_tensor:
        largest = np.full(channels, largest.max())
        smallest_scale = np.full(channels, smallest_scale.max())
    covering = weight_scale(largest, dtype, idle_scale, power_of_two=recipe.power_of_two)
    scale = np.maximum(covering, smallest_scale)
    if recipe.power_of_two:
        scale = np.exp2(np.ceil(np.log2(scale)))
    factors = scale_factors(dtype, power_of_two=recipe.power_of_two)
    shared = recipe.per_tensor
    scale = least_squares_scale(weight, scale, factors, smallest_scale, dtype, shared=shared)
    shape = (channels,) + (1,) * (weight.ndim - 1)
    real = weight.astype(np.float64) / scale.reshape(shape)
    values = np.clip(integers(real), -dtype.maximum, dtype.maximum)
    return QuantizedWeight(values.astype(np.int8), scale, dtype)


def ternary_weight(weight: Array, smallest_scale: Array) -> QuantizedWeight:
    """Ternary weight network (Li and Liu 2016), the quantizer of Chen et al. 2023: per output channel,
    -1, 0, 1 with threshold 0.7 mean |W|, times the mean |w| above it.
    """
    channels = weight.shape[0]
    magnitude = np.abs(weight.reshape(channels, -1).astype(np.float64))
    above = magnitude > 0.7 * magnitude.mean(axis=1, keepdims=True)
    count = above.sum(axis=1)
    mean = np.divide((magnitude * above).sum(axis=1), count, where=count > 0, out=np.zeros(channels))
    values = np.sign(weight) * above.reshape(weight.shape)
    scale = np.maximum(mean, smallest_scale)  # a channel of zeros takes the scale that suits its bias
    return QuantizedWeight(values.astype(np.int8), np.where(scale > 0, scale, 1.0), IntType.INT2)


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
