"""What kinds of operators have in common: how they stand to transposes, reshapes and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.rows import RowWindow, same_rows
from dfqgen.graph.ir import Array, Op, Shape


class OneClamp:
    """Mixed into an integer operator that clamps to its fields `lo` and `hi`, all channels alike."""

    __slots__ = ()
    lo: int
    hi: int

    @property
    def clamp(self) -> tuple[Array, Array]:
        return np.array([self.lo]), np.array([self.hi])


class RowForRow:
    """Mixed into an integer operator that makes each output row from the same row of its inputs."""

    __slots__ = ()

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        return same_rows(output.shape, *(x.shape for x in inputs))


AxisOp = TypeVar("AxisOp", bound="AlongAxis")


class SamePlace(Op):
    """Works element by element, everywhere alike: no axis means anything to it."""

    @property
    def pointwise(self) -> bool:
        return True

    def transposed(self, permutation: tuple[int, ...]) -> Op:
        return self

    def reshaped(self, before: Shape, after: Shape) -> Op:
        return self


class Broadcasting(SamePlace):
    """Of two tensors, one of which may be broadcast to the other as numpy does; int8 and int16 in any mix."""

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def infer_shape(self, *shapes: Shape) -> Shape:
        return broadcast_shape(*shapes)


def broadcast_shape(*shapes: Shape) -> Shape:
    """The common shape of tensors of one rank; ValueError when there is none."""
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"{shapes[0]} and {shapes[1]} differ in rank")
    return np.broadcast_shapes(*shapes)


class AlongAxis(Op):
    """Works along one `axis`, a field."""

    axis: int

    def transposed(self, permutation: tuple[int, ...]) -> Op:
        return replace(self, axis=permutation[self.axis])  # type: ignore[type-var]

    def reshaped(self, before: Shape, after: Shape) -> Op | None:
        return None


class PerChannel(Op):
    """Works element by element with parameters [C] along the last axis; all arrays in its fields are such.

    With parameters of one element everywhere, where `shares_parameters`, no axis means anything to it.
    """

    shares_parameters: ClassVar[bool] = False

    def parameters(self) -> dict[str, Array]:
        """The parameters by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    def per_channel(self) -> bool:
        """Whether channels may differ."""
        return not self.shares_parameters or max(v.size for v in self.parameters().values()) > 1

    @property
    def pointwise(self) -> bool:
        return not self.per_channel

    def transposed(self, permutation: tuple[int, ...]) -> Op | None:
        last = len(permutation) - 1
        return self if not self.per_channel or permutation[last] == last else None

    def reshaped(self, before: Shape, after: Shape) -> Op | None:
        """A reshape that splits the last axis: channel c after it was c, c + C, c + 2 C, ... before."""
        times, rest = divmod(before[-1], after[-1])
        if not self.per_channel or (times == 1 and not rest):
            return self
        if rest:
            return None
        return self._with({n: np.tile(v, times) for n, v in self.parameters().items() if v.size == after[-1]})

    def selected(self, channels: Array) -> Op:
        return self._with({n: v[channels] for n, v in self.parameters().items() if v.size > 1})

    def _with(self, parameters: dict[str, Any]) -> Op:
        return replace(self, **parameters)  # type: ignore[type-var]
