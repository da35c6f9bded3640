"""Normalization by moments of the input itself: layer, RMS, instance and group normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor
from dfqgen.fixedpoint.proof import check_clamp, check_reach, check_shape, check_within, check_zero_point
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import OneClamp
from dfqgen.ops.multiply import largest_distance
from dfqgen.statistics.channel import ChannelStatistics

NORMAL_BITS = 15
"""Of a normalized value, before its scale and shift."""
BIAS_BITS = 14
"""Of a shift, in units of an output step."""


@dataclass(frozen=True, slots=True, eq=False)
class Standardize(Op):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, moments over blocks of x itself.

    A block spans the axes from `axis` on; the last axis, of channels, lies in `groups` blocks side by side.
    So `axis` the last one and one group is layer normalization, `axis` 1 and a group for each channel is
    instance normalization. Without `centered` the mean is taken as 0, and the variance is the mean square
    (RMS normalization). gamma, beta are [1] or, by channel, [C].
    """

    axis: int
    gamma: Array
    beta: Array
    groups: int = 1
    centered: bool = True
    epsilon: float = 1e-5

    fuses_clip: ClassVar[bool] = True
    reads_finely: ClassVar[bool] = True
    measured: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if not 1 <= self.axis < len(shape) or shape[-1] % self.groups:
            raise ValueError(f"{shape} has no {self.groups} groups from axis {self.axis} on")
        for parameter in (self.gamma, self.beta):
            if parameter.shape not in ((1,), (shape[-1],)):
                raise ValueError(f"{shape[-1]} channels meet {parameter.size} parameters")
        return shape

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        blocks = as_blocks(x, self.axis, self.groups).astype(np.float64)
        if self.centered:
            blocks = blocks - blocks.mean(axis=(2, 4), keepdims=True)
        variance = np.square(blocks).mean(axis=(2, 4), keepdims=True)
        normal = (blocks / np.sqrt(variance + self.epsilon)).reshape(x.shape)
        return (self.gamma * normal + self.beta).astype(x.dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Of mean beta and deviation |gamma|; no value of n is further off than sqrt(n) deviations."""
        gamma, beta = (np.broadcast_to(p, shapes[0][-1:]) for p in (self.gamma, self.beta))
        reach = np.abs(gamma) * np.sqrt(block_size(shapes[0], self.axis, self.groups))
        return ChannelStatistics.normal(beta, np.abs(gamma), beta - reach, beta + reach)

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> Op | None:
        """Axes of a block may change places with each other, and so may those in front of it."""
        last = len(permutation) - 1
        inside = all(p >= self.axis for p in permutation[self.axis :])
        return self if inside and permutation[last] == last else None

    def reshaped(self, before: Shape, after: Shape) -> Op | None:
        """Axes of a block may be split or joined, and so may those in front of it; not channels."""
        size = math.prod(after[self.axis :])
        for axis in range(len(before) - 1, 0, -1):
            if before[-1] == after[-1] and math.prod(before[axis:]) == size:
                return replace(self, axis=axis)
        return None

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output.qtype
        count = block_size(x.shape, self.axis, self.groups)
        factors = self.gamma.astype(np.float64) / y.scale * 2.0 ** (32 - NORMAL_BITS)
        pre_shift = max(0, math.frexp(float(np.abs(factors).max()) / INT32_MAX)[1])
        if largest_normal(count) << pre_shift > INT32_MAX:
            raise ProgramError(f"{site.name}: its scale is far beyond its output's range")
        bias = self.beta.astype(np.float64) / y.scale * 2.0**BIAS_BITS
        lo, hi = site.one_clip()
        squares = self.epsilon * count**2 / x.qtype.scale**2
        return (
            QStandardize(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                axis=self.axis,
                groups=self.groups,
                centered=self.centered,
                input_zero_point=x.qtype.zero_point,
                epsilon=int(min(max(squares + 0.5, 1.0), 2.0**61)),
                multiplier=_int32(factors * 2.0**-pre_shift),
                pre_shift=pre_shift,
                bias=_int32(bias),
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


def _int32(values: Array) -> Array:
    """The nearest int32 of each; a bias beyond them is beyond every output too."""
    return np.clip(np.floor(values + 0.5), -INT32_MAX, INT32_MAX).astype(np.int32)


def as_blocks(x: Array, axis: int, groups: int) -> Array:
    """x [N, ...] as [N, blocks in front, rows, groups, channels of a group]."""
    shape = x.shape
    outer, rows = math.prod(shape[1:axis]), math.prod(shape[axis:-1])
    return x.reshape(shape[0], outer, rows, groups, shape[-1] // groups)


def block_size(shape: Shape, axis: int, groups: int) -> int:
    """Elements of a block."""
    return math.prod(shape[axis:]) // groups


def largest_normal(count: int) -> int:
    """Bound of a normalized value with NORMAL_BITS: no one of `count` is further off than sqrt(count)."""
    return int((1 << NORMAL_BITS) * math.sqrt(count) * (1.0 + 2.0**-13)) + 2


@dataclass(frozen=True, slots=True, eq=False)
class QStandardize(OneClamp, QOp):
    """With d = count * (x - input_zero_point) - sum (the sum only where `centered`), a block at a time:

        W = count * (sum of squares) - sum**2 + epsilon, shifted left by 2 h to 63 or 64 bits;
        root = floor(sqrt(W >> 32));  inverse = (2**31 + root // 2) // root
        u = (d * inverse + 2**(31 - h)) >> (32 - h)
        clamp(zero_point + (((u << pre_shift) * multiplier + bias * 2**18 + 2**31) >> 32), lo, hi)

    Squares and the last product have 64 bits. multiplier, bias int32 [1] or [C]; the bias has 14 bits.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    groups: int
    centered: bool
    input_zero_point: int
    epsilon: int
    multiplier: Array
    pre_shift: int
    bias: Array
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        d = as_blocks(x.astype(np.int64) - self.input_zero_point, self.axis, self.groups)
        count = d.shape[2] * d.shape[4]
        squares = count * np.square(d).sum(axis=(2, 4), keepdims=True)
        d = count * d
        if self.centered:
            total = d.sum(axis=(2, 4), keepdims=True) // count
            squares -= total**2
            d = d - total
        inverse, half = inverse_root(squares + self.epsilon)
        u = ((d * inverse + (np.int64(1) << (31 - half))) >> (32 - half)).reshape(x.shape)
        product = (u << self.pre_shift) * self.multiplier.astype(np.int64)
        product += (self.bias.astype(np.int64) << (32 - BIAS_BITS)) + (1 << 31)
        return np.clip(self.zero_point + (product >> 32), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        channels = x.shape[-1]
        if x.shape != output.shape:
            raise ProgramError(f"{self.name}: {x.shape} -> {output.shape} is not a normalization")
        if not 1 <= self.axis < len(x.shape) or self.groups < 1 or channels % self.groups:
            raise ProgramError(f"{self.name}: {x.shape} has no {self.groups} groups from axis {self.axis} on")
        check_zero_point(self.name, self.input_zero_point, x.qtype)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        check_within(self.name, "the epsilon", self.epsilon, 1, 1 << 61)
        check_within(self.name, "the pre-shift", self.pre_shift, 0, 30)
        for what, values in (("multipliers", self.multiplier), ("biases", self.bias)):
            if values.shape != (1,):
                check_shape(self.name, f"the table of {what}", values, (channels,))
            if values.dtype != np.int32:
                raise ProgramError(f"{self.name}: {what} lie in {values.dtype}, not int32")
            check_within(self.name, f"one of the {what}", values, -INT32_MAX, INT32_MAX)
        count = block_size(x.shape, self.axis, self.groups)
        largest = largest_distance(x.qtype, self.input_zero_point)
        check_reach(self.name, "a difference from the mean", 2 * count * largest)
        # So count * squares is below 2**60, and with an epsilon within 63 bits.
        check_reach(self.name, "a normalized value", largest_normal(count) << self.pre_shift)

    @property
    def weight_bytes(self) -> int:
        return self.multiplier.nbytes + self.bias.nbytes


def inverse_root(squares: Array) -> tuple[Array, Array]:
    """(inverse, h) of positive int64 W, as QStandardize has it: 2**(47 - h) / sqrt(W), 16 or 17 bits."""
    wide = squares.astype(np.uint64)
    half = np.zeros(squares.shape, np.int64)
    for bits in (16, 8, 4, 2, 1):
        small = wide < (np.uint64(1) << np.uint64(64 - 2 * bits))
        wide = np.where(small, wide << np.uint64(2 * bits), wide)
        half += np.where(small, bits, 0)
    root = np.floor(np.sqrt((wide >> np.uint64(32)).astype(np.float64))).astype(np.int64)
    return ((1 << 31) + root // 2) // root, half
