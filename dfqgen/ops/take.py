"""Selection along axes: slices, splits, nearest resizing, broadcasting, reflected borders are all this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.statistics.channel import ChannelStatistics

Indices = tuple[tuple[int, ...] | None, ...]
"""For every axis the input positions its output positions read; None keeps an axis as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Take(Op):
    """out[i, j, ...] = x[indices[0][i], indices[1][j], ...]; axis 0 (the batch) stays."""

    indices: Indices

    keeps_type: ClassVar[bool] = True

    @classmethod
    def along(cls, axis: int, positions: Sequence[int], rank: int) -> Take:
        """Selection along one axis of a tensor with `rank` axes."""
        return cls(tuple(tuple(positions) if a == axis else None for a in range(rank)))

    def transposed(self, permutation: tuple[int, ...]) -> Take:
        return Take(tuple(self.indices[axis] for axis in np.argsort(permutation)))

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general: positions along an axis are none along another."""

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return taken_shape(self.indices, shapes[0])

    def evaluate(self, *inputs: Array) -> Array:
        return take(self.indices, inputs[0])

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Channels are selected with the last axis; positions within a channel are alike."""
        x, last = inputs[0], self.indices[-1]
        if last is None:
            return x
        channels = list(last)
        return ChannelStatistics(x.mean[channels], x.std[channels], x.lo[channels], x.hi[channels])

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...]:
        last = self.indices[-1]
        return channels if last is None else (channels[0][list(last)],)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (QTake(site.name, site.input_names, site.output.name, self.indices),)


def take(indices: Indices, x: Array) -> Array:
    """x with every axis selected from; the batch stays."""
    for axis, positions in enumerate(indices):
        if positions is not None:
            x = np.take(x, np.asarray(positions, np.int64), axis=axis)
    return x


def taken_shape(indices: Indices, shape: Shape) -> Shape:
    """The shape of a selection; ValueError when a position does not exist."""
    if len(indices) != len(shape) or indices[0] is not None:
        raise ValueError(f"a selection along {len(indices)} axes does not fit {shape}")
    result = []
    for positions, size in zip(indices, shape, strict=True):
        if positions is None:
            result.append(size)
            continue
        if not positions or min(positions) < 0 or max(positions) >= size:
            raise ValueError(f"a selection leaves an axis of {size}, or is empty")
        result.append(len(positions))
    return tuple(result)


def run_begin(indices: Indices, shape: Shape) -> int | None:
    """The first element that a selection takes of a shape; None where those it takes are not one run."""
    begin, several = 0, False
    for positions, size in zip(indices, shape, strict=True):
        begin *= size
        if positions is None:
            several = several or size > 1
            continue
        first, count = positions[0], len(positions)
        if tuple(positions) != tuple(range(first, first + count)) or (several and count < size):
            return None
        begin += first
        several = several or count > 1
    return begin


@dataclass(frozen=True, slots=True, eq=False)
class QTake(QOp):
    """out[i, j, ...] = x[indices[0][i], indices[1][j], ...]; input and output have one type."""

    name: str
    inputs: tuple[str, ...]
    output: str
    indices: Indices

    def evaluate(self, *inputs: Array) -> Array:
        return take(self.indices, inputs[0])

    def view_bytes(self, inputs: Sequence[QTensor], output: QTensor) -> tuple[int, ...] | None:
        begin = run_begin(self.indices, inputs[0].shape)
        return None if begin is None else (-begin * output.size_bytes // output.elements,)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        try:
            shape = taken_shape(self.indices, x.shape)
        except ValueError as error:
            raise ProgramError(f"{self.name}: {error}") from None
        if output.shape != shape or x.qtype != output.qtype:
            raise ProgramError(f"{self.name}: {x} -> {output} is not a move to {shape}")
