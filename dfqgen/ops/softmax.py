"""Softmax over one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor
from dfqgen.fixedpoint.proof import check_shape, check_within, check_zero_point
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.fixedpoint.rows import RowWindow, same_rows
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import AlongAxis
from dfqgen.statistics.channel import ChannelStatistics

# Probabilities use all of int8: 0 is -128, 255/256 is 127.
PROBABILITY = QType(IntType.INT8, 1.0 / 256.0, -128)
PROBABILITY_16 = QType(IntType.INT16, 1.0 / 32768.0, 0)
EXPONENTIAL_BITS = 24
"""Of the exponential of 0 where tables of two halves of a distance are multiplied."""
FINE_BITS = 30
"""Of the table of the lower halves' first entry; the upper halves' has what is left to the product's 32."""
LEVEL_BITS = 15
"""Behind the binary point of how many steps a probability of 1 is."""


def probability(dtype: IntType) -> QType:
    """[0, 1) in these bits."""
    return PROBABILITY_16 if dtype is IntType.INT16 else PROBABILITY


@dataclass(frozen=True, slots=True, eq=False)
class Softmax(AlongAxis):
    """exp(x) / sum(exp(x)) over `axis` (counted from the front)."""

    axis: int

    reads_scores: ClassVar[bool] = True
    converts: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def output_type(self, dtype: IntType = IntType.INT8) -> QType:
        return probability(dtype)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return e / e.sum(axis=self.axis, keepdims=True)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """A probability: mean 1/n, spread at most that of a fair indicator."""
        n = shapes[0][self.axis]
        mean = np.full(inputs[0].channels, 1.0 / n)
        return ChannelStatistics.normal(mean, np.sqrt(mean * (1.0 - mean)), 0.0, 1.0)

    def reshaped(self, before: Shape, after: Shape) -> Softmax | None:
        """Along the last axis, where that stays."""
        same = self.axis == len(after) - 1 and before[-1] == after[-1]
        return Softmax(len(before) - 1) if same else None

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        if x.qtype.dtype is IntType.INT8 and y.qtype == PROBABILITY:
            _, table = exponentials(x.qtype.scale, x.shape[self.axis])
            return (QSoftmax(site.name, site.input_names, site.output.name, self.axis, table),)
        _, coarse, fine = wide_exponentials(x.qtype, x.shape[self.axis])
        return (
            QWideSoftmax(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                axis=self.axis,
                coarse=coarse,
                fine=fine,
                levels=math.floor(2.0**LEVEL_BITS / y.qtype.scale + 0.5),
                zero_point=y.qtype.zero_point,
                hi=y.qtype.dtype.maximum,
            ),
        )


def exponentials(scale: float, size: int) -> tuple[int, Array]:
    """(bits, exp(-scale * i) * 2**bits for i in 0 .. 255 as int32), of which `size` can be summed."""
    # 8 more bits are needed for the numerator, and the sum must stay in 31 bits.
    bits = min(22, 30 - math.ceil(math.log2(max(size, 2))))
    return bits, np.floor(np.exp(-scale * np.arange(256.0)) * 2.0**bits + 0.5).astype(np.int32)


def wide_exponentials(x: QType, size: int) -> tuple[int, Array, Array]:
    """(bits, coarse, fine): coarse[d >> 8] * fine[d & 255] >> 32 is exp(-scale * d) * 2**bits.

    int32, of which `size` products can be summed; fine [256], coarse [256] or [1] for distances of int8.
    """
    bits = min(EXPONENTIAL_BITS, 31 - math.ceil(math.log2(max(size, 2))))
    steps = np.arange(1.0 if x.dtype is IntType.INT8 else 256.0)
    coarse, fine = np.exp(-x.scale * 256.0 * steps), np.exp(-x.scale * np.arange(256.0))
    return (
        bits,
        np.floor(coarse * 2.0 ** (bits + 32 - FINE_BITS) + 0.5).astype(np.int32),
        np.floor(fine * 2.0**FINE_BITS + 0.5).astype(np.int32),
    )


def fallen(coarse: Array, fine: Array, below: Array) -> Array:
    """The exponentials of distances `below` a maximum, int64."""
    return (coarse.astype(np.int64)[below >> 8] * fine.astype(np.int64)[below & 255]) >> 32


def check_axis(name: str, axis: int, x: QTensor) -> None:
    """Raise ProgramError unless x has this axis, and it is not the batch."""
    if not 1 <= axis < len(x.shape):
        raise ProgramError(f"{name}: {x.shape} has no axis {axis} to work along")


