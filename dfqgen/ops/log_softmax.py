"""Logarithm of a softmax over one axis."""

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
from dfqgen.ops.families import AlongAxis, OneClamp
from dfqgen.ops.softmax import (
    check_axis,
    check_exponentials,
    check_wide_exponentials,
    exponentials,
    fallen,
    wide_exponentials,
)
from dfqgen.statistics.channel import ChannelStatistics

MAX_SHIFT = 16
LARGEST_LOG = 2.0**29
"""Of the logarithm of a sum, where inputs or outputs are int16."""


@dataclass(frozen=True, slots=True, eq=False)
class LogSoftmax(AlongAxis):
    """x - log(sum(exp(x))) over `axis` (counted from the front)."""

    axis: int

    reads_scores: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0] - inputs[0].max(axis=self.axis, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=self.axis, keepdims=True))

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """x minus its maximum, about: never positive, as wide as the largest difference of two elements."""
        x = inputs[0]
        mean, variance = x.moments()
        lo, hi = x.interval(6.0)
        top = float(hi.max())
        deepest = float(lo.min()) - top - math.log(shapes[0][self.axis])
        return ChannelStatistics.normal(mean - top, np.sqrt(variance), deepest, 0.0)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output.qtype
        if not x.qtype.dtype is y.dtype is IntType.INT8:
            return (self._wide(site),)
        bits, table = exponentials(x.qtype.scale, x.shape[self.axis])
        factor = x.qtype.scale / y.scale
        shift = min(MAX_SHIFT, 15 - math.frexp(factor)[1])
        if math.floor(factor * 2.0**shift + 0.5) >= 1 << 15:
            shift -= 1
        if shift < 1:
            raise ProgramError(f"{site.name}: the input's scale is over 2**14 times the output's")
        one = 2.0**shift / y.scale
        logs = np.log1p((np.arange(256) + 0.5) / 256) * one
        return (
            QLogSoftmax(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                axis=self.axis,
                table=table,
                bits=bits,
                multiplier=math.floor(factor * 2.0**shift + 0.5),
                logs=np.floor(logs + 0.5).astype(np.int32),
                log_two=math.floor(math.log(2.0) * one + 0.5),
                shift=shift,
                zero_point=y.zero_point,
            ),
        )

    def _wide(self, site: Site) -> QWideLogSoftmax:
        """Between any types."""
        x, y = site.inputs[0], site.output.qtype
        bits, coarse, fine = wide_exponentials(x.qtype, x.shape[self.axis])
        factor = x.qtype.scale / y.scale
        room = math.floor(math.log2(LARGEST_LOG * y.scale / ((31 - bits) * math.log(2.0))))
        shift = min(MAX_SHIFT, 14 - math.frexp(factor)[1], room)
        if math.floor(factor * 2.0**shift + 0.5) >= 1 << 14:
            shift -= 1
        if shift < 1:
            raise ProgramError(f"{site.name}: the scales of input and output are too far apart")
        one = 2.0**shift / y.scale
        return QWideLogSoftmax(
            name=site.name,
            inputs=site.input_names,
            output=site.output.name,
            axis=self.axis,
            coarse=coarse,
            fine=fine,
            bits=bits,
            multiplier=math.floor(factor * 2.0**shift + 0.5),
            logs=np.floor(np.log1p(np.arange(257) / 256) * one + 0.5).astype(np.int32),
            log_two=math.floor(math.log(2.0) * one + 0.5),
            shift=shift,
            zero_point=y.zero_point,
            lo=y.dtype.minimum,
            hi=y.dtype.maximum,
        )


