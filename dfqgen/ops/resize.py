"""Resizing images by linear interpolation. (Nearest is a `Take`.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_reach, check_shape, check_within
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.statistics.channel import ChannelStatistics

WEIGHT_BITS = 11
"""Bits of an interpolation weight: two of them and eight bits of data fill 30 bits."""
ROW_BITS = 19
"""Bits of what goes into the second direction, sign included."""


class Interpolation(NamedTuple):
    """One axis: output i is (1 - fraction[i]) * x[low[i]] + fraction[i] * x[high[i]], fraction in [0, 1]."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    fraction: tuple[float, ...]

    @classmethod
    def at(cls, positions: Array, size: int) -> Interpolation:
        """Real positions on an axis of `size`, cut to it."""
        clipped = np.clip(np.asarray(positions, np.float64), 0.0, size - 1.0)
        low = np.floor(clipped).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        return cls(tuple(low.tolist()), tuple(high.tolist()), tuple((clipped - low).tolist()))

    def __repr__(self) -> str:
        return f"to {len(self.low)}"

    def check(self, size: int) -> None:
        """ValueError when it does not read from an axis of `size`."""
        lengths = {len(self.low), len(self.high), len(self.fraction)}
        ends = (min(self.low, default=-1), max(self.high, default=size))
        if len(lengths) != 1 or ends[0] < 0 or ends[1] >= size or max(self.low) >= size or min(self.high) < 0:
            raise ValueError(f"an interpolation leaves an axis of {size}")


@dataclass(frozen=True, slots=True, eq=False)
class ResizeLinear(Op):
    """Linear interpolation over height, then width, of x [N,H,W,C]."""

    rows: Interpolation
    columns: Interpolation

    keeps_type: ClassVar[bool] = True

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Height and width are axes 1 and 2."""

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general."""

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        n, height, width, channels = shapes[0]
        self.rows.check(height)
        self.columns.check(width)
        return n, len(self.rows.low), len(self.columns.low), channels

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...]:
        return channels

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        wy = np.asarray(self.rows.fraction, x.dtype)[:, None, None]
        wx = np.asarray(self.columns.fraction, x.dtype)[:, None]
        x = x[:, list(self.rows.low)] * (1 - wy) + x[:, list(self.rows.high)] * wy
        return x[:, :, list(self.columns.low)] * (1 - wx) + x[:, :, list(self.columns.high)] * wx

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """The mean stays; the variance shrinks by an unknown amount (pixels correlate): kept as a bound."""
        return inputs[0]

    def lower(self, site: Site) -> tuple[QOp, ...]:
        def weights(axis: Interpolation) -> Array:
            return np.floor(np.asarray(axis.fraction) * 2.0**WEIGHT_BITS + 0.5).astype(np.int64)

        def positions(values: tuple[int, ...]) -> Array:
            return np.asarray(values, np.int64)

        return (
            QResizeLinear(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                row_low=positions(self.rows.low),
                row_high=positions(self.rows.high),
                row_weight=weights(self.rows),
                column_low=positions(self.columns.low),
                column_high=positions(self.columns.high),
                column_weight=weights(self.columns),
                between=max(0, site.output.qtype.dtype.bits + WEIGHT_BITS - ROW_BITS),
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QResizeLinear(QOp):
    """(top * (2048 - wy) + bottom * wy + half) >> (22 - between), top and bottom being
    (x_low * (2048 - wx) + x_high * wx + half) >> between; halves are of the shift behind them.

    row_* int64 [OH], column_* int64 [OW], weights in [0, 2048]. An average of elements: it needs no
    zero point, and cannot leave their range. `between` is 0 where all of it fits 32 bits.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    row_low: Array
    row_high: Array
    row_weight: Array
    column_low: Array
    column_high: Array
    column_weight: Array
    between: int

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        wy, wx = self.row_weight[:, None, None], self.column_weight[:, None]
        one = 1 << WEIGHT_BITS
        x = x[:, :, self.column_low] * (one - wx) + x[:, :, self.column_high] * wx
        x = (x + (1 << self.between >> 1)) >> self.between
        x = x[:, self.row_low] * (one - wy) + x[:, self.row_high] * wy
        shift = 2 * WEIGHT_BITS - self.between
        return (x + (1 << (shift - 1))) >> shift

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        expected = (*x.shape[:1], self.row_low.size, self.column_low.size, *x.shape[3:])
        if len(x.shape) != 4 or output.shape != expected or output.qtype != x.qtype:
            raise ProgramError(f"{self.name}: {x} -> {output} is not {expected}")
        axes = (
            (1, self.row_low, self.row_high, self.row_weight),
            (2, self.column_low, self.column_high, self.column_weight),
        )
        for axis, low, high, weight in axes:
            for table in (low, high, weight):
                check_shape(self.name, "a table of an axis", table, (output.shape[axis],))
            check_within(self.name, "a position", np.stack([low, high]), 0, x.shape[axis] - 1)
            check_within(self.name, "a weight", weight, 0, 1 << WEIGHT_BITS)
        check_within(self.name, "the shift between", self.between, 0, WEIGHT_BITS)
        # Weights sum to 2**11: each sum is an average of elements, scaled.
        shift = 2 * WEIGHT_BITS - self.between
        check_reach(self.name, "the sum", (-x.qtype.dtype.minimum << shift) + (1 << (shift - 1)))

    @property
    def weight_bytes(self) -> int:
        return 6 * int(self.row_low.size + self.column_low.size)