def check_exponentials(name: str, table: Array, size: int) -> None:
    """Raise ProgramError unless the table falls from its first entry and `size` of it stay in an uint32.

    The largest element of a lane takes the first entry, so that no sum is 0.
    """
    check_shape(name, "the table of exponentials", table, (256,))
    check_within(name, "an exponential", table, 0, int(table[0]))
    if int(table[0]) < 1:
        raise ProgramError(f"{name}: the exponential of 0 is 0: a sum could be 0")
    if int(table[0]) * size >= 1 << 32:
        raise ProgramError(f"{name}: the sum of {size} exponentials overflows")


def check_wide_exponentials(name: str, coarse: Array, fine: Array, x: QTensor, size: int) -> int:
    """The largest exponential of a pair of tables for x, or ProgramError.

    Both fall from their first entries, sums of `size` products stay in an uint32, and none is 0.
    """
    coarse_size = 1 if x.qtype.dtype is IntType.INT8 else 256
    for table, entries in ((coarse, coarse_size), (fine, 256)):
        check_shape(name, "a table of exponentials", table, (entries,))
        check_within(name, "an exponential", table, 0, int(table[0]))
    largest = int(coarse[0]) * int(fine[0]) >> 32
    if largest < 1:
        raise ProgramError(f"{name}: the exponential of 0 is 0: a sum could be 0")
    if largest * size >= 1 << 32:
        raise ProgramError(f"{name}: the sum of {size} exponentials overflows")
    return largest


@dataclass(frozen=True, slots=True, eq=False)
class QSoftmax(QOp):
    """min(255, (256 e + sum // 2) // sum) - 128, e = table[max - x]; table int32 [256] falls from 2**bits."""

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    table: Array

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        e = self.table.astype(np.int64)[x.max(axis=self.axis, keepdims=True) - x]
        total = e.sum(axis=self.axis, keepdims=True)
        return np.minimum(255, (256 * e + total // 2) // total) - 128

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        return same_rows(output.shape, *(x.shape for x in inputs), inside=self.axis)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape or output.qtype != PROBABILITY or x.qtype.dtype is not IntType.INT8:
            raise ProgramError(f"{self.name}: {x} -> {output} is not an int8 softmax")
        check_axis(self.name, self.axis, x)
        check_exponentials(self.name, self.table, x.shape[self.axis])
        largest = int(self.table[0])
        worst = 256 * largest + (largest * x.shape[self.axis]) // 2
        if worst >= 1 << 32:
            raise ProgramError(f"{self.name}: a numerator can reach {worst}, beyond 32 bits")

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class QWideSoftmax(QOp):
    """min(zero_point + (e * share + 2**31 >> 32), hi), of int8 or int16 to int8 or int16.

    With d = max - x: e = coarse[d >> 8] * fine[d & 255] >> 32, tables as from `wide_exponentials`.
    share = ((levels << 17) + sum // 2) // sum, sum that of e; `levels` is how many steps of the output a
    probability of 1 is, with 15 bits behind the binary point.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    coarse: Array
    fine: Array
    levels: int
    zero_point: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        e = fallen(self.coarse, self.fine, x.max(axis=self.axis, keepdims=True) - x)
        total = e.sum(axis=self.axis, keepdims=True)
        share = self._share(total)
        return np.minimum(self.zero_point + ((e * share + (1 << 31)) >> 32), self.hi)

    def _share(self, total: Array) -> Array:
        """What an exponential is multiplied by in a lane of this sum."""
        return ((self.levels << (32 - LEVEL_BITS)) + total // 2) // total

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape:
            raise ProgramError(f"{self.name}: {x} -> {output} is not of one shape")
        check_within(self.name, "the number of levels", self.levels, 1, INT32_MAX)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_within(self.name, "the largest output", self.hi, self.zero_point, output.qtype.dtype.maximum)
        check_axis(self.name, self.axis, x)
        largest = check_wide_exponentials(self.name, self.coarse, self.fine, x, x.shape[self.axis])
        # The smallest sum is the largest exponential alone.
        share = int(self._share(np.array(largest)))
        if share >= 1 << 32:
            raise ProgramError(f"{self.name}: a share can reach {share}, beyond 32 bits")

    @property
    def weight_bytes(self) -> int:
        return self.coarse.nbytes + self.fine.nbytes
