"""The product of two matrices that both depend on the network's input: attention's scores and sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor, Work
from dfqgen.fixedpoint.proof import (
    check_clamp,
    check_factor,
    check_reach,
    check_within,
    check_zero_point,
)
from dfqgen.fixedpoint.qtype import IntType, Requantize
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import OneClamp
from dfqgen.ops.multiply import largest_distance
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_OPERAND_SHIFT = 15


@dataclass(frozen=True, slots=True, eq=False)
class MatMul(Op):
    """`factor` times a [..., M, K] times b [..., K, P], or b [..., P, K] with `transpose_b`.

    Axes in front are alike.
    """

    transpose_b: bool = False
    factor: float = 1.0

    fuses_clip: ClassVar[bool] = True
    measured: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        return product_shape(shapes[0], shapes[1], transpose_b=self.transpose_b)

    def evaluate(self, *inputs: Array) -> Array:
        a, b = inputs
        product = np.matmul(a, np.swapaxes(b, -1, -2) if self.transpose_b else b)
        return product * a.dtype.type(self.factor)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """As if rows and columns had their tensor's typical value everywhere."""
        depth, columns = shapes[0][-1], self.infer_shape(*shapes)[-1]
        (mean_a, square_a, reach_a), (mean_b, square_b, reach_b) = map(_typical, inputs)
        size = abs(self.factor)
        mean, bound = self.factor * depth * mean_a * mean_b, size * depth * reach_a * reach_b
        variance = size**2 * depth * (square_a * square_b - (mean_a * mean_b) ** 2)
        return ChannelStatistics.normal(
            np.full(columns, mean), float(np.sqrt(max(variance, 0.0))), -bound, bound
        )

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> Op | None:
        """Axes in front may change places."""
        rank = len(permutation)
        return self if permutation[-2:] == (rank - 2, rank - 1) else None

    def reshaped(self, before: Shape, after: Shape) -> None:
        """Rows and columns mean something."""

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output.qtype
        depth = a.shape[-1]
        shifts = operand_shifts(a, b, depth)
        scale = self.factor * a.qtype.scale * b.qtype.scale * 2.0 ** sum(shifts) / y.scale
        form = Requantize.from_scale(np.array([scale]), y.zero_point, 0, 0)
        lo, hi = site.one_clip()
        return (
            QMatMul(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                transpose_b=self.transpose_b,
                zero_points=(a.qtype.zero_point, b.qtype.zero_point),
                shifts=shifts,
                multiplier=int(form.multiplier[0]),
                pre_shift=form.pre_shift,
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


def _typical(statistics: ChannelStatistics) -> tuple[float, float, float]:
    """Mean, mean square and bound over all channels."""
    mean, variance = statistics.moments()
    reach = max(float(np.abs(statistics.lo).max()), float(np.abs(statistics.hi).max()))
    return float(mean.mean()), float((variance + mean**2).mean()), reach


def product_shape(a: Shape, b: Shape, *, transpose_b: bool) -> Shape:
    """The shape of a product; ValueError where the operands do not fit."""
    if transpose_b:
        b = (*b[:-2], b[-1], b[-2])
    if len(a) < 3 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
        raise ValueError(f"{a} and {b} are no factors of a product of matrices")
    return (*a[:-1], b[-1])


def reduced(largest: int, shift: int) -> int:
    """The largest magnitude of an operand shifted right, rounded."""
    return (largest + (1 << shift >> 1)) >> shift


def operand_shifts(a: QTensor, b: QTensor, depth: int) -> tuple[int, int]:
    """How many bits each operand gives up so that no sum of `depth` products leaves 32 bits."""
    largest = [largest_distance(x.qtype, x.qtype.zero_point) for x in (a, b)]
    shifts = [0, 0]
    while depth * reduced(largest[0], shifts[0]) * reduced(largest[1], shifts[1]) > INT32_MAX:
        wider = 0 if reduced(largest[0], shifts[0]) >= reduced(largest[1], shifts[1]) else 1
        shifts[wider] += 1
    return shifts[0], shifts[1]


@dataclass(frozen=True, slots=True, eq=False)
class QMatMul(OneClamp, QOp):
    """clamp(zero_point + (((acc << pre_shift) * multiplier + 2**31) >> 32), lo, hi), where acc is the sum of
    ((a - za + half) >> shift) * ((b - zb + half) >> shift), each operand with its shift and half of it.

    `transpose_b`: the columns of the product lie in b's last but one axis.
    """

    arity: ClassVar[int | None] = 2

    name: str
    inputs: tuple[str, ...]
    output: str
    transpose_b: bool
    zero_points: tuple[int, int]
    shifts: tuple[int, int]
    multiplier: int
    pre_shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        a, b = (
            ((x.astype(np.int64) - zero + (1 << shift >> 1)) >> shift).astype(np.float64)
            for x, zero, shift in zip(inputs, self.zero_points, self.shifts, strict=True)
        )
        # Exact: sums stay below 2**31.
        acc = np.matmul(a, np.swapaxes(b, -1, -2) if self.transpose_b else b).astype(np.int64)
        scaled = ((acc << self.pre_shift) * self.multiplier + (1 << 31)) >> 32
        return np.clip(self.zero_point + scaled, self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        a, b = inputs
        try:
            shape = product_shape(a.shape, b.shape, transpose_b=self.transpose_b)
        except ValueError as error:
            raise ProgramError(f"{self.name}: {error}") from None
        if shape != output.shape:
            raise ProgramError(f"{self.name}: {a.shape} times {b.shape} is not {output.shape}")
        check_factor(self.name, np.asarray(self.multiplier), self.pre_shift)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        check_within(self.name, "an operand's shift", np.array(self.shifts), 0, LARGEST_OPERAND_SHIFT)
        worst = a.shape[-1]
        for x, zero_point, shift in zip(inputs, self.zero_points, self.shifts, strict=True):
            check_zero_point(self.name, zero_point, x.qtype)
            worst *= reduced(largest_distance(x.qtype, zero_point), shift)
        check_reach(self.name, "the accumulator", worst << self.pre_shift)

    def macs(self, output: QTensor) -> int:
        return 0

    def work(self, inputs: tuple[QTensor, ...] | list[QTensor], output: QTensor) -> Work:  # type: ignore[override]
        products = float(output.elements * inputs[0].shape[-1])
        return QOp.work(self, inputs, output) | {"mac": products}
