"""Several element-wise operators of one tensor as one function, and so one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import SamePlace
from dfqgen.ops.lookup import lookup
from dfqgen.statistics.channel import ChannelStatistics


class Step(NamedTuple):
    """One operator inside; input 0 is the whole function's, input k the result of step k - 1."""

    op: Op
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise(SamePlace):
    """A function of each element, computed in steps: x * sigmoid(x), 0.5 x (1 + erf(x / 1.414)), ..."""

    steps: tuple[Step, ...]

    fuses_clip: ClassVar[bool] = True
    converts: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def output_type(self, dtype: IntType = IntType.INT8) -> QType | None:
        return self.steps[-1].op.output_type(dtype)

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        values = [inputs[0]]
        for step in self.steps:
            values.append(step.op.evaluate(*(values[i] for i in step.inputs)))
        return values[-1]

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Moments by quadrature: exact about how the steps depend on each other."""
        return inputs[0].transform(self.evaluate)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, self.evaluate),)
