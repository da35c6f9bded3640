"""Scaling and shifting by constants: an Add, Sub, Mul or Div whose other side is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import PerChannel
from dfqgen.ops.lookup import lookup
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Affine(PerChannel):
    """scale * x + shift with scale, shift float64 [1] or, on the last axis, [C].

    Most fold into a layer beside them. The frontend turns those per channel that are left into
    depthwise convolutions; only one for the whole tensor is lowered, to a table.
    """

    scale: Array
    shift: Array

    folds_into_layer: ClassVar[bool] = True
    shares_parameters: ClassVar[bool] = True

    def is_identity(self, shape: Shape) -> bool:
        return bool(np.all(self.scale == 1.0) and np.all(self.shift == 0.0))

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        for parameter in (self.scale, self.shift):
            if parameter.shape not in ((1,), (shapes[0][-1],)):
                raise ValueError(f"{shapes[0][-1]} channels meet {parameter.size} parameters")
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return (inputs[0] * self.scale + self.shift).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        return inputs[0].scale_shift(self.scale, self.shift)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        if self.per_channel:
            raise ProgramError(f"{site.name}: scaling per channel must be folded before lowering")
        return (lookup(site, self.evaluate),)
