"""The arithmetic of recurrent layers: int16 states, gates' sums, sigmoid and tanh of them.

Numbers inside a layer are int16 with a binary point: a state with b bits is q * 2**-b. Sums of a gate have
12 bits; sigmoid(x) is (1 + tanh(x / 2)) / 2, so that one table serves both, and the rows of a sigmoid are
halved when their scales are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX
from dfqgen.fixedpoint.proof import (
    check_factor,
    check_reach,
    check_shape,
    check_weights,
    check_within,
    check_zero_point,
)
from dfqgen.fixedpoint.qtype import Array, IntType, QType, Requantize
from dfqgen.fixedpoint.scales import least_squares_scale, scale_factors

SUM_BITS = 12
"""Of what goes into tanh: +-8, where tanh is 1 - 2**-22."""
TANH_BITS = 15
CELL_BITS = 15
"""Most bits of a cell state: with more, the sum of two products could leave 32 bits."""
INT16 = IntType.INT16

TABLE_STEP_BITS = 6
TANH_TABLE = np.minimum(np.floor(np.tanh(np.arange(513) / 64.0) * 32768.0 + 0.5), 32767).astype(np.int16)
"""tanh at 0, 1/64 ... 8. Between two entries it is a line, at most 0.8 units away."""


def tanh(x: Array) -> Array:
    """tanh of int64 sums (int16 values, 12 bits) with 15 bits; odd."""
    table = TANH_TABLE.astype(np.int64)
    magnitude = np.minimum(np.abs(x), INT16.maximum)
    place, part = magnitude >> TABLE_STEP_BITS, magnitude & ((1 << TABLE_STEP_BITS) - 1)
    line = (table[place] << TABLE_STEP_BITS) + (table[place + 1] - table[place]) * part
    value = (line + (1 << (TABLE_STEP_BITS - 1))) >> TABLE_STEP_BITS
    return np.where(x < 0, -value, value)


def sigmoid(x: Array) -> Array:
    """(1 + tanh) / 2 of sums that were halved, 15 bits, within [0, 32767]."""
    return (tanh(x) + 32768) >> 1


def clamp16(x: Array) -> Array:
    """Saturated to int16."""
    return np.clip(x, INT16.minimum, INT16.maximum)


def rounded(x: Array, bits: int) -> Array:
    """x * 2**-bits, half up."""
    return (x + (1 << bits >> 1)) >> bits


def word_bits(reach: float) -> int:
    """The most bits with which int16 holds [-reach, reach]; at least 0."""
    return max(0, min(15, 15 - math.ceil(math.log2(max(reach, 2.0**-15)))))


@dataclass(frozen=True, slots=True, eq=False)
class GateRows:
    """Rows of weights and what makes a gate's sum of their products with a column:

    (((bias + sum weight * column) << pre_shift) * multiplier + 2**31) >> 32, unclamped.

    weight int8 [R, D] with values of weight_type, bias int32 [R], multiplier int64 [R] in [0, 2**31).
    """

    weight: Array
    bias: Array
    multiplier: Array
    pre_shift: int
    weight_type: IntType = IntType.INT8

    @property
    def rows(self) -> int:
        return int(self.weight.shape[0])

    @property
    def depth(self) -> int:
        return int(self.weight.shape[1])

    def apply(self, column: Array, part: slice = slice(None)) -> Array:
        """Sums [N, R] of columns int64 [N, D] with the rows, or a part of them."""
        # Exact: partial sums stay below 2**53.
        products = column.astype(np.float64) @ self.weight[part].T.astype(np.float64)
        acc = products.astype(np.int64) + self.bias[part]
        return ((acc << self.pre_shift) * self.multiplier[part] + (1 << 31)) >> 32

    def largest(self, dtype: IntType) -> Array:
        """Upper bound [R] of |accumulator| over all columns of a type, in any order of adding."""
        weights = np.abs(self.weight.astype(np.int64)).sum(axis=1)
        return np.abs(self.bias.astype(np.int64)) - dtype.minimum * weights

    def verify(self, name: str, what: str, rows: int, depth: int, dtype: IntType) -> Array:
        """Upper bound [R] of |result|; raises ProgramError unless constants and accumulators fit int32."""
        check_shape(name, f"{what} weights", self.weight, (rows, depth))
        check_weights(name, f"{what} weight", self.weight, self.weight_type)
        check_shape(name, f"{what} bias", self.bias, (rows,))
        check_within(name, f"a {what} bias", self.bias, -INT32_MAX, INT32_MAX)
        check_shape(name, f"{what} multipliers", self.multiplier, (rows,))
        check_factor(name, self.multiplier, self.pre_shift)
        largest = self.largest(dtype)
        check_reach(name, f"the {what} accumulator", int(largest.max()) << self.pre_shift)
        return (((largest << self.pre_shift) * self.multiplier) >> 32) + 1

    @property
    def weight_bytes(self) -> int:
        return (self.weight.size * self.weight_type.bits + 7) // 8 + 8 * self.rows


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """Between the integers of a tensor and a state's int16:

    clamp(to_zero + ((((q - from_zero) << pre_shift) * multiplier + 2**31) >> 32), lo, hi).
    """

    multiplier: int
    pre_shift: int
    from_zero: int
    to_zero: int
    lo: int
    hi: int

    @classmethod
    def between(cls, source: QType, target: QType, lo: int, hi: int) -> Conversion:
        """Of integers of one type to those of another."""
        form = Requantize.from_scale(np.array([source.scale / target.scale]), 0, 0, 0)
        return cls(int(form.multiplier[0]), form.pre_shift, source.zero_point, target.zero_point, lo, hi)

    def apply(self, q: Array) -> Array:
        """Exact integer meaning, int64."""
        product = ((q.astype(np.int64) - self.from_zero) << self.pre_shift) * self.multiplier
        return np.clip(self.to_zero + ((product + (1 << 31)) >> 32), self.lo, self.hi)

    def verify(self, name: str, source: QType, target: QType) -> None:
        """Raise ProgramError unless it stays in 32 bits, and the result in its type."""
        check_zero_point(name, self.from_zero, source)
        check_zero_point(name, self.to_zero, target)
        check_factor(name, np.asarray(self.multiplier), self.pre_shift)
        bounds, dtype = np.array([self.lo, self.hi]), target.dtype
        check_within(name, "a clamp", bounds, dtype.minimum, dtype.maximum)
        if self.lo > self.hi:
            raise ProgramError(f"{name}: a clamp's lower bound is above its upper one")
        ends = (source.dtype.minimum - self.from_zero, source.dtype.maximum - self.from_zero)
        check_reach(name, "a converted state", max(map(abs, ends)) << self.pre_shift)


def state_type(bits: int) -> QType:
    """The type of a state with so many bits."""
    return QType(INT16, 2.0**-bits)


def to_state(x: QType, bits: int) -> Conversion:
    """From a tensor's type to a state's."""
    return Conversion.between(x, state_type(bits), INT16.minimum, INT16.maximum)


@dataclass(frozen=True, slots=True, eq=False)
class Peephole:
    """rounded(weight * c, shift), added to the sums of i, o, f: weight int16 [3, H]."""

    weight: Array
    shift: int

    @classmethod
    def of(cls, weight: Array, cell_bits: int) -> Peephole:
        """Of reals (halved) that meet a cell with so many bits."""
        largest = max(float(np.abs(weight).max()), 2.0**-20)
        # Products with 12 bits after the shift: weight * 2**(12 - cell_bits + shift) fills int16.
        shift = min(31, 15 - math.floor(math.log2(largest)) - 1 - SUM_BITS + cell_bits)
        values = np.floor(weight * 2.0 ** (SUM_BITS - cell_bits + shift) + 0.5)
        return cls(np.clip(values, -INT16.maximum, INT16.maximum).astype(np.int16), max(0, shift))

    def apply(self, gate: int, cell: Array) -> Array:
        """What a gate's sums [N, H] gain."""
        return rounded(self.weight[gate].astype(np.int64) * cell, self.shift)

    def verify(self, name: str, units: int) -> None:
        check_shape(name, "the peepholes", self.weight, (3, units))
        check_within(name, "a peephole", self.weight, -INT16.maximum, INT16.maximum)
        check_within(name, "the peepholes' shift", self.shift, 0, 30)


