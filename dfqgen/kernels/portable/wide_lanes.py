"""Portable kernels along one axis with int16 on at least one side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, OpT
from dfqgen.kernels.portable.lanes import LaneS8Kernel, lanes_field
from dfqgen.kernels.portable.wide import ACTIVATIONS, any_wide, in_order_lead, is_wide, types_title
from dfqgen.ops.argmax import QArgMax
from dfqgen.ops.log_softmax import QWideLogSoftmax
from dfqgen.ops.normalize import QWideLpNormalize
from dfqgen.ops.softmax import QWideSoftmax


class LaneS16Kernel(LaneS8Kernel[OpT]):
    """One lane after the other."""

    header = "portable/dfq_lanes_s16.h"

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return any_wide(*inputs, output)

    def overlap_lead_bytes(
        self, op: OpT, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        axis: int = op.axis  # type: ignore[attr-defined]
        contiguous = int(np.prod(inputs[0].shape[axis + 1 :])) == 1
        whole = inputs[0].shape == output.shape and not is_wider(output, inputs[0])
        return in_order_lead(inputs[0], output) if contiguous and whole else None

    def ends(self, inputs: Sequence[QTensor], output: QTensor) -> tuple[Field, ...]:
        """Members that tell the types."""
        return Field("in_wide", int(is_wide(inputs[0]))), Field("out_wide", int(is_wide(output)))


def is_wider(a: QTensor, b: QTensor) -> bool:
    """Whether a's elements have more bits than b's."""
    return a.qtype.dtype.bits > b.qtype.dtype.bits


class ArgMaxS16Kernel(LaneS16Kernel[QArgMax]):
    """Position of the largest element."""

    op = QArgMax
    function = "dfq_arg_max_s16"

    def code(self, op: QArgMax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        which = "smallest" if op.minimum else "largest"
        return LayerCode(
            function=self.function,
            struct="dfq_arg_max_s16_t",
            title=f"position of the {which}, {types_title(inputs[0], output)}",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                Field("minimum", int(op.minimum)),
                Field("last", int(op.last)),
                *self.ends(inputs, output),
            ),
        )


EXPONENTIALS = Field("exponentials", (Field("coarse", "coarse"), Field("fine", "fine")))


def exponential_arrays(op: QWideSoftmax | QWideLogSoftmax) -> tuple[ConstArray, ...]:
    """The two tables of exponentials."""
    return (
        ConstArray("coarse", op.coarse.astype("int32"), "exponentials of distances 0, 256, 512 ..."),
        ConstArray("fine", op.fine.astype("int32"), "exponentials of distances 0, 1, 2 ..."),
    )


class SoftmaxS16Kernel(LaneS16Kernel[QWideSoftmax]):
    """Exponentials from two tables, one division a lane; int8 alone too, of whatever scale."""

    op = QWideSoftmax
    function = "dfq_softmax_s16"

    def supports(self, op: QWideSoftmax, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return all(tensor.qtype.dtype in ACTIVATIONS for tensor in (*inputs, output))

    def code(self, op: QWideSoftmax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_softmax_s16_t",
            title=f"softmax, {types_title(inputs[0], output)}",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                EXPONENTIALS,
                Field("levels", op.levels),
                Field("zero_point", op.zero_point),
                Field("hi", op.hi),
                *self.ends(inputs, output),
            ),
            arrays=exponential_arrays(op),
        )


class LogSoftmaxS16Kernel(LaneS16Kernel[QWideLogSoftmax]):
    """Exponentials and logarithms from tables."""

    op = QWideLogSoftmax
    function = "dfq_log_softmax_s16"

    def code(self, op: QWideLogSoftmax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        names = ("bits", "multiplier", "log_two", "shift", "zero_point", "lo", "hi")
        return LayerCode(
            function=self.function,
            struct="dfq_log_softmax_s16_t",
            title=f"log-softmax, {types_title(inputs[0], output)}",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                EXPONENTIALS,
                Field("logs", "logs"),
                *(Field(name, int(getattr(op, name))) for name in names),
                *self.ends(inputs, output),
            ),
            arrays=(*exponential_arrays(op), ConstArray("logs", op.logs.astype("int32"))),
        )


class LpNormalizeS16Kernel(LaneS16Kernel[QWideLpNormalize]):
    """Division by the length, in 64 bits."""

    op = QWideLpNormalize
    function = "dfq_lp_normalize_s16"

    def code(self, op: QWideLpNormalize, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_lp_normalize_s16_t",
            title=f"L{op.p} normalization, {types_title(inputs[0], output)}",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                Field("p", op.p),
                Field("zero_point", op.input_zero_point),
                Field("one", op.one),
                *self.ends(inputs, output),
            ),
        )


_kernels: tuple[Kernel[Any], ...] = (
    ArgMaxS16Kernel(),
    SoftmaxS16Kernel(),
    LogSoftmaxS16Kernel(),
    LpNormalizeS16Kernel(),
)
for _kernel in _kernels:
    REGISTRY.add(_kernel)
