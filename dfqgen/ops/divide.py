"""The quotient of two tensors; one may be broadcast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor
from dfqgen.fixedpoint.proof import check_reach, check_within
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import Broadcasting
from dfqgen.ops.multiply import TwoOperands, check_operands, largest_distance
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_SHIFT = 24


@dataclass(frozen=True, slots=True, eq=False)
class Div(Broadcasting):
    """a / b; one may be broadcast to the other as numpy does. The largest float of its sign where b is 0."""

    fuses_clip: ClassVar[bool] = True
    measured: ClassVar[bool] = True

    def evaluate(self, *inputs: Array) -> Array:
        a, b = inputs
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.nan_to_num(a / b)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """As if b were its typical value."""
        mean, variance = inputs[1].moments()
        size = np.sqrt(np.maximum(variance + mean**2, 1e-30))
        channels = self.infer_shape(*shapes)[-1]
        (centre, spread) = inputs[0].moments()
        return ChannelStatistics.normal(
            np.broadcast_to(centre / size, (channels,)), np.broadcast_to(np.sqrt(spread) / size, (channels,))
        )

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output.qtype
        lo, hi = site.one_clip()
        factor = a.qtype.scale / (b.qtype.scale * y.scale)
        room = (INT32_MAX - (1 << 17)) / largest_distance(a.qtype, a.qtype.zero_point)
        shift = max(0, min(LARGEST_SHIFT, math.floor(math.log2(room / factor))))
        return (
            QDiv(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                zero_points=(a.qtype.zero_point, b.qtype.zero_point),
                multiplier=int(min(math.floor(factor * 2.0**shift + 0.5), room)),
                shift=shift,
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QDiv(TwoOperands, QOp):
    """With n = |a - za| * multiplier, d = |b - zb| and the sign of their quotient:

        clamp(zero_point +- (((n + d // 2) // d + half) >> shift), lo, hi)

    half is 2**shift // 2. Where d is 0: lo, hi, or for n = 0 the zero point, within them. Axes of 1 repeat.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    zero_points: tuple[int, int]
    multiplier: int
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        a, b = self.differences(inputs)
        n, d = np.abs(a) * self.multiplier, np.abs(b)
        quotient = ((n + d // 2) // np.maximum(d, 1) + (1 << self.shift >> 1)) >> self.shift
        quotient = np.where(d == 0, np.where(a == 0, 0, INT32_MAX), quotient)
        # Of b = 0 the sign is a plus.
        signed = np.where((a < 0) != (b < 0), -quotient, quotient)
        return np.clip(self.zero_point + signed, self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        largest, _ = check_operands(self, inputs, output)
        check_within(self.name, "the multiplier", self.multiplier, 0, INT32_MAX)
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
        # The halves of d and of the shift, and the zero point, come on top.
        check_reach(self.name, "the numerator", largest * self.multiplier + (1 << 17))
