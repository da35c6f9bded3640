"""Element-wise functions of one tensor: a clip, or a 256-entry table of anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_int8, check_shape, check_within
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import PerChannel, RowForRow, SamePlace
from dfqgen.ops.functions import FUNCTIONS, HOMOGENEOUS, SYMMETRIC_UNIT, UNIT_INTERVAL
from dfqgen.ops.softmax import probability
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Clip(PerChannel):
    """min(max(x, lo), hi) with lo, hi [1] or [C]: ReLU is (0, inf), ReLU6 (0, 6).

    Equalization gives every channel its own upper bound (`hi` [C]).
    """

    lo: Array
    hi: Array

    folds_into_layer: ClassVar[bool] = True
    shares_parameters: ClassVar[bool] = True

    @classmethod
    def of(cls, lo: float, hi: float) -> Clip:
        return cls(np.array([lo], np.float64), np.array([hi], np.float64))

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        return np.clip(x, self.lo.astype(x.dtype), self.hi.astype(x.dtype))

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return inputs[0].clip(self.lo, self.hi)

    def is_identity(self, shape: Shape) -> bool:
        return bool(np.all(self.lo == -np.inf) and np.all(self.hi == np.inf))

    def scaled(self, factor: Array, before: Shape) -> Clip:
        """Bounds 0 and infinity stay shared; others become one a channel, which only a layer can apply."""

        def bound(values: Array) -> Array:
            if values.size == 1 and (values[0] == 0.0 or np.isinf(values[0])):
                return values
            return values * factor

        return Clip(bound(self.lo), bound(self.hi))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        if self.per_channel:
            raise ProgramError(f"{site.name}: a clip per channel must follow a layer that can absorb it")
        return (lookup(site, self.evaluate),)


@dataclass(frozen=True, slots=True, eq=False)
class QLookup(RowForRow, QOp):
    """table[x + 128], x int8; table [256] of the output's type."""

    name: str
    inputs: tuple[str, ...]
    output: str
    table: Array

    def evaluate(self, *inputs: Array) -> Array:
        return self.table[inputs[0].astype(np.int64) + 128]

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.shape != output.shape:
            raise ProgramError(f"{self.name}: {x} -> {output} is not of one shape")
        check_int8(self.name, x)
        check_shape(self.name, "the table", self.table, (256,))
        types = output.qtype.dtype
        check_within(self.name, "an entry of the table", self.table, types.minimum, types.maximum)

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class QInterpolate(RowForRow, QOp):
    """A function of int16 by straight lines between the entries of a table, rounded once.

    table int16 [2**n + 1], its entries 2**(16 - n) inputs apart, the first at -32768. With i the entry below
    x and f = x's distance from it: (table[i] * 2**(16 - n) + (table[i + 1] - table[i]) * f + half) >> shift.
    Entries are in steps of an int16 output (shift 16 - n), or in 256ths of steps of an int8 one (24 - n).
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    table: Array
    shift: int

    @property
    def fraction_bits(self) -> int:
        """log2 of the inputs from entry to entry."""
        return 16 - int(len(self.table) - 1).bit_length() + 1

    def evaluate(self, *inputs: Array) -> Array:
        place = inputs[0].astype(np.int64) + 32768
        index, fraction = place >> self.fraction_bits, place & ((1 << self.fraction_bits) - 1)
        table = self.table.astype(np.int64)
        line = (table[index] << self.fraction_bits) + (table[index + 1] - table[index]) * fraction
        return (line + (1 << (self.shift - 1))) >> self.shift

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        """A line lies between its ends, so no sum leaves 32 bits and no result the type of the entries."""
        (x,) = inputs
        if x.shape != output.shape or x.qtype.dtype is not IntType.INT16:
            raise ProgramError(f"{self.name}: {x} -> {output} is not int16 and of one shape")
        size = len(self.table)
        if size - 1 not in (1 << n for n in range(1, 16)):
            raise ProgramError(f"{self.name}: the table's {size} entries are not 2^n + 1")
        check_shape(self.name, "the table", self.table, (size,))
        lowest, highest = IntType.INT16.minimum, IntType.INT16.maximum
        if output.qtype.dtype is IntType.INT8:
            highest -= 128  # the largest that rounds to 127
        check_within(self.name, "an entry of the table", self.table, lowest, highest)
        check_within(
            self.name, "the shift", self.shift, *[self.fraction_bits + 16 - output.qtype.dtype.bits] * 2
        )

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes


SEGMENTS = (7, 8, 9, 10)
"""log2 of the pieces that a function of int16 may be cut into: tables of 258 bytes to 2 KB."""
LARGEST_BEND = 4
"""Steps of int16 that straight lines may be off, 1/64 of a step of int8; the largest table may be more."""


def lookup(site: Site, function: Callable[[Array], Array]) -> QLookup | QInterpolate:
    """The table of a real function between the site's input and output types, its clip included."""
    x, y = site.inputs[0].qtype, site.output.qtype
    lowest, highest = float(np.max(site.clip[0])), float(np.min(site.clip[1]))

    def real(q: Array) -> Array:
        return np.clip(function((q.astype(np.float64) - x.zero_point) * x.scale), lowest, highest)

    if x.dtype is IntType.INT8:
        q = np.arange(-128, 128, dtype=np.int8)
        reals = np.clip(function(x.dequantize(q).astype(np.float64)), lowest, highest)
        return QLookup(site.name, site.input_names, site.output.name, y.quantize(reals))
    finer = 1 << (16 - y.dtype.bits)
    top = IntType.INT16.maximum - (128 if y.dtype is IntType.INT8 else 0)

    def steps(q: Array) -> Array:
        """Entries before rounding, for these inputs."""
        return np.clip((real(q) / y.scale + y.zero_point) * finer, IntType.INT16.minimum, top)

    every = np.arange(-32768, 32768)
    exact = steps(every)
    for bits in SEGMENTS:
        nodes = np.arange(0, 65537, 1 << (16 - bits)) - 32768
        entries = steps(nodes)
        if np.abs(np.interp(every, nodes, entries) - exact).max() <= LARGEST_BEND:
            break
    table = np.floor(entries + 0.5).astype(np.int16)
    shift = 16 - bits + 16 - y.dtype.bits
    return QInterpolate(site.name, site.input_names, site.output.name, table, shift)


def symmetric(dtype: IntType) -> QType:
    """[-1, 1) of so many bits."""
    return QType(dtype, 2.0 ** (1 - dtype.bits), 0)


# [-1, 127/128].
SYMMETRIC = symmetric(IntType.INT8)


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise(SamePlace):
    """A named function of each element (see FUNCTIONS), with its one parameter."""

    function: str
    parameter: float = 0.0

    fuses_clip: ClassVar[bool] = True
    converts: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def output_type(self, dtype: IntType = IntType.INT8) -> QType | None:
        if self.function in UNIT_INTERVAL:
            return probability(dtype)
        return symmetric(dtype) if self.function in SYMMETRIC_UNIT else None

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return FUNCTIONS[self.function](inputs[0], self.parameter).astype(inputs[0].dtype)

    def scaled(self, factor: Array, before: Shape) -> Elementwise | None:
        return self if self.function in HOMOGENEOUS else None

    def selected(self, channels: Array) -> Elementwise:
        return self

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Moments by quadrature over the normal; bounds are the function's extremes over the input's."""
        return inputs[0].transform(lambda x: FUNCTIONS[self.function](x, self.parameter))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, lambda x: FUNCTIONS[self.function](x, self.parameter)),)
