"""Operators row by row: which input rows an output row is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowWindow:
    """Output row r of an image [1,H,W,C] is made of rows first(r) ... first(r) + extent - 1 of each input.

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


def same_rows(*shapes: tuple[int, ...]) -> RowWindow | None:
    """Of an operator that makes a row from the same rows, where these are images of one height."""
    images = all(len(shape) == 4 and shape[1] == shapes[0][1] for shape in shapes)
    return ONE_ROW if images else None
