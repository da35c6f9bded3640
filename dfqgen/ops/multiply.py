"""The product of two tensors; one may be broadcast, as squeeze-and-excitation does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_clamp, check_factor, check_reach, check_within, check_zero_point
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.add import check_broadcast
from dfqgen.ops.families import Broadcasting, OneClamp, RowForRow
from dfqgen.statistics.channel import ChannelStatistics

# 255 * 255 * 32767 and a rounding half of 2**23 fit 31 bits.
FACTOR_BITS = 15
MAX_SHIFT = 24


@dataclass(frozen=True, slots=True, eq=False)
class Mul(Broadcasting):
    """a * b; one may be broadcast to the other as numpy does."""

    fuses_clip: ClassVar[bool] = True

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0] * inputs[1]

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        """The factor of one side, where the other has none."""
        a, b = channels
        if a.shape != b.shape or (a.any() and b.any()):
            return None
        return (a,) if a.any() else (b,)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        a, b = inputs
        (mean_a, variance_a), (mean_b, variance_b) = a.moments(), b.moments()
        mean = mean_a * mean_b
        variance = (variance_a + mean_a**2) * (variance_b + mean_b**2) - mean**2
        with np.errstate(invalid="ignore"):  # 0 * inf is 0: a factor of exactly 0 wins
            corners = [np.nan_to_num(x * y, nan=0.0, posinf=np.inf, neginf=-np.inf)
                       for x in (a.lo, a.hi) for y in (b.lo, b.hi)]  # fmt: skip
        return ChannelStatistics.normal(
            mean, np.sqrt(np.maximum(variance, 0.0)), np.min(corners, axis=0), np.max(corners, axis=0)
        )

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output.qtype
        lo, hi = site.one_clip()
        factor = a.qtype.scale * b.qtype.scale / y.scale
        zero_points = (a.qtype.zero_point, b.qtype.zero_point)
        if any(tensor.qtype.dtype is not IntType.INT8 for tensor in (a, b, site.output)):
            form = Requantize.from_scale(np.array([factor]), y.zero_point, lo, hi)
            return (
                QWideMul(
                    name=site.name,
                    inputs=site.input_names,
                    output=site.output.name,
                    zero_points=zero_points,
                    multiplier=int(form.multiplier[0]),
                    pre_shift=form.pre_shift,
                    zero_point=y.zero_point,
                    lo=lo,
                    hi=hi,
                ),
            )
        shift = min(MAX_SHIFT, FACTOR_BITS - math.frexp(factor)[1])
        if math.floor(factor * 2.0**shift + 0.5) >= 1 << FACTOR_BITS:
            shift -= 1
        if shift < 1:
            raise ProgramError(f"{site.name}: the inputs' scales are over 2**14 times the output's")
        return (
            QMul(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                zero_points=zero_points,
                multiplier=math.floor(factor * 2.0**shift + 0.5),
                shift=shift,
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


class TwoOperands(OneClamp):
    """Mixed into an integer operator of two operands, each less its zero point; axes of 1 repeat."""

    __slots__ = ()
    arity: ClassVar[int | None] = 2

    name: str
    zero_points: tuple[int, int]
    zero_point: int

    def differences(self, inputs: Sequence[Array]) -> tuple[Array, Array]:
        """Both operands less their zero points, int64."""
        a, b = (x.astype(np.int64) - z for x, z in zip(inputs, self.zero_points, strict=True))
        return a, b


def check_operands(op: TwoOperands, inputs: tuple[QTensor, ...], output: QTensor) -> tuple[int, int]:
    """Shapes, zero points and clamp; the largest difference of each operand. Raises ProgramError."""
    a, b = inputs
    check_broadcast(op.name, a, b, output)
    check_zero_point(op.name, op.zero_point, output.qtype)
    check_clamp(op.name, op.lo, op.hi, output)
    for x, zero_point in zip(inputs, op.zero_points, strict=True):
        check_zero_point(op.name, zero_point, x.qtype)
    return largest_distance(a.qtype, op.zero_points[0]), largest_distance(b.qtype, op.zero_points[1])


@dataclass(frozen=True, slots=True, eq=False)
class QMul(RowForRow, TwoOperands, QOp):
    """clamp(zero_point + (((a - za) * (b - zb) * multiplier + half) >> shift), lo, hi).

    half is 2**(shift - 1). With a 15-bit multiplier all of it fits 32 bits. Axes of 1 repeat.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_points: tuple[int, int]
    multiplier: int
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        a, b = self.differences(inputs)
        product = a * b * self.multiplier + (1 << (self.shift - 1))
        return np.clip(self.zero_point + (product >> self.shift), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        largest = check_operands(self, inputs, output)
        check_within(self.name, "the multiplier", self.multiplier, 0, (1 << FACTOR_BITS) - 1)
        check_within(self.name, "the shift", self.shift, 1, MAX_SHIFT)
        worst = largest[0] * largest[1] * self.multiplier + (1 << (self.shift - 1))
        check_reach(self.name, "the product", worst)


@dataclass(frozen=True, slots=True, eq=False)
class QWideMul(RowForRow, TwoOperands, QOp):
    """clamp(zero_point + ((((a - za) * (b - zb) << pre_shift) * multiplier + 2**31) >> 32), lo, hi).

    Any types: the product of two int16 fills 31 bits, so its factor takes a 64-bit product, as in a
    requantization. Axes of 1 repeat.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_points: tuple[int, int]
    multiplier: int
    pre_shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        a, b = self.differences(inputs)
        scaled = (a * b << self.pre_shift) * self.multiplier + (1 << 31)
        return np.clip(self.zero_point + (scaled >> 32), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        largest = check_operands(self, inputs, output)
        check_factor(self.name, np.array(self.multiplier), self.pre_shift)
        check_reach(self.name, "the product", largest[0] * largest[1] << self.pre_shift)


def largest_distance(qtype: QType, zero_point: int) -> int:
    """max |q - zero_point| over the type's integers."""
    return max(qtype.dtype.maximum - zero_point, zero_point - qtype.dtype.minimum)
