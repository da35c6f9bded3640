"""Division of each vector along an axis by its length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_within, check_zero_point
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import AlongAxis
from dfqgen.ops.lookup import SYMMETRIC, symmetric
from dfqgen.ops.multiply import largest_distance
from dfqgen.ops.softmax import check_axis
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_SUM = {1: 1 << 21, 2: 1 << 30}
"""Of |d|, or of d * d: what the arithmetic below holds in 32 bits."""
SUM_BITS = 30
WIDE_SUM_BITS = 52
"""Of sums of d * d that are shifted: their square root is exact in double precision."""
LARGEST_WIDE_SUM = 1 << 46
"""Of |d|, or of d * d, where inputs or outputs are int16."""


@dataclass(frozen=True, slots=True, eq=False)
class LpNormalize(AlongAxis):
    """x / (sum |x|**p)**(1/p) along `axis`, p 1 or 2; 0 where that is 0."""

    axis: int
    p: int = 2

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def output_type(self, dtype: IntType = IntType.INT8) -> QType:
        return symmetric(dtype)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        length = np.linalg.norm(x, ord=self.p, axis=self.axis, keepdims=True)
        return np.divide(x, length, out=np.zeros_like(x), where=length > 0)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """As if the length were its typical value."""
        mean, variance = inputs[0].moments()
        size = shapes[0][self.axis]
        square = float(np.mean(variance + mean**2))
        length = np.sqrt(size * square) if self.p == 2 else size * np.sqrt(square)
        return inputs[0].scale_shift(1.0 / max(length, 1e-30)).clip(-1.0, 1.0)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0].qtype, site.output.qtype
        zero_point = x.zero_point
        if not x.dtype is y.dtype is IntType.INT8:
            one = round(1.0 / y.scale)
            return (
                QWideLpNormalize(
                    site.name, site.input_names, site.output.name, self.axis, self.p, zero_point, one
                ),
            )
        return (QLpNormalize(site.name, site.input_names, site.output.name, self.axis, self.p, zero_point),)


def lengths(d: Array, axis: int, p: int, sum_bits: int) -> tuple[Array, Array, Array]:
    """Of d int64 along `axis`: the sum of |d|**p, the length (at least 1), and by how many bits it is shifted
    left: of p = 2 so that the sum of squares has `sum_bits` or one less, of p = 1 by none.
    """
    total = (np.abs(d) if p == 1 else d * d).sum(axis=axis, keepdims=True)
    alive = np.maximum(total, 1)
    if p == 1:
        return total, alive, np.zeros_like(alive)
    shift = (sum_bits - np.frexp(alive.astype(np.float64))[1].astype(np.int64)) // 2
    return total, np.floor(np.sqrt((alive << (2 * shift)).astype(np.float64))).astype(np.int64), shift


@dataclass(frozen=True, slots=True, eq=False)
class QLpNormalize(QOp):
    """clamp(floor((2 d f + length) / (2 length))), d = x - input_zero_point: 128 d / |d| rounded half up.

    p = 1: length = sum |d|, f = 128. p = 2: S = sum d * d is shifted left by 2 e to 29 or 30 bits,
    length = floor(sqrt(S << 2 e)), f = 128 << e. A vector of zeros stays.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    p: int
    input_zero_point: int

    def evaluate(self, *inputs: Array) -> Array:
        d = inputs[0].astype(np.int64) - self.input_zero_point
        total, length, shift = lengths(d, self.axis, self.p, SUM_BITS)
        factor = np.int64(128) << shift
        q = (2 * d * factor + length) // (2 * length)
        return np.clip(np.where(total > 0, q, 0), -128, 127)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape or output.qtype != SYMMETRIC or x.qtype.dtype is not IntType.INT8:
            raise ProgramError(f"{self.name}: {x} -> {output} is not a normalization")
        check_axis(self.name, self.axis, x)
        check_zero_point(self.name, self.input_zero_point, x.qtype)
        if self.p not in LARGEST_SUM:
            raise ProgramError(f"{self.name}: p = {self.p} is neither 1 nor 2")
        largest = largest_distance(x.qtype, self.input_zero_point)
        worst = x.shape[self.axis] * largest**self.p
        if worst >= LARGEST_SUM[self.p]:
            raise ProgramError(f"{self.name}: the length of {x.shape[self.axis]} elements can overflow")


@dataclass(frozen=True, slots=True, eq=False)
class QWideLpNormalize(QOp):
    """clamp(sign(d) * ((2 |d| f + length) // (2 length))), d = x - input_zero_point, in 64 bits.

    p = 1: length = sum |d|, f = one. p = 2: S = sum d * d is shifted left by 2 e to 51 or 52 bits,
    length = floor(sqrt(S << 2 e)), f = one << e. A vector of zeros stays. `one` is 128 for an int8 output,
    32768 for int16; inputs are int8 or int16.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    p: int
    input_zero_point: int
    one: int

    def evaluate(self, *inputs: Array) -> Array:
        d = inputs[0].astype(np.int64) - self.input_zero_point
        total, length, shift = lengths(d, self.axis, self.p, WIDE_SUM_BITS)
        factor = np.int64(self.one) << shift
        q = np.sign(d) * ((2 * np.abs(d) * factor + length) // (2 * length))
        return np.clip(np.where(total > 0, q, 0), -self.one, self.one - 1)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape or output.qtype != symmetric(output.qtype.dtype):
            raise ProgramError(f"{self.name}: {x} -> {output} is not a normalization")
        check_within(self.name, "one", self.one, *[output.qtype.dtype.maximum + 1] * 2)
        check_axis(self.name, self.axis, x)
        check_zero_point(self.name, self.input_zero_point, x.qtype)
        if self.p not in LARGEST_SUM:
            raise ProgramError(f"{self.name}: p = {self.p} is neither 1 nor 2")
        largest = largest_distance(x.qtype, self.input_zero_point)
        if x.shape[self.axis] * largest**self.p >= LARGEST_WIDE_SUM:
            raise ProgramError(f"{self.name}: the length of {x.shape[self.axis]} elements can overflow")
