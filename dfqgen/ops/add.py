"""The sum of two tensors, each with its own scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import LARGEST_SHIFT, check_clamp, check_reach, check_within
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import Broadcasting, RowForRow, broadcast_shape
from dfqgen.statistics.channel import ChannelStatistics

MULTIPLIER_LIMIT = 1 << 15
MAX_SHIFT = 22
FINE_BITS = 29
"""Of multipliers whose products lose their lowest bits."""
FINE_LIMIT = 1 << 30
FINE_SHIFT = 30
DROPPED = {IntType.INT8: 8, IntType.INT16: 16}
"""Bits that products with the wider input lose: they are the upper word of 64 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Add(Broadcasting):
    """a + sign * b, sign +1 or -1; one may be broadcast to the other as numpy does.

    `coarse`: multipliers of 16 bits are enough for int8, even where the model states all types.
    """

    sign: int = 1
    coarse: bool = False

    fuses_clip: ClassVar[bool] = True

    def evaluate(self, *inputs: Array) -> Array:
        a, b = inputs
        return a + b if self.sign > 0 else a - b

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        a, b = inputs[0], inputs[1].scale_shift(float(self.sign))
        (mean_a, variance_a), (mean_b, variance_b) = a.moments(), b.moments()
        return ChannelStatistics.normal(
            mean_a + mean_b, np.sqrt(variance_a + variance_b), a.lo + b.lo, a.hi + b.hi
        )

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        return channels if shapes[0][-1] == shapes[1][-1] else None

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output
        factors = (a.qtype.scale / y.qtype.scale, self.sign * b.qtype.scale / y.qtype.scale)
        terms = self._terms(site, factors)
        lo, hi = site.integer_bounds()
        channels = y.shape[-1]
        kind = QAdd if a.shape == b.shape else QBroadcastAdd
        return (
            kind(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                multipliers=terms.multipliers,
                offset=terms.offset,
                shift=terms.shift,
                dropped=terms.dropped,
                lo=np.broadcast_to(lo, (channels,)).copy(),
                hi=np.broadcast_to(hi, (channels,)).copy(),
            ),
        )

    def _terms(self, site: Site, factors: tuple[float, float]) -> Terms:
        """Fine with int16, and where the model states all types: sums are float's as often as layers then."""
        widest = IntType(max(x.qtype.dtype.bits for x in site.inputs))
        dropped = DROPPED[widest]
        multipliers, shift = pair_multipliers(site.name, factors, bits=14 if widest is IntType.INT16 else 15)
        exact = tuple(m * 2.0**-shift for m in multipliers) == factors
        room = max(map(abs, factors)) < 1 << (FINE_BITS - dropped - 1)
        wide = IntType.INT16 in (widest, site.output.qtype.dtype)
        if exact or not room or not (wide or (site.stated and not self.coarse)):
            return Terms.of(site, multipliers, shift)
        multipliers, shift = pair_multipliers(site.name, factors, bits=FINE_BITS, most=FINE_SHIFT)
        return Terms.of(site, multipliers, shift - dropped, dropped)


@dataclass(frozen=True, slots=True)
class Terms:
    """((a * multipliers[0] >> dropped) + (b * multipliers[1] >> dropped) + offset) >> shift."""

    multipliers: tuple[int, int]
    offset: int
    shift: int
    dropped: int = 0

    @classmethod
    def of(cls, site: Site, multipliers: tuple[int, int], shift: int, dropped: int = 0) -> Terms:
        """With the offset that holds all zero points and the rounding half."""
        zero_points = sum(m * x.qtype.zero_point for m, x in zip(multipliers, site.inputs, strict=True))
        half = 1 << dropped >> 1
        offset = (
            (site.output.qtype.zero_point << shift) - ((zero_points + half) >> dropped) + (1 << (shift - 1))
        )
        return cls(multipliers, offset, shift, dropped)

    def reach(self, *inputs: QTensor) -> int:
        """The largest magnitude of any of it."""
        products = (abs(m) * -x.qtype.dtype.minimum for m, x in zip(self.multipliers, inputs, strict=True))
        return abs(self.offset) + sum(-(-product >> self.dropped) for product in products)


