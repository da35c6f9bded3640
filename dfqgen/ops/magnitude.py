"""The magnitude of complex numbers whose parts are two tensors, as spectrograms take it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_within
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import Broadcasting, RowForRow
from dfqgen.ops.multiply import TwoOperands, check_operands, largest_distance
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_PART = 46340
"""Two squares of it fit 32 bits without a sign."""
PART_BITS = 14
"""Of the larger part's multiplier: a shift of none is a factor of one."""
LARGEST_ROOT = 65535
MULTIPLIER_BITS = 15
LARGEST_SHIFT = 30


@dataclass(frozen=True, slots=True, eq=False)
class Magnitude(Broadcasting):
    """sqrt(a^2 + b^2); one may be broadcast to the other as numpy does.

    Squares that are tensors of their own need twice the bits of their root.
    """

    fuses_clip: ClassVar[bool] = True
    measured: ClassVar[bool] = True

    def evaluate(self, *inputs: Array) -> Array:
        return np.hypot(*inputs)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Rayleigh's moments at the power of both parts."""
        power = sum(mean**2 + variance for mean, variance in (x.moments() for x in inputs))
        channels = self.infer_shape(*shapes)[-1]
        power = np.broadcast_to(power, (channels,))
        largest = np.hypot(*(np.maximum(np.abs(x.lo), np.abs(x.hi)) for x in inputs))
        return ChannelStatistics.normal(
            np.sqrt(power * math.pi / 4.0),
            np.sqrt(power * (1.0 - math.pi / 4.0)),
            np.zeros(channels),
            np.broadcast_to(largest, (channels,)),
        )

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output.qtype
        lo, hi = site.one_clip()
        coarse = max(a.qtype.scale, b.qtype.scale)
        reach = max(largest_distance(x.qtype, x.qtype.zero_point) * (x.qtype.scale / coarse) for x in (a, b))
        bits = math.ceil(math.log2(reach / LARGEST_PART))  # below zero: parts gain bits
        factor = coarse * 2.0**bits / y.scale
        room = (1 << MULTIPLIER_BITS) - 1
        shift = max(0, min(LARGEST_SHIFT, math.floor(math.log2(room / factor))))
        ratios = (x.qtype.scale / coarse for x in (a, b))
        first, second = (math.floor(ratio * 2.0**PART_BITS + 0.5) for ratio in ratios)
        return (
            QMagnitude(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                zero_points=(a.qtype.zero_point, b.qtype.zero_point),
                multipliers=(first, second),
                part_shift=PART_BITS + bits,
                multiplier=min(math.floor(factor * 2.0**shift + 0.5), room),
                shift=shift,
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QMagnitude(RowForRow, TwoOperands, QOp):
    """With parts p = (|x - zx| * multipliers[x] + part_half) >> part_shift of x = a, b and r the integer
    nearest sqrt(pa^2 + pb^2):

        clamp(zero_point + ((r * multiplier + half) >> shift), lo, hi)

    part_half is 2**part_shift // 2, half 2**shift // 2. All of it fits 32 bits without a sign. Axes of 1
    repeat.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_points: tuple[int, int]
    multipliers: tuple[int, int]
    part_shift: int
    multiplier: int
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        half = 1 << self.part_shift >> 1
        parts = (
            (np.abs(x) * m + half) >> self.part_shift
            for x, m in zip(self.differences(inputs), self.multipliers, strict=True)
        )
        a, b = parts
        squares = a * a + b * b
        root = np.sqrt(squares.astype(np.float64)).astype(np.int64)  # exact below 2^52
        root += squares - root * root > root
        scaled = (root * self.multiplier + (1 << self.shift >> 1)) >> self.shift
        return np.clip(self.zero_point + scaled, self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        largest = check_operands(self, inputs, output)
        check_within(self.name, "the shift of parts", self.part_shift, 0, LARGEST_SHIFT)
        half = 1 << self.part_shift >> 1
        for distance, multiplier in zip(largest, self.multipliers, strict=True):
            check_within(self.name, "a part's multiplier", multiplier, 0, 1 << PART_BITS)
            part = (distance * multiplier + half) >> self.part_shift
            check_within(self.name, "a part", part, 0, LARGEST_PART)
        check_within(self.name, "the multiplier", self.multiplier, 0, (1 << MULTIPLIER_BITS) - 1)
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
