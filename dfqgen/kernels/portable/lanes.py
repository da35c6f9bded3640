"""Portable kernels along one axis: QArgMax, QLogSoftmax, QLpNormalize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, OpT
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.ops.argmax import QArgMax
from dfqgen.ops.log_softmax import QLogSoftmax
from dfqgen.ops.normalize import QLpNormalize


def lanes_field(shape: Sequence[int], axis: int) -> Field:
    """The `dfq_lanes_t` of an axis."""
    return Field(
        "lanes",
        (
            Field("outer", int(np.prod(shape[:axis]))),
            Field("size", shape[axis]),
            Field("inner", int(np.prod(shape[axis + 1 :]))),
        ),
    )


class LaneS8Kernel(Kernel[OpT]):
    """One lane after the other. A contiguous lane may be overwritten: its last reads come first."""

    header = "portable/dfq_lanes_s8.h"

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output)

    def work(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> Work:
        axis: int = op.axis  # type: ignore[attr-defined]
        return super().work(op, inputs, output) | {"lane": inputs[0].elements / inputs[0].shape[axis]}

    def overlap_lead_bytes(
        self, op: OpT, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        axis: int = op.axis  # type: ignore[attr-defined]
        return 0 if int(np.prod(inputs[0].shape[axis + 1 :])) == 1 else None


class ArgMaxS8Kernel(LaneS8Kernel[QArgMax]):
    """Position of the largest element."""

    op = QArgMax
    function = "dfq_arg_max_s8"

    def code(self, op: QArgMax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_arg_max_s8_t",
            title="position of the smallest" if op.minimum else "position of the largest",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                Field("minimum", int(op.minimum)),
                Field("last", int(op.last)),
            ),
        )


class LogSoftmaxS8Kernel(LaneS8Kernel[QLogSoftmax]):
    """Exponentials and logarithms from tables."""

    op = QLogSoftmax
    function = "dfq_log_softmax_s8"

    def code(self, op: QLogSoftmax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_log_softmax_s8_t",
            title="log-softmax",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                Field("table", "table"),
                Field("logs", "logs"),
                Field("bits", op.bits),
                Field("multiplier", op.multiplier),
                Field("log_two", op.log_two),
                Field("shift", op.shift),
                Field("zero_point", op.zero_point),
            ),
            arrays=(
                ConstArray("table", op.table.astype("int32")),
                ConstArray("logs", op.logs.astype("int32")),
            ),
        )


class LpNormalizeS8Kernel(LaneS8Kernel[QLpNormalize]):
    """Division by the length."""

    op = QLpNormalize
    function = "dfq_lp_normalize_s8"

    def code(self, op: QLpNormalize, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_lp_normalize_s8_t",
            title=f"L{op.p} normalization",
            fields=(
                lanes_field(inputs[0].shape, op.axis),
                Field("p", op.p),
                Field("zero_point", op.input_zero_point),
            ),
        )


REGISTRY.add(ArgMaxS8Kernel())
REGISTRY.add(LogSoftmaxS8Kernel())
REGISTRY.add(LpNormalizeS8Kernel())
