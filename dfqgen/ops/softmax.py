"""Softmax over one axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_shape, check_within
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import AlongAxis
from dfqgen.statistics.channel import ChannelStatistics

# Probabilities use all of int8: 0 is -128, 255/256 is 127.
PROBABILITY = QType(IntType.INT8, 1.0 / 256.0, -128)


@dataclass(frozen=True, slots=True, eq=False)
class Softmax(AlongAxis):
    """exp(x) / sum(exp(x)) over `axis` (counted from the front)."""

    axis: int

    reads_scores: ClassVar[bool] = True

    def output_type(self) -> QType:
        return PROBABILITY

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
        x = site.inputs[0]
        _, table = exponentials(x.qtype.scale, x.shape[self.axis])
        return (QSoftmax(site.name, site.input_names, site.output.name, self.axis, table),)


def exponentials(scale: float, size: int) -> tuple[int, Array]:
    """(bits, exp(-scale * i) * 2**bits for i in 0 .. 255 as int32), of which `size` can be summed."""
    # 8 more bits are needed for the numerator, and the sum must stay in 31 bits.
    bits = min(22, 30 - math.ceil(math.log2(max(size, 2))))
    return bits, np.floor(np.exp(-scale * np.arange(256.0)) * 2.0**bits + 0.5).astype(np.int32)


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
