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
from dfqgen.ops.families import RowForRow, SamePlace
from dfqgen.statistics.channel import ChannelStatistics

MULTIPLIER_LIMIT = 1 << 15
FINE_BITS = 21
"""Of multipliers where the model states all types: sums then are float's as often as layers are."""
FINE_LIMIT = 1 << 22
MAX_SHIFT = 22


@dataclass(frozen=True, slots=True, eq=False)
class Add(SamePlace):
    """a + sign * b, sign +1 or -1; one may be broadcast to the other as numpy does.

    `coarse`: multipliers of 16 bits are enough, even where the model states all types.
    """

    sign: int = 1
    coarse: bool = False

    fuses_clip: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        return broadcast_shape(*shapes)

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

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
        wide = any(x.qtype.dtype is IntType.INT16 for x in (a, b))
        bits = FINE_BITS if site.stated and not self.coarse else 15
        multipliers, shift = pair_multipliers(site.name, factors, bits=14 if wide else bits)
        offset = (
            (y.qtype.zero_point << shift)
            - multipliers[0] * a.qtype.zero_point
            - multipliers[1] * b.qtype.zero_point
            + (1 << (shift - 1))
        )
        lo, hi = site.integer_bounds()
        channels = y.shape[-1]
        kind = QAdd if a.shape == b.shape else QBroadcastAdd
        return (
            kind(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                multipliers=multipliers,
                offset=offset,
                shift=shift,
                lo=np.broadcast_to(lo, (channels,)).copy(),
                hi=np.broadcast_to(hi, (channels,)).copy(),
            ),
        )


def broadcast_shape(*shapes: Shape) -> Shape:
    """The common shape of tensors of one rank; ValueError when there is none."""
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"{shapes[0]} and {shapes[1]} differ in rank")
    return np.broadcast_shapes(*shapes)


def pair_multipliers(
    name: str, factors: tuple[float, float], *, bits: int = 15
) -> tuple[tuple[int, int], int]:
    """Two real factors as integers over one power of two: (multipliers, shift), the most precise.

    `bits` of magnitude; products with int16 have room for 14.
    """
    largest = max(abs(factor) for factor in factors)
    shift = min(MAX_SHIFT, bits - math.frexp(largest)[1])
    if round(largest * 2.0**shift) >= 1 << bits:
        shift -= 1
    if shift < 1:
        raise ProgramError(f"{name}: an input's scale is over 2**14 times the output's")
    first, second = (math.floor(factor * 2.0**shift + 0.5) for factor in factors)
    return (first, second), shift


@dataclass(frozen=True, slots=True, eq=False)
class QAdd(RowForRow, QOp):
    """clamp((a * multipliers[0] + b * multipliers[1] + offset) >> shift, lo, hi).

    Multipliers of 16 bits, or up to 23, and one 32-bit offset that holds all zero points and the rounding
    half: with 16 bits on Armv7E-M one SMLAD an element. lo, hi int64 [C].
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

    @property
    def coarse(self) -> bool:
        """Whether both multipliers fit 16 bits, as SMLAD wants them."""
        return all(abs(m) < MULTIPLIER_LIMIT for m in self.multipliers)

    @property
    def clamp(self) -> tuple[Array, Array]:
        return self.lo, self.hi

    def evaluate(self, *inputs: Array) -> Array:
        a, b = (x.astype(np.int64) for x in inputs)
        acc = a * self.multipliers[0] + b * self.multipliers[1] + self.offset
        return np.clip(acc >> self.shift, self.lo, self.hi)

    def check_shapes(self, a: QTensor, b: QTensor, output: QTensor) -> None:
        """Raise ProgramError when the shapes do not fit."""
        if not a.shape == b.shape == output.shape:
            raise ProgramError(f"{self.name}: {a.shape} + {b.shape} -> {output.shape}")

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        self.check_shapes(inputs[0], inputs[1], output)
        check_within(self.name, "a multiplier", np.array(self.multipliers), 1 - FINE_LIMIT, FINE_LIMIT - 1)
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
        check_clamp(self.name, self.lo, self.hi, output)
        worst = abs(self.offset) + sum(
            abs(m) * -x.qtype.dtype.minimum for m, x in zip(self.multipliers, inputs, strict=True)
        )
        check_reach(self.name, "the sum", worst)


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