def pair_multipliers(
    name: str, factors: tuple[float, float], *, bits: int = 15, most: int = MAX_SHIFT
) -> tuple[tuple[int, int], int]:
    """Two real factors as integers over one power of two: (multipliers, shift), the most precise.

    `bits` of magnitude, of which whole products with int16 have room for 14; a shift of at most `most`.
    """
    largest = max(abs(factor) for factor in factors)
    shift = min(most, bits - math.frexp(largest)[1])
    if round(largest * 2.0**shift) >= 1 << bits:
        shift -= 1
    if shift < 1:
        raise ProgramError(f"{name}: an input's scale is over 2**14 times the output's")
    first, second = (math.floor(factor * 2.0**shift + 0.5) for factor in factors)
    return (first, second), shift


@dataclass(frozen=True, slots=True, eq=False)
class QAdd(RowForRow, QOp):
    """clamp(((a * multipliers[0] >> dropped) + (b * multipliers[1] >> dropped) + offset) >> shift, lo, hi).

    One 32-bit offset holds all zero points and the rounding half. Multipliers have 16 bits, on Armv7E-M one
    SMLAD an element, or 31 where products are the upper word of 64 bits: `dropped` is what those lose, 0, 8
    (int8) or 16 (int16 beside anything). lo, hi int64 [C].
    """

    arity: ClassVar[int | None] = 2

    name: str
    inputs: tuple[str, ...]
    output: str
    multipliers: tuple[int, int]
    offset: int
    shift: int
    lo: Array
    hi: Array
    dropped: int = 0

    @property
    def terms(self) -> Terms:
        return Terms(self.multipliers, self.offset, self.shift, self.dropped)

    @property
    def clamp(self) -> tuple[Array, Array]:
        return self.lo, self.hi

    def evaluate(self, *inputs: Array) -> Array:
        a, b = (x.astype(np.int64) for x in inputs)
        first, second = ((x * m) >> self.dropped for x, m in zip((a, b), self.multipliers, strict=True))
        return np.clip((first + second + self.offset) >> self.shift, self.lo, self.hi)

    def check_shapes(self, a: QTensor, b: QTensor, output: QTensor) -> None:
        """Raise ProgramError when the shapes do not fit."""
        if not a.shape == b.shape == output.shape:
            raise ProgramError(f"{self.name}: {a.shape} + {b.shape} -> {output.shape}")

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        self.check_shapes(inputs[0], inputs[1], output)
        widest = IntType(max(x.qtype.dtype.bits for x in inputs))
        if self.dropped not in (0, DROPPED[widest]):
            raise ProgramError(f"{self.name}: products lose {self.dropped} bits")
        limit = FINE_LIMIT if self.dropped else MULTIPLIER_LIMIT
        check_within(self.name, "a multiplier", np.array(self.multipliers), 1 - limit, limit - 1)
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
        check_clamp(self.name, self.lo, self.hi, output)
        check_reach(self.name, "the sum", self.terms.reach(*inputs))


@dataclass(frozen=True, slots=True, eq=False)
class QBroadcastAdd(QAdd):
    """A QAdd of different shapes of one rank, where axes of 1 repeat."""

    def check_shapes(self, a: QTensor, b: QTensor, output: QTensor) -> None:
        check_broadcast(self.name, a, b, output)


def check_multipliers(name: str, *multipliers: int) -> None:
    """Raise ProgramError unless all are int16: SMLAD takes no more."""
    if any(abs(m) >= MULTIPLIER_LIMIT for m in multipliers):
        raise ProgramError(f"{name}: a multiplier does not fit 16 bits")


def check_broadcast(name: str, a: QTensor, b: QTensor, output: QTensor) -> None:
    """Raise ProgramError unless numpy would broadcast a and b to the output's shape."""
    try:
        shape = broadcast_shape(a.shape, b.shape)
    except ValueError as error:
        raise ProgramError(f"{name}: {error}") from None
    if shape != output.shape:
        raise ProgramError(f"{name}: {a.shape} and {b.shape} do not give {output.shape}")
