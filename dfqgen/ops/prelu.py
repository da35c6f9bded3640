"""Leaky ReLU whose slope differs by channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import (
    LARGEST_SHIFT,
    check_clamp,
    check_reach,
    check_shape,
    check_within,
    check_zero_point,
)
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.add import check_multipliers
from dfqgen.ops.families import OneClamp, PerChannel, RowForRow
from dfqgen.ops.multiply import largest_distance
from dfqgen.statistics.channel import ChannelStatistics

MULTIPLIER_LIMIT = 1 << 15
MAX_SHIFT = 22


@dataclass(frozen=True, slots=True, eq=False)
class PRelu(PerChannel):
    """x where x >= 0, slope[c] * x elsewhere; slope [C] on the last axis."""

    slope: Array

    fuses_clip: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.slope.shape != shapes[0][-1:]:
            raise ValueError(f"{shapes[0][-1]} channels meet {self.slope.size} slopes")
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        return np.where(x < 0, self.slope.astype(x.dtype) * x, x)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return inputs[0].transform(self.evaluate)

    def scaled(self, factor: Array, before: Shape) -> PRelu:
        return self

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0].qtype, site.output.qtype
        factor = x.scale / y.scale
        slopes = self.slope.astype(np.float64) * factor
        largest = max(factor, float(np.abs(slopes).max()))
        shift = min(MAX_SHIFT, 15 - math.frexp(largest)[1])
        if math.floor(largest * 2.0**shift + 0.5) >= MULTIPLIER_LIMIT:
            shift -= 1
        if shift < 1:
            raise ProgramError(f"{site.name}: a slope is over 2**14 times what the output can hold")
        lo, hi = site.one_clip()
        return (
            QPRelu(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                input_zero_point=x.zero_point,
                multiplier=math.floor(factor * 2.0**shift + 0.5),
                slopes=np.floor(slopes * 2.0**shift + 0.5).astype(np.int64),
                shift=shift,
                zero_point=y.zero_point,
                lo=lo,
                hi=hi,
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QPRelu(RowForRow, OneClamp, QOp):
    """clamp(zero_point + ((d * (d < 0 ? slopes[c] : multiplier) + half) >> shift), lo, hi).

    d is x - input_zero_point. 16-bit multipliers, slopes int64 [C] may be negative; half = 2**(shift - 1).
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    input_zero_point: int
    multiplier: int
    slopes: Array
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        d = inputs[0].astype(np.int64) - self.input_zero_point
        product = d * np.where(d < 0, self.slopes, self.multiplier) + (1 << (self.shift - 1))
        return np.clip(self.zero_point + (product >> self.shift), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape:
            raise ProgramError(f"{self.name}: {x} -> {output} is not of one shape")
        check_shape(self.name, "the table of slopes", self.slopes, x.shape[-1:])
        check_within(self.name, "the shift", self.shift, 1, LARGEST_SHIFT)
        check_zero_point(self.name, self.input_zero_point, x.qtype)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        largest = max(abs(self.multiplier), int(np.abs(self.slopes).max()))
        check_multipliers(self.name, largest)
        worst = largest_distance(x.qtype, self.input_zero_point) * largest + (1 << (self.shift - 1))
        check_reach(self.name, "a product", worst)

    @property
    def weight_bytes(self) -> int:
        return 2 * int(self.slopes.size)
