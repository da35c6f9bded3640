"""Where reals meet integers: float32 network inputs and outputs. Only lowering makes these operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_within, check_zero_point
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.ops.families import RowForRow

REAL = QType(IntType.FLOAT32, 1.0, 0)
"""Reals are themselves."""


def float32(value: float) -> float:
    """The nearest float32."""
    return float(np.float32(value))


def check_float32(name: str, what: str, value: float) -> None:
    """A positive, finite float32."""
    if not (np.isfinite(value) and value > 0.0 and float32(value) == value):
        raise ProgramError(f"{name}: {what} {value!r} is no positive float32")


@dataclass(frozen=True, slots=True, eq=False)
class QQuantize(RowForRow, QOp):
    """clamp(zero_point + (floor(x * twice) + 1 >> 1)), x float32; what is no number becomes the smallest.

    `twice` is 2 / scale: its product with x rounds once, as float32, so that no compiler can contract it with
    what follows.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    twice: float
    zero_point: int
    lo: int
    hi: int

    takes: ClassVar[tuple[IntType, ...]] = (IntType.FLOAT32,)

    @classmethod
    def of(cls, name: str, x: str, y: QTensor) -> QQuantize:
        """Of the tensor x to y."""
        dtype = y.qtype.dtype
        twice = float32(2.0 / y.qtype.scale)
        return cls(name, (x,), y.name, twice, y.qtype.zero_point, dtype.minimum, dtype.maximum)

    def evaluate(self, *inputs: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            doubled = inputs[0].astype(np.float32) * np.float32(self.twice)
        # Beyond these bounds everything is clamped.
        low, high = 2.0 * (self.lo - self.zero_point) - 2.0, 2.0 * (self.hi - self.zero_point) + 2.0
        steps = np.floor(np.clip(np.where(doubled > low, doubled, np.float32(low)), low, high)).astype(
            np.int64
        )
        return np.clip(self.zero_point + ((steps + 1) >> 1), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        dtype = output.qtype.dtype
        if x.shape != output.shape or x.qtype != REAL or dtype not in (IntType.INT8, IntType.INT16):
            raise ProgramError(f"{self.name}: {x} -> {output} makes no integers of reals")
        check_float32(self.name, "the factor", self.twice)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_within(self.name, "a clamp", self.lo, dtype.minimum, dtype.minimum)
        check_within(self.name, "a clamp", self.hi, dtype.maximum, dtype.maximum)


@dataclass(frozen=True, slots=True, eq=False)
class QDequantize(QOp):
    """(x - zero_point) as float32, times the float32 `scale`; x int8, int16, or int32 with zero point 0."""

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_point: int
    scale: float

    takes: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16, IntType.INT32)
    gives: ClassVar[tuple[IntType, ...]] = (IntType.FLOAT32,)

    @classmethod
    def of(cls, name: str, x: QTensor, y: str) -> QDequantize:
        """Of the tensor x to y."""
        return cls(name, (x.name,), y, x.qtype.zero_point, float32(x.qtype.scale))

    def evaluate(self, *inputs: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return (inputs[0].astype(np.int64) - self.zero_point).astype(np.float32) * np.float32(self.scale)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        dtype = x.qtype.dtype
        if x.shape != output.shape or output.qtype != REAL or dtype not in self.takes:
            raise ProgramError(f"{self.name}: {x} -> {output} makes no reals of integers")
        check_float32(self.name, "the scale", self.scale)
        if dtype is IntType.INT32:
            check_within(self.name, "a zero point", self.zero_point, 0, 0)
        else:
            check_zero_point(self.name, self.zero_point, x.qtype)
