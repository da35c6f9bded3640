"""Portable kernels of QAveragePool and QMaxPool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, Field, Kernel, LayerCode, channel_array
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.kernels.requantize import bounds_code
from dfqgen.ops.pool import QAveragePool, QMaxPool


def windows_field(
    op: QAveragePool | QMaxPool, x: QTensor, output: QTensor, dilation: tuple[int, int] = (1, 1)
) -> Field:
    """The `dfq_windows_t` of a pooling layer."""
    return Field(
        "windows",
        (
            Field("in_height", x.shape[1]),
            Field("in_width", x.shape[2]),
            Field("channels", x.shape[3]),
            Field("out_height", output.shape[1]),
            Field("out_width", output.shape[2]),
            Field("kernel_height", op.kernel[0]),
            Field("kernel_width", op.kernel[1]),
            Field("stride_y", op.stride[0]),
            Field("stride_x", op.stride[1]),
            Field("dilation_y", dilation[0]),
            Field("dilation_x", dilation[1]),
            Field("pad_top", op.pads.top),
            Field("pad_left", op.pads.left),
        ),
    )


def pool_lead_bytes(op: QAveragePool | QMaxPool, x: QTensor, output: QTensor) -> int:
    """Output byte p * C + c is written before channel c + 1 of pixel p, or any later pixel, is read."""
    reads = overlap.window_first_reads(x.shape[1:3], output.shape[1:3], op.stride, op.pads)
    lowest = np.minimum.accumulate(reads[::-1])[::-1]
    return max(0, int(np.max(np.arange(len(lowest)) - lowest)) * x.shape[3])


class AveragePoolS8Kernel(Kernel[QAveragePool]):
    """Mean of each window."""

    op = QAveragePool
    function = "dfq_average_pool_s8"
    header = "portable/dfq_pool_s8.h"

    def supports(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output)

    def code(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        bounds, arrays = bounds_code(op.lo, op.hi)
        multipliers = op.multiplier.reshape(-1)
        if np.all(multipliers == multipliers[0]):
            factor = Field("multiplier", int(multipliers[0]))
        else:
            factor = Field("multipliers", "multipliers")
            arrays += (channel_array("multipliers", multipliers, "int32", "one for each output pixel"),)
        global_pool = op.kernel == inputs[0].shape[1:3] and output.shape[1:3] == (1, 1)
        return LayerCode(
            function=self.function,
            struct="dfq_average_pool_s8_t",
            title="global average" if global_pool else f"{op.kernel[0]}x{op.kernel[1]} average pooling",
            fields=(
                windows_field(op, inputs[0], output),
                factor,
                Field("pre_shift", op.pre_shift),
                Field("in_zero_point", op.input_zero_point),
                Field("out_zero_point", op.zero_point),
                *bounds,
                *((Field("even_count", op.even_count),) if op.even_count else ()),
            ),
            arrays=arrays,
        )

    def overlap_lead_bytes(
        self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return pool_lead_bytes(op, inputs[0], output)


class MaxPoolS8Kernel(Kernel[QMaxPool]):
    """Largest of each window."""

    op = QMaxPool
    function = "dfq_max_pool_s8"
    header = "portable/dfq_pool_s8.h"

    def supports(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output)

    def code(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_max_pool_s8_t",
            title=f"{op.kernel[0]}x{op.kernel[1]} maximum pooling",
            fields=(windows_field(op, inputs[0], output, op.dilation),),
        )

    def overlap_lead_bytes(
        self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return pool_lead_bytes(op, inputs[0], output)


REGISTRY.add(AveragePoolS8Kernel())
REGISTRY.add(MaxPoolS8Kernel())