def input_rows(weight: Array, bias: Array, x: QType, factors: Array, weight_type: IntType) -> GateRows:
    """Rows [R, I] and bias [R] over inputs of a type; sums are multiplied by `factors` [R], with 12 bits."""
    return _rows(weight, bias, x.scale, x.zero_point, x.dtype, factors, weight_type)


def state_rows(
    weight: Array, bias: Array | None, bits: int, factors: Array, weight_type: IntType
) -> GateRows:
    """Rows [R, P] over a state with so many bits."""
    zeros = np.zeros(weight.shape[0])
    return _rows(weight, zeros if bias is None else bias, 2.0**-bits, 0, INT16, factors, weight_type)


def rounded_weight(weight: Array, weight_type: IntType) -> Array:
    """The reals that weights [R, D] become as integers, one scale a row, float64."""
    weight = weight.astype(np.float64)
    steps = _steps(weight, weight_type, np.zeros(len(weight)), 1.0)
    return steps[:, None] * _integers(weight, steps, weight_type)


WHOLE = 2.0**-10
"""How far from a whole number a weight in steps may be that is one: float32 has rounded it."""


def _counts(weight: Array, largest: Array, most: int) -> Array:
    """How many steps the largest weight of each row is, [R]: `most`, or fewer where all weights of the row
    then are whole numbers. So a model that is quantized already keeps its integers.
    """
    counts = np.full(weight.shape[0], float(most))
    open_rows = np.flatnonzero(largest > 0)
    for count in range(most, 0, -1):
        steps = weight[open_rows] * (count / largest[open_rows, None])
        whole = np.abs(steps - np.rint(steps)).max(axis=1, initial=0.0) < WHOLE
        counts[open_rows[whole]] = count
        open_rows = open_rows[~whole]
    return counts


