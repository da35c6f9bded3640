"""The larger, or the smaller, of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import LARGEST_SHIFT, check_clamp, check_reach, check_within
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.add import check_broadcast, check_multipliers, pair_multipliers
from dfqgen.ops.families import Broadcasting, OneClamp, RowForRow
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.gaussian import normal_density


@dataclass(frozen=True, slots=True, eq=False)
class Maximum(Broadcasting):
    """max(a, b) with sign +1, min(a, b) with sign -1; one may be broadcast to the other."""

    sign: int = 1

    fuses_clip: ClassVar[bool] = True

    def evaluate(self, *inputs: Array) -> Array:
        return np.maximum(*inputs) if self.sign > 0 else np.minimum(*inputs)

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        return channels if shapes[0][-1] == shapes[1][-1] else None

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Clark's moments of the maximum of two independent normals (Operations Research, 1961)."""
        a, b = (x.scale_shift(float(self.sign)) for x in inputs)
        (mean_a, variance_a), (mean_b, variance_b) = a.moments(), b.moments()
        theta = np.sqrt(np.maximum(variance_a + variance_b, 1e-30))
        alpha = (mean_a - mean_b) / theta
        first, second, density = ndtr(alpha), ndtr(-alpha), normal_density(alpha)
        mean = mean_a * first + mean_b * second + theta * density
        square = (
            (mean_a**2 + variance_a) * first
            + (mean_b**2 + variance_b) * second
            + (mean_a + mean_b) * theta * density
        )
        larger = ChannelStatistics.normal(
            mean,
            np.sqrt(np.maximum(square - mean**2, 0.0)),
            np.maximum(a.lo, b.lo),
            np.maximum(a.hi, b.hi),
        )
        return larger.scale_shift(float(self.sign))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        a, b = site.inputs
        y = site.output.qtype
        lo, hi = site.one_clip()
        multipliers, shift = pair_multipliers(site.name, (a.qtype.scale / y.scale, b.qtype.scale / y.scale))
        base = (y.zero_point << shift) + (1 << (shift - 1))
        offsets = tuple(base - m * x.qtype.zero_point for m, x in zip(multipliers, site.inputs, strict=True))
        return (
            QMaximum(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                multipliers=multipliers,
                offsets=(offsets[0], offsets[1]),
                shift=shift,
                minimum=self.sign < 0,
                lo=lo,
                hi=hi,
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QMaximum(RowForRow, OneClamp, QOp):
    """clamp(max(a * multipliers[0] + offsets[0], b * multipliers[1] + offsets[1]) >> shift, lo, hi).

    The smaller of the two with `minimum`. Offsets hold zero points and the rounding half; one rounding,
    since it keeps order. Axes of 1 repeat.
    """

    arity: ClassVar[int | None] = 2

    name: str
    inputs: tuple[str, ...]
    output: str
    multipliers: tuple[int, int]
    offsets: tuple[int, int]
    shift: int
    minimum: bool
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        a, b = (
            x.astype(np.int64) * m + o for x, m, o in zip(inputs, self.multipliers, self.offsets, strict=True)
        )
        chosen = np.minimum(a, b) if self.minimum else np.maximum(a, b)
        return np.clip(chosen >> self.shift, self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        a, b = inputs
        check_broadcast(self.name, a, b, output)
        check_multipliers(self.name, *self.multipliers)
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
        check_clamp(self.name, self.lo, self.hi, output)
        for m, o, x in zip(self.multipliers, self.offsets, inputs, strict=True):
            check_reach(self.name, "an operand", abs(o) + abs(m) * -x.qtype.dtype.minimum)
