"""A function of one value of which nothing is known but its values at the integers of a type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import SamePlace
from dfqgen.ops.lookup import lookup
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Tabulated(SamePlace):
    """values[q + 128], float [256], at the nearest q of the int8 type with this scale and zero point."""

    values: Array
    scale: float
    zero_point: int = 0

    fuses_clip: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.values.shape != (256,):
            raise ValueError(f"a table of {self.values.shape} is not one of 256 values")
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        places = QType(IntType.INT8, self.scale, self.zero_point).quantize(inputs[0])
        return self.values[places.astype(np.int64) + 128].astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Moments by quadrature over the normal; bounds are the table's extremes over the input's."""
        return inputs[0].transform(self.evaluate)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, self.evaluate),)