def _steps(weight: Array, weight_type: IntType, finest: Array, idle: float) -> Array:
    """The scale of each row [R], at least `finest` [R]; of a row of zeros `idle`."""
    largest = np.abs(weight).max(axis=1)
    covering = np.where(largest > 0, largest / _counts(weight, largest, weight_type.maximum), idle)
    steps = np.maximum(covering, finest)
    return least_squares_scale(weight, steps, scale_factors(weight_type), finest, weight_type)


def _integers(weight: Array, steps: Array, weight_type: IntType) -> Array:
    """The nearest ones, symmetric, int64."""
    most = weight_type.maximum
    return np.clip(np.floor(weight / steps[:, None] + 0.5), -most, most).astype(np.int64)


# Of the accumulator a bias or the products may take each.
LARGEST_PART = 1 << 29


def _rows(
    weight: Array,
    bias: Array,
    scale: float,
    zero_point: int,
    dtype: IntType,
    factors: Array,
    weight_type: IntType,
) -> GateRows:
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    finest = np.maximum(
        np.abs(weight).sum(axis=1) * (-dtype.minimum + abs(zero_point)) / LARGEST_PART,
        np.abs(bias) / (scale * LARGEST_PART),
    )
    # A row of zeros keeps a step that its bias shows on: far below one of the sum.
    steps = _steps(weight, weight_type, finest, 2.0**-20 / scale)
    while True:
        form = Requantize.from_scale(steps * scale * factors * 2.0**SUM_BITS, 0, 0, 0)
        values = _integers(weight, steps, weight_type)
        offset = np.floor(bias / (steps * scale) + 0.5) - zero_point * values.sum(axis=1)
        rows = GateRows(
            values.astype(np.int8), offset.astype(np.int32), form.multiplier, form.pre_shift, weight_type
        )
        if np.all((rows.largest(dtype) << form.pre_shift) <= INT32_MAX):
            return rows
        steps = 2.0 * steps
