"""Where the largest element along an axis is: class maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.fixedpoint.rows import RowWindow, same_rows
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import AlongAxis
from dfqgen.ops.softmax import check_axis
from dfqgen.statistics.channel import ChannelStatistics

FIRST = -128
"""The integer of position 0."""
CLASS = QType(IntType.INT8, 1.0, FIRST)
"""Positions 0 .. 255: class = q + 128."""


@dataclass(frozen=True, slots=True, eq=False)
class ArgMax(AlongAxis):
    """Position of the largest (sign +1) or smallest (-1) element along `axis`, which becomes 1.

    Of equal ones the first, or the last with `last`. At most 256 positions.
    """

    axis: int
    sign: int = 1
    last: bool = False

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def output_type(self, dtype: IntType = IntType.INT8) -> QType:
        return replace(CLASS, dtype=dtype)

    def infer_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if not 1 <= self.axis < len(shape) or shape[self.axis] > 256:
            raise ValueError(f"a position along axis {self.axis} of {shape} does not fit 8 bits")
        return (*shape[: self.axis], 1, *shape[self.axis + 1 :])

    def evaluate(self, *inputs: Array) -> Array:
        return winner(self.sign * inputs[0], self.axis, self.last).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Any position, all alike."""
        size = shapes[0][self.axis]
        channels = self.infer_shape(*shapes)[-1]
        mean = np.full(channels, (size - 1) / 2)
        return ChannelStatistics.normal(mean, np.full(channels, size / np.sqrt(12.0)), 0.0, size - 1.0)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        minimum = self.sign < 0
        return (QArgMax(site.name, site.input_names, site.output.name, self.axis, minimum, self.last),)


def winner(x: Array, axis: int, last: bool) -> Array:
    """Position of the largest element along an axis that stays."""
    if last:
        return x.shape[axis] - 1 - np.flip(x, axis).argmax(axis=axis, keepdims=True)
    return x.argmax(axis=axis, keepdims=True)


@dataclass(frozen=True, slots=True, eq=False)
class QArgMax(QOp):
    """(position of the largest element along `axis`) - 128; `minimum`: the smallest; `last`: of equals.

    Any types of input and output.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    minimum: bool
    last: bool

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        return winner(-x if self.minimum else x, self.axis, self.last) + FIRST

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        return same_rows(output.shape, *(x.shape for x in inputs), inside=self.axis)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        check_axis(self.name, self.axis, x)
        expected = (*x.shape[: self.axis], 1, *x.shape[self.axis + 1 :])
        dtype = output.qtype.dtype
        fits = x.shape[self.axis] <= dtype.maximum - FIRST + 1
        if output.shape != expected or output.qtype != replace(CLASS, dtype=dtype) or not fits:
            raise ProgramError(f"{self.name}: {x} -> {output} is not a class map")