@dataclass(frozen=True, slots=True, eq=False)
class QLogSoftmax(QOp):
    """clamp(zero_point + (((x - max) * multiplier - log + half) >> shift)), clamped to int8.

    sum = sum of table[max - x] (table int32 [256], 2**bits at 0); with k its highest bit and f the eight
    bits below: log = logs[f] + (k - bits) * log_two. half = 2**(shift - 1). All of it in units of the
    output's scale / 2**shift.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    table: Array
    bits: int
    multiplier: int
    logs: Array
    log_two: int
    shift: int
    zero_point: int

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        below = x - x.max(axis=self.axis, keepdims=True)
        total = self.table.astype(np.int64)[-below].sum(axis=self.axis, keepdims=True)
        highest = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
        following = ((total << (31 - highest)) >> 23) & 255
        log = self.logs.astype(np.int64)[following] + (highest - self.bits) * self.log_two
        acc = below * self.multiplier - log + (1 << (self.shift - 1))
        return np.clip(self.zero_point + (acc >> self.shift), -128, 127)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape or {x.qtype.dtype, output.qtype.dtype} != {IntType.INT8}:
            raise ProgramError(f"{self.name}: {x} -> {output} is not an int8 log-softmax")
        check_axis(self.name, self.axis, x)
        check_within(self.name, "the number of bits", self.bits, 0, 30)
        check_exponentials(self.name, self.table, x.shape[self.axis])
        if int(self.table[0]) != 1 << self.bits:
            raise ProgramError(f"{self.name}: the exponential of 0 is {self.table[0]}, not {1 << self.bits}")
        check_shape(self.name, "the table of logarithms", self.logs, (256,))
        check_within(self.name, "the shift", self.shift, 1, LARGEST_SHIFT)
        check_zero_point(self.name, self.zero_point, output.qtype)
        # The sum's highest bit lies between `bits` and 31.
        log = int(np.abs(self.logs.astype(np.int64)).max()) + (31 - self.bits) * abs(self.log_two)
        check_reach(self.name, "a logarithm", 255 * abs(self.multiplier) + log + (1 << (self.shift - 1)))

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes + self.logs.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class QWideLogSoftmax(OneClamp, QOp):
    """clamp(zero_point + ((x - max) * multiplier - log + half >> shift), lo, hi), int8 or int16 each.

    sum = sum of the exponentials of max - x, as in QWideSoftmax, 2**bits at 0. With k its highest bit, f the
    eight bits below and g the eight below those:
    log = logs[f] + ((logs[f + 1] - logs[f]) * g + 128 >> 8) + (k - bits) * log_two; logs int32 [257].
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    axis: int
    coarse: Array
    fine: Array
    bits: int
    multiplier: int
    logs: Array
    log_two: int
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        below = x - x.max(axis=self.axis, keepdims=True)
        total = fallen(self.coarse, self.fine, -below).sum(axis=self.axis, keepdims=True)
        highest = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
        mantissa = total << (31 - highest)
        place, part = (mantissa >> 23) & 255, (mantissa >> 15) & 255
        logs = self.logs.astype(np.int64)
        log = logs[place] + (((logs[place + 1] - logs[place]) * part + 128) >> 8)
        acc = below * self.multiplier - log - (highest - self.bits) * self.log_two
        return np.clip(self.zero_point + ((acc + (1 << (self.shift - 1))) >> self.shift), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape:
            raise ProgramError(f"{self.name}: {x} -> {output} is not of one shape")
        check_axis(self.name, self.axis, x)
        check_within(self.name, "the number of bits", self.bits, 0, 30)
        largest = check_wide_exponentials(self.name, self.coarse, self.fine, x, x.shape[self.axis])
        if largest != 1 << self.bits:
            raise ProgramError(f"{self.name}: the exponential of 0 is {largest}, not {1 << self.bits}")
        check_shape(self.name, "the table of logarithms", self.logs, (257,))
        check_within(self.name, "the shift", self.shift, 1, LARGEST_SHIFT)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        logs = self.logs.astype(np.int64)
        check_reach(self.name, "a step of the logarithms", int(np.abs(np.diff(logs)).max()) * 255 + 128)
        # The sum's highest bit lies between `bits` and 31; a line lies between its ends.
        log = int(np.abs(logs).max()) + (31 - self.bits) * abs(self.log_two)
        distance = x.qtype.dtype.maximum - x.qtype.dtype.minimum
        worst = distance * abs(self.multiplier) + log + (1 << (self.shift - 1))
        check_reach(self.name, "a logarithm", worst)

    @property
    def weight_bytes(self) -> int:
        return self.coarse.nbytes + self.fine.nbytes + self.logs.nbytes
