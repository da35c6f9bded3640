"""Rounding that the model itself states: a tensor's integer type, as an operator of the float graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Graph, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import SamePlace
from dfqgen.ops.lookup import lookup
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class FakeQuantize(SamePlace):
    """x rounded and clipped to what an integer type can represent (ONNX: QuantizeLinear, DequantizeLinear).

    It states its output's type. Where the layer before it can give that type it costs nothing
    (`quantization.stated`); elsewhere it is a change of type.
    """

    dtype: IntType
    scale: float
    zero_point: int = 0

    @classmethod
    def of(cls, qtype: QType) -> FakeQuantize:
        return cls(qtype.dtype, qtype.scale, qtype.zero_point)

    @property
    def qtype(self) -> QType:
        return QType(self.dtype, self.scale, self.zero_point)

    @property
    def pointwise(self) -> bool:
        """A function of each element, but no part of a longer one: what it gives must exist."""
        return False

    def output_type(self, dtype: IntType = IntType.INT8) -> QType | None:
        return self.qtype

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        qtype = self.qtype
        return qtype.dequantize(qtype.quantize(inputs[0])).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        lo, hi = self.qtype.real_range
        return inputs[0].clip(np.array([lo]), np.array([hi]))

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (lookup(site, lambda x: x),)


def stated_type(graph: Graph, tensor: str) -> QType | None:
    """The type that the model states of this tensor, by rounding it before anything else reads it."""
    for port in graph.inputs:
        if port.tensor == tensor and port.coding is not None:
            return port.coding.qtype
    readers = graph.consumers[tensor]
    only = readers[0].op if len(readers) == 1 else None
    return only.qtype if isinstance(only, FakeQuantize) else None
