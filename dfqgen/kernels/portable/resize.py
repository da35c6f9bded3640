"""Portable kernel of QResizeLinear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.kernels.portable.wide import is_wide
from dfqgen.ops.resize import QResizeLinear


class ResizeLinearS8Kernel(Kernel[QResizeLinear]):
    """Four neighbours of each output pixel."""

    op = QResizeLinear
    function = "dfq_resize_linear_s8"
    header = "portable/dfq_resize_linear_s8.h"

    def supports(self, op: QResizeLinear, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output) and op.between == 0

    def code(self, op: QResizeLinear, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        _, _, width, channels = inputs[0].shape

        def pairs(low: Array, high: Array, pitch: int) -> Array:
            return (np.stack([low, high], axis=1) * pitch).astype(np.int32).reshape(-1)

        return LayerCode(
            function=self.function,
            struct="dfq_resize_linear_s8_t",
            title="linear resizing",
            fields=(
                *(
                    Field(role, role)
                    for role in ("row_offsets", "row_weights", "column_offsets", "column_weights")
                ),
                Field("out_height", output.shape[1]),
                Field("out_width", output.shape[2]),
                Field("channels", channels),
            ),
            arrays=(
                ConstArray("row_offsets", pairs(op.row_low, op.row_high, width * channels)),
                ConstArray("row_weights", op.row_weight.astype(np.int16)),
                ConstArray("column_offsets", pairs(op.column_low, op.column_high, channels)),
                ConstArray("column_weights", op.column_weight.astype(np.int16)),
            ),
        )


class ResizeLinearS16Kernel(ResizeLinearS8Kernel):
    """The same, rounded between the directions."""

    function = "dfq_resize_linear_s16"
    header = "portable/dfq_resize_linear_s16.h"

    def supports(self, op: QResizeLinear, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_wide(inputs[0])

    def code(self, op: QResizeLinear, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(op, inputs, output)
        return LayerCode(
            function=self.function,
            struct="dfq_resize_linear_s16_t",
            title=f"{code.title}, int16",
            fields=(*code.fields, Field("between", op.between)),
            arrays=code.arrays,
        )


REGISTRY.add(ResizeLinearS8Kernel())
REGISTRY.add(ResizeLinearS16Kernel())
