"""Operators row by row: which input rows an output row is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowWindow:
    """Output row r of an image is made of rows first(r) ... first(r) + extent - 1 of each input.

    Rows above the first and below the last hold the integer `padding`; None: no window reaches there.
    """

    extent: int = 1
    stride: int = 1
    before: int = 0
    padding: int | None = None

    def first(self, row: int) -> int:
        """The first input row under an output row; negative in the padding above."""
        return row * self.stride - self.before

    def end(self, row: int) -> int:
        """The input row after the last one under an output row."""
        return self.first(row) + self.extent

    def rows(self, count: int) -> int:
        """Input rows under so many output rows."""
        return (count - 1) * self.stride + self.extent


ONE_ROW = RowWindow()
"""Of operators that make a row from the same row of each input."""


def row_axis(shape: tuple[int, ...]) -> int:
    """Along which axis of [1,H,W,C] rows are: the height, or of an image that is one row high, the width: the
    steps of time of a 1-D network.
    """
    return 2 if shape[1] == 1 else 1


def row_count(shape: tuple[int, ...]) -> int:
    """How many rows an image has."""
    return shape[row_axis(shape)]


def common_axis(*shapes: tuple[int, ...]) -> int | None:
    """The axis along which the rows of all these are; None where they are not such images."""
    axes = {row_axis(shape) if len(shape) == 4 else None for shape in shapes}
    return axes.pop() if len(axes) == 1 else None


def same_rows(*shapes: tuple[int, ...], inside: int = 3) -> RowWindow | None:
    """Of an operator that makes a row from the same rows, where these are images with as many rows.

    It may work along the axis `inside`, which must lie within a row.
    """
    axis = common_axis(*shapes)
    return ONE_ROW if axis and axis < inside and len({shape[axis] for shape in shapes}) == 1 else None
