"""Portable kernels that select and join: QTake, QConcat, and QTranspose of many axes.

Runs of bytes are moved alike whatever is in them: those kernels count elements in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.ops.concat import QConcat
from dfqgen.ops.movement import QTranspose
from dfqgen.ops.take import QTake

STRIDED_AXES = 6
TABLE_AXES = 3
CONCAT_INPUTS = 8


def axis_distances(op: QTake, shape: Sequence[int]) -> list[Array]:
    """For every axis, how far from the start of x each of its output positions reads, in elements."""
    pitches = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    return [
        np.asarray(range(size) if positions is None else positions, np.int64) * pitch
        for positions, size, pitch in zip(op.indices, shape, pitches, strict=True)
    ]


def regular_axes(distances: Sequence[Array]) -> tuple[list[tuple[int, int]], int] | None:
    """(size, pitch) of the fewest axes with regular distances, and where they start; None when irregular."""
    merged: list[tuple[int, int]] = []
    offset = 0
    for values in distances:
        offset += int(values[0])
        if len(values) == 1:
            continue
        steps = np.diff(values)
        if np.any(steps != steps[0]):
            return None
        size, pitch = len(values), int(steps[0])
        if merged and merged[-1][1] == size * pitch:
            merged[-1] = (merged[-1][0] * size, pitch)
        else:
            merged.append((size, pitch))
    return merged, offset


def strided_fields(axes: Sequence[tuple[int, int]], offset: int) -> tuple[Field, ...]:
    """Members of dfq_strided_copy_x8_t."""
    filled = [(1, 0)] * (STRIDED_AXES - len(axes)) + list(axes)
    if not axes:
        filled[-1] = (1, 1)
    sizes, pitches = zip(*filled, strict=True)
    return Field("size", sizes), Field("pitch", pitches), Field("offset", offset)


def strided_work(axes: Sequence[tuple[int, int]], output: QTensor) -> Work:
    """Lines that dfq_strided_copy_x8 takes, and elements that it copies in words or one by one."""
    size, pitch = axes[-1] if axes else (1, 1)
    moved = "copied" if pitch == 1 else "stepped"
    return {"line": output.elements / size, moved: float(output.elements)}


class TakeStridedCopyX8Kernel(Kernel[QTake]):
    """A selection at regular distances: slices, splits, broadcasts."""

    op = QTake
    function = "dfq_strided_copy_x8"
    header = "portable/dfq_strided_copy_x8.h"
    dtype: ClassVar[IntType] = IntType.INT8

    def supports(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> bool:
        regular = regular_axes(axis_distances(op, inputs[0].shape))
        fits = regular is not None and len(regular[0]) <= STRIDED_AXES
        return inputs[0].qtype.dtype is self.dtype and fits

    def code(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        regular = regular_axes(axis_distances(op, inputs[0].shape))
        assert regular is not None
        fields = strided_fields(*regular)
        return LayerCode(self.function, f"{self.function}_t", "selection", fields)

    def work(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> Work:
        regular = regular_axes(axis_distances(op, inputs[0].shape))
        assert regular is not None
        return super().work(op, inputs, output) | strided_work(regular[0], output)


class TransposeStridedCopyX8Kernel(Kernel[QTranspose]):
    """Axes in another order, up to six of them."""

    op = QTranspose
    function = "dfq_strided_copy_x8"
    header = "portable/dfq_strided_copy_x8.h"
    dtype: ClassVar[IntType] = IntType.INT8

    def axes(self, op: QTranspose, x: QTensor) -> list[tuple[int, int]]:
        """(size, pitch) of the fewest axes."""
        whole = QTake(op.name, op.inputs, op.output, (None,) * len(x.shape))
        distances = axis_distances(whole, x.shape)
        regular = regular_axes([distances[axis] for axis in op.permutation])
        assert regular is not None
        return regular[0]

    def supports(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return inputs[0].qtype.dtype is self.dtype and len(self.axes(op, inputs[0])) <= STRIDED_AXES

    def code(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = strided_fields(self.axes(op, inputs[0]), 0)
        return LayerCode(self.function, f"{self.function}_t", "transposition", fields)

    def work(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(op, inputs, output) | strided_work(self.axes(op, inputs[0]), output)


class TakeStridedCopyX16Kernel(TakeStridedCopyX8Kernel):
    """The same of int16."""

    function = "dfq_strided_copy_x16"
    header = "portable/dfq_strided_copy_x16.h"
    dtype = IntType.INT16


class TransposeStridedCopyX16Kernel(TransposeStridedCopyX8Kernel):
    """The same of int16."""

    function = "dfq_strided_copy_x16"
    header = "portable/dfq_strided_copy_x16.h"
    dtype = IntType.INT16


def distance_tables(distances: Sequence[Array]) -> tuple[list[Array], int]:
    """The fewest tables of distances, at most three, and the contiguous run inside them."""
    tables = [values for values in distances if len(values) > 1 or values[0] != 0]
    run = 1
    while tables and np.array_equal(tables[-1], np.arange(len(tables[-1])) * run):
        run *= len(tables.pop())
    while len(tables) > TABLE_AXES:
        # Merge the neighbours whose common table is the smallest.
        sizes = [len(a) * len(b) for a, b in pairwise(tables)]
        at = int(np.argmin(sizes))
        tables[at : at + 2] = [(tables[at][:, None] + tables[at + 1][None, :]).reshape(-1)]
    return tables, run


def element_bytes(tensor: QTensor) -> int:
    """Bytes of one element."""
    return tensor.size_bytes // tensor.elements


def bytes_work(work: Work, output: QTensor) -> Work:
    """The counts of a kernel whose elements are bytes."""
    return work | {name: work[name] * element_bytes(output) for name in ("output", "input") if name in work}


class TakeX8Kernel(Kernel[QTake]):
    """Any selection, by tables."""

    op = QTake
    function = "dfq_take_x8"
    header = "portable/dfq_take_x8.h"

    def supports(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return True

    def tables(self, op: QTake, x: QTensor) -> tuple[list[Array], int]:
        """In bytes: an element's are the innermost axis."""
        size = element_bytes(x)
        distances = [values * size for values in axis_distances(op, x.shape)]
        return distance_tables([*distances, np.arange(size)])

    def code(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        tables, run = self.tables(op, inputs[0])
        roles = ("first", "second", "third")[TABLE_AXES - len(tables) :]
        sizes = (1,) * (TABLE_AXES - len(tables)) + tuple(len(table) for table in tables)
        return LayerCode(
            function=self.function,
            struct="dfq_take_x8_t",
            title="selection by table",
            fields=(*(Field(role, role) for role in roles), Field("sizes", sizes), Field("run", run)),
            arrays=tuple(
                ConstArray(role, table.astype(np.int32)) for role, table in zip(roles, tables, strict=True)
            ),
        )

    def work(self, op: QTake, inputs: Sequence[QTensor], output: QTensor) -> Work:
        _, run = self.tables(op, inputs[0])
        work = bytes_work(super().work(op, inputs, output), output)
        return work | {"run": output.size_bytes / run}


class ConcatX8Kernel(Kernel[QConcat]):
    """So many tensors along an axis; the function's name ends with their number."""

    op = QConcat
    header = "portable/dfq_concat_x8.h"
    count: ClassVar[int]

    def supports(self, op: QConcat, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return len(inputs) == self.count

    def code(self, op: QConcat, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        runs = tuple(int(np.prod(x.shape[op.axis :])) * element_bytes(x) for x in inputs)
        return LayerCode(
            function=self.function,
            struct="dfq_concat_x8_t",
            title="concatenation",
            fields=(
                Field("outer", int(np.prod(output.shape[: op.axis]))),
                Field("pitch", sum(runs)),
                Field("runs", runs + (0,) * (CONCAT_INPUTS - len(runs))),
            ),
        )

    def work(self, op: QConcat, inputs: Sequence[QTensor], output: QTensor) -> Work:
        work = bytes_work(super().work(op, inputs, output), output)
        return work | {"line": float(np.prod(output.shape[: op.axis]))}


REGISTRY.add(TakeStridedCopyX8Kernel())
REGISTRY.add(TransposeStridedCopyX8Kernel())
REGISTRY.add(TakeStridedCopyX16Kernel())
REGISTRY.add(TransposeStridedCopyX16Kernel())
REGISTRY.add(TakeX8Kernel())
for _count in range(2, CONCAT_INPUTS + 1):
    _members = {"count": _count, "function": f"dfq_concat{_count}_x8"}
    REGISTRY.add(type(f"Concat{_count}X8Kernel", (ConcatX8Kernel,), _members)())
