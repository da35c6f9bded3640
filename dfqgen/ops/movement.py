"""Operators that only move elements: the integers of the output are integers of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_within
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.rows import RowWindow, common_axis
from dfqgen.graph.ir import Array, Border, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.statistics.channel import ChannelStatistics, move


def _require_same_type(op: QOp, x: QTensor, output: QTensor, shape: Shape) -> None:
    if output.shape != shape or x.qtype != output.qtype:
        raise ProgramError(f"{op.name}: {x} -> {output} is not a move to {shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Op):
    """The same elements in the same order under another shape (of one sample; shape[0] is 1)."""

    shape: Shape

    keeps_type: ClassVar[bool] = True

    def is_identity(self, shape: Shape) -> bool:
        return self.shape == shape

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """By a rule of its own, where the reshape splits or joins whole axes (`passes/layout.py`)."""

    def reshaped(self, before: Shape, after: Shape) -> None:
        """Reshapes merge."""

    def scaled(self, factor: Array, before: Shape) -> Reshape | None:
        return self if before[-1] == self.shape[-1] else None

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        times, rest = divmod(self.shape[-1], shapes[0][-1])
        return None if rest else (np.tile(channels[0], times),)

    def selected(self, channels: Array) -> Reshape:
        return Reshape((*self.shape[:-1], len(channels)))

    def infer_shape(self, *shapes: Shape) -> Shape:
        if np.prod(shapes[0]) != np.prod(self.shape):
            raise ValueError(f"{shapes[0]} has not the elements of {self.shape}")
        return self.shape

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0].reshape(inputs[0].shape[0], *self.shape[1:])

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return move(inputs[0], shapes[0], self.evaluate)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (QReshape(site.name, site.input_names, site.output.name, self.shape),)


@dataclass(frozen=True, slots=True, eq=False)
class QReshape(QOp):
    """Another name for the same bytes; costs nothing in C."""

    takes: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16, IntType.INT32)
    gives: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16, IntType.INT32)

    name: str
    inputs: tuple[str, ...]
    output: str
    shape: Shape

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0].reshape(inputs[0].shape[0], *self.shape[1:])

    def view_bytes(self, inputs: Sequence[QTensor], output: QTensor) -> tuple[int, ...]:
        return (0,)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        if inputs[0].elements != output.elements:
            raise ProgramError(f"{self.name}: {inputs[0].shape} cannot be {output.shape}")
        _require_same_type(self, inputs[0], output, self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Transpose(Op):
    """Axes in another order; axis 0 (the batch) stays."""

    permutation: tuple[int, ...]

    keeps_type: ClassVar[bool] = True

    def is_identity(self, shape: Shape) -> bool:
        return self.permutation == tuple(range(len(shape)))

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Transposes merge."""

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general; `passes/layout.py` moves transposes behind reshapes instead."""

    def infer_shape(self, *shapes: Shape) -> Shape:
        if sorted(self.permutation) != list(range(len(shapes[0]))):
            raise ValueError(f"{self.permutation} does not order {len(shapes[0])} axes")
        return tuple(shapes[0][axis] for axis in self.permutation)

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0].transpose(self.permutation)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return move(inputs[0], shapes[0], self.evaluate)

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        last = len(self.permutation) - 1
        return channels if self.permutation[last] == last else None

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (QTranspose(site.name, site.input_names, site.output.name, self.permutation),)


@dataclass(frozen=True, slots=True, eq=False)
class QTranspose(QOp):
    """Axes in another order."""

    name: str
    inputs: tuple[str, ...]
    output: str
    permutation: tuple[int, ...]

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0].transpose(self.permutation)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        axes = tuple(range(len(inputs[0].shape)))
        if tuple(sorted(self.permutation)) != axes or self.permutation[:1] != axes[:1]:
            raise ProgramError(f"{self.name}: {self.permutation} does not order the axes after the batch")
        shape = tuple(inputs[0].shape[axis] for axis in self.permutation)
        _require_same_type(self, inputs[0], output, shape)


@dataclass(frozen=True, slots=True, eq=False)
class Pad(Op):
    """A constant border: `before`, `after` elements on each axis (none on axis 0)."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    keeps_type: ClassVar[bool] = True

    @property
    def border(self) -> Border:
        return Border(self.before, self.after, self.value)

    def is_identity(self, shape: Shape) -> bool:
        return not any(self.before + self.after)

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> Pad:
        inverse = np.argsort(permutation)
        return Pad(tuple(self.before[a] for a in inverse), tuple(self.after[a] for a in inverse), self.value)

    def reshaped(self, before: Shape, after: Shape) -> None:
        """Reshapes move in front instead (`passes/padding.py`): so they move fewer elements."""

    def scaled(self, factor: Array, before: Shape) -> Pad | None:
        return self if self.value == 0.0 and not self.before[-1] and not self.after[-1] else None

    def selected(self, channels: Array) -> Pad:
        return self

    def infer_shape(self, *shapes: Shape) -> Shape:
        if not len(shapes[0]) == len(self.before) == len(self.after):
            raise ValueError(f"padding of {len(self.before)} axes on {shapes[0]}")
        return tuple(b + n + a for b, n, a in zip(self.before, shapes[0], self.after, strict=True))

    def evaluate(self, *inputs: Array) -> Array:
        border = tuple(zip(self.before, self.after, strict=True))
        return np.pad(inputs[0], border, constant_values=self.value)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        x = inputs[0]
        if self.before[-1] or self.after[-1]:
            return move(inputs[0], shapes[0], self.evaluate)
        return ChannelStatistics(x.mean, x.std, np.minimum(x.lo, self.value), np.maximum(x.hi, self.value))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        value = int(site.output.qtype.quantize(np.array(self.value)))
        return (QPad(site.name, site.input_names, site.output.name, self.before, self.after, value),)


@dataclass(frozen=True, slots=True, eq=False)
class QPad(QOp):
    """A constant border of the integer `value`."""

    name: str
    inputs: tuple[str, ...]
    output: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int

    def evaluate(self, *inputs: Array) -> Array:
        border = tuple(zip(self.before, self.after, strict=True))
        return np.pad(inputs[0], border, constant_values=self.value)

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        axis = common_axis(inputs[0].shape, output.shape)
        if axis is None:
            return None
        border = self.before[axis] or self.after[axis]
        return RowWindow(before=self.before[axis], padding=self.value if border else None)

    def of_rows(self, count: int, axis: int) -> QPad:
        before, after = ((*sides[:axis], 0, *sides[axis + 1 :]) for sides in (self.before, self.after))
        return replace(self, before=before, after=after)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        border = (*self.before, *self.after)
        if not len(self.before) == len(self.after) == len(x.shape) or min(border) < 0:
            raise ProgramError(f"{self.name}: {self.before}, {self.after} is no border of {x.shape}")
        if self.before[0] or self.after[0]:
            raise ProgramError(f"{self.name}: the batch takes no border")
        check_within(self.name, "the border", self.value, x.qtype.dtype.minimum, x.qtype.dtype.maximum)
        shape = tuple(b + n + a for b, n, a in zip(self.before, x.shape, self.after, strict=True))
        _require_same_type(self, x, output, shape)
