"""Integer tensor types and the requantization that moves between them."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


LARGEST_FLOAT = int(np.finfo(np.float32).max)


class IntType(enum.Enum):
    """What the elements of a tensor are stored as: signed integers, the value is their width in bits.

    FLOAT32 is of network inputs and outputs alone (-32, as FITS writes it).
    """

    INT2 = 2
    INT3 = 3
    INT4 = 4
    INT6 = 6
    INT8 = 8
    INT16 = 16
    INT32 = 32
    FLOAT32 = -32

    @property
    def bits(self) -> int:
        return abs(self.value)

    @property
    def real(self) -> bool:
        """Whether it holds no integers."""
        return self.value < 0

    @property
    def minimum(self) -> int:
        return -LARGEST_FLOAT if self.real else -(1 << (self.value - 1))

    @property
    def maximum(self) -> int:
        return LARGEST_FLOAT if self.real else (1 << (self.value - 1)) - 1

    @property
    def carrier(self) -> np.dtype[Any]:
        """The numpy type that holds unpacked values."""
        if self.real:
            return np.dtype("float32")
        return np.dtype("int8" if self.bits <= 8 else f"int{self.bits}")

    def __str__(self) -> str:
        return "float32" if self.real else f"int{self.value}"


@dataclass(frozen=True, slots=True)
class QType:
    """How a tensor's integers map to reals: `real = scale * (q - zero_point)`."""

    dtype: IntType
    scale: float
    zero_point: int = 0

    def quantize(self, real: Array) -> Array:
        """Nearest representable integers (ties away from minus infinity, as the C helper does)."""
        if self.dtype.real:
            return np.asarray(real, np.float32)
        q = np.floor(np.asarray(real, np.float64) / self.scale + 0.5) + self.zero_point
        return np.clip(q, self.dtype.minimum, self.dtype.maximum).astype(self.dtype.carrier)

    def dequantize(self, q: Array) -> Array:
        """Reals, float32."""
        if self.dtype.real:
            return q.astype(np.float32)
        return ((q.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)

    @property
    def real_range(self) -> tuple[float, float]:
        """Smallest and largest representable real."""
        return (
            (self.dtype.minimum - self.zero_point) * self.scale,
            (self.dtype.maximum - self.zero_point) * self.scale,
        )

    def __str__(self) -> str:
        return f"{self.dtype} scale={self.scale!r} zp={self.zero_point}"


@dataclass(frozen=True, slots=True)
class Coding:
    """How a model stores reals as whole numbers in [lo, hi]: `real = scale * (q - zero_point)`.

    Models have unsigned types too; `qtype` is the same type with its integers moved to signed ones, exactly.
    """

    scale: float
    zero_point: int
    lo: int
    hi: int

    @property
    def qtype(self) -> QType:
        dtype = IntType.INT16 if self.hi - self.lo > 255 else IntType.INT8
        return QType(dtype, self.scale, self.zero_point - self.lo + dtype.minimum)

    def encode(self, real: Array) -> Array:
        """The nearest whole numbers (ties to even, as ONNX has it), float64."""
        q = np.rint(np.asarray(real, np.float64) / self.scale) + self.zero_point
        return np.clip(q, self.lo, self.hi)

    def decode(self, q: Array) -> Array:
        """Reals, float32."""
        return ((q.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)


MULTIPLIER_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Requantize:
    """int32 accumulator -> output integer, channels last, rounding once (half up):

        clamp(zero_point + (((acc << pre_shift) * multiplier + 2**31) >> 32), lo, hi)

    `multiplier`, `lo`, `hi` are int64 arrays [channels]; `multiplier` in [0, 2**31). One SMMULR on
    Armv7E-M, one VRMULH lane on Helium. A scale of 2**-n is the multiplier 2**(32 - n), and then
    the same value is `(acc + 2**(n - 1)) >> n`: kernels for cores without a long multiply use that.
    """

    multiplier: Array
    pre_shift: int
    zero_point: int
    lo: Array
    hi: Array

    @classmethod
    def from_scale(
        cls, real_multiplier: Array, zero_point: int, lo: Array | int, hi: Array | int
    ) -> Requantize:
        """Fixed-point form of the real factors `real_multiplier` [channels].

        The absolute error of the product is |acc| * 2**-33, so a small factor needs no pre-shift;
        factors of 1/2 and more do, since the multiplier is a signed 32-bit operand.
        """
        factors = np.atleast_1d(np.asarray(real_multiplier, np.float64))
        pre_shift = max(0, math.frexp(float(factors.max(initial=0.0)))[1] + 1)
        multiplier = np.floor(np.ldexp(factors, MULTIPLIER_BITS - pre_shift) + 0.5).astype(np.int64)
        if multiplier.max(initial=0) >= 1 << 31:  # rounded up to the bound
            pre_shift += 1
            multiplier = np.floor(np.ldexp(factors, MULTIPLIER_BITS - pre_shift) + 0.5).astype(np.int64)
        shape = multiplier.shape
        return cls(
            multiplier,
            pre_shift,
            zero_point,
            np.broadcast_to(np.asarray(lo, np.int64), shape).copy(),
            np.broadcast_to(np.asarray(hi, np.int64), shape).copy(),
        )

    @property
    def shifts(self) -> Array | None:
        """n per channel where every factor is 2**-n with n >= 1, else None (power-of-two scales)."""
        m = self.multiplier
        if np.any(m <= 0) or np.any(m & (m - 1)):
            return None
        n = (MULTIPLIER_BITS - self.pre_shift) - np.round(np.log2(m.astype(np.float64))).astype(np.int64)
        return n if np.all((n >= 1) & (n <= 31)) else None

    def apply(self, acc: Array) -> Array:
        """Exact integer meaning on an int64 array [..., channels]."""
        product = (acc.astype(np.int64) << self.pre_shift) * self.multiplier + (1 << 31)
        return np.clip(self.zero_point + (product >> MULTIPLIER_BITS), self.lo, self.hi)
