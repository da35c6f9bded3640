"""Joining tensors along an axis, and the identity that brings one of them to another type first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.rows import RowWindow, same_rows
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import AlongAxis, SamePlace
from dfqgen.ops.lookup import lookup
from dfqgen.statistics.channel import ChannelStatistics, mixture


@dataclass(frozen=True, slots=True, eq=False)
class Concat(AlongAxis):
    """The inputs one after the other along `axis` (never the batch).

    Moves integers only: all inputs and the output have one type (`quantization.unify` sees to it).
    """

    axis: int

    keeps_type: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return joined_shape(self.axis, shapes)

    def evaluate(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, axis=self.axis)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        if self.axis == len(shapes[0]) - 1:
            mean, std, lo, hi = (
                np.concatenate(values)
                for values in zip(*((s.mean, s.std, s.lo, s.hi) for s in inputs), strict=True)
            )
            return ChannelStatistics(mean, std, lo, hi)
        # One row a position of the joined axis: what lies in other axes is alike.
        rows = [s.expand((shape[self.axis], shape[-1])) for s, shape in zip(inputs, shapes, strict=True)]
        mean, std, lo, hi = (np.concatenate(values) for values in zip(*rows, strict=True))
        return mixture(mean, std, lo, hi)

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...]:
        return (np.concatenate(channels),) if self.axis == len(shapes[0]) - 1 else channels

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (QConcat(site.name, site.input_names, site.output.name, self.axis),)


def joined_shape(axis: int, shapes: tuple[Shape, ...]) -> Shape:
    """The shape of a concatenation; ValueError when the other axes differ."""
    first = shapes[0]
    if not 1 <= axis < len(first):
        raise ValueError(f"cannot join along axis {axis} of {first}")
    for shape in shapes:
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ValueError(f"{shape} and {first} differ beyond axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


@dataclass(frozen=True, slots=True, eq=False)
class QConcat(QOp):
    """The inputs one after the other along `axis`; all have the output's type."""

    arity: ClassVar[int | None] = None

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int

    def evaluate(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, axis=self.axis)

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        return same_rows(output.shape, *(x.shape for x in inputs), inside=self.axis)

    def view_bytes(self, inputs: Sequence[QTensor], output: QTensor) -> tuple[int, ...] | None:
        ends = tuple(accumulate(x.size_bytes for x in inputs))
        return (0, *ends[:-1]) if math.prod(output.shape[: self.axis]) == 1 else None

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        try:
            shape = joined_shape(self.axis, tuple(x.shape for x in inputs))
        except ValueError as error:
            raise ProgramError(f"{self.name}: {error}") from None
        if output.shape != shape or any(x.qtype != output.qtype for x in inputs):
            raise ProgramError(f"{self.name}: {inputs} -> {output} is not a concatenation")


@dataclass(frozen=True, slots=True, eq=False)
class Rescale(SamePlace):
    """The identity on reals; on integers, the change from one type to another. Only quantization makes it."""

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0]

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return inputs[0]

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, lambda x: x),)
