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
from dfqgen.ops.families import PerChannel, SamePlace
from dfqgen.ops.functions import FUNCTIONS, SYMMETRIC_UNIT, UNIT_INTERVAL
from dfqgen.ops.softmax import PROBABILITY
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
class QLookup(QOp):
    """table[x + 128], x int8; table int8 [256]."""

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
        check_int8(self.name, x, output)
        check_shape(self.name, "the table", self.table, (256,))
        lowest, highest = IntType.INT8.minimum, IntType.INT8.maximum
        check_within(self.name, "an entry of the table", self.table, lowest, highest)

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes


def lookup(site: Site, function: Callable[[Array], Array]) -> QLookup:
    """The table of a real function between the site's input and output types, its clip included."""
    q = np.arange(-128, 128, dtype=np.int8)
    real = function(site.inputs[0].qtype.dequantize(q).astype(np.float64))
    real = np.clip(real, float(np.max(site.clip[0])), float(np.min(site.clip[1])))
    return QLookup(site.name, site.input_names, site.output.name, site.output.qtype.quantize(real))


# [-1, 127/128].
SYMMETRIC = QType(IntType.INT8, 1.0 / 128.0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise(SamePlace):
    """A named function of each element (see FUNCTIONS), with its one parameter."""

    function: str
    parameter: float = 0.0

    fuses_clip: ClassVar[bool] = True

    def output_type(self) -> QType | None:
        if self.function in UNIT_INTERVAL:
            return PROBABILITY
        return SYMMETRIC if self.function in SYMMETRIC_UNIT else None

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return FUNCTIONS[self.function](inputs[0], self.parameter).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Moments by quadrature over the normal; bounds are the function's extremes over the input's."""
        return inputs[0].transform(lambda x: FUNCTIONS[self.function](x, self.parameter))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, lambda x: FUNCTIONS[self.function](x, self.parameter)),)
