"""Depthwise convolutions on the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.matmul import (
    Rows,
    bounds_code,
    is_int8_layer,
    round_up,
    rows_of,
)
from dfqgen.kernels.packing import wrap_int32
from dfqgen.kernels.portable.conv import conv_title
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa


class Depthwise3x3S8S8DspKernel(Kernel[QConv2D]):
    """3x3, stride 1: two rows of outputs from vertical pairs of all channels, in place."""

    op = QConv2D
    function = "dfq_depthwise3x3_s8s8_dsp"
    header = "dsp/dfq_depthwise3x3_s8s8_dsp.h"
    isa = Isa.DSP
    rows_at_once = 0  # every pair of rows is made once, for the two blocks it is part of
    stride: ClassVar[int] = 1

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        shape = op.depthwise and op.kernel == (3, 3) and op.dilation == (1, 1)
        plain = is_int8_layer(op, inputs[0], output) and op.stride == (self.stride, self.stride)
        return shape and plain and rows_of(op).pre_shift == 0

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        x = inputs[0]
        form = op.requantize
        bounds = bounds_code(form.lo, form.hi)
        stream = pack_depthwise3x3(rows_of(op))
        fields = (
            Field("stream", "weight"),
            Field("in_height", x.shape[1]),
            Field("in_width", x.shape[2]),
            Field("channels", x.shape[3]),
            Field("out_height", output.shape[1]),
            Field("out_width", output.shape[2]),
            Field("pad_top", op.pads.top),
            Field("pad_left", op.pads.left),
            Field("pad_value", op.pad_value),
            Field("zero_point", form.zero_point),
            *bounds.fields,
        )
        array = ConstArray("weight", stream, "a channel: three filter columns, multiplier, bias")
        return LayerCode(
            self.function, "dfq_depthwise3x3_s8s8_dsp_t", conv_title(op), fields, (array, *bounds.arrays)
        )

    def columns(self, output: QTensor) -> int:
        return (output.shape[2] - 1) * self.stride + 3

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 8 * self.columns(output) * round_up(op.out_channels, 4)

    def overlap_blocks(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Array, Array, bool]:
        """Arguments of overlap.block_lead_bytes: first reads, blocks, whether they are read before written.

        Before rows r and r + 1 are written, all input rows up to r + 3 - pad_top are in scratch.
        """
        image, outputs = x.shape[1:3], output.shape[1:3]
        rows = np.arange(outputs[0]) // 2 * 2
        # The first rows are read by the block of row 0 alone, the others by the first block that wants them.
        first = np.where(rows == 0, 0, np.clip(rows + 2 - op.pads.top, 0, image[0] - 1))
        return np.repeat(first * image[1], outputs[1]), np.repeat(rows, outputs[1]), True

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        reads, blocks, block_first = self.overlap_blocks(op, inputs[0], output)
        channels = op.out_channels
        return overlap.block_lead_bytes(reads, blocks, channels, channels, reads_block_first=block_first)


class Depthwise3x3SlicesS8S8DspKernel(Depthwise3x3S8S8DspKernel):
    """3x3, stride 1: two rows of outputs, four channels at a time."""

    function = "dfq_depthwise3x3_slices_s8s8_dsp"
    rows_at_once = 2
    over_window = True  # all rows of four channels are in scratch before outputs are written

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 8 * self.columns(output) * 4

    def overlap_blocks(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Array, Array, bool]:
        """Within a pair of rows, four channels are written before the next four are read."""
        image, outputs = x.shape[1:3], output.shape[1:3]
        pairs = np.arange(outputs[0]) // 2 * 2
        first = np.clip(pairs - op.pads.top, 0, image[0] - 1)
        return np.repeat(first * image[1], outputs[1]), np.repeat(pairs, outputs[1]), False


class Depthwise3x3Stride2S8S8DspKernel(Depthwise3x3S8S8DspKernel):
    """3x3, stride 2: a row of outputs, four channels at a time."""

    function = "dfq_depthwise3x3_stride2_s8s8_dsp"
    rows_at_once = 1
    over_window = True
    stride = 2

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 8 * self.columns(output) * 4

    def overlap_blocks(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Array, Array, bool]:
        """Within a row, four channels are written before the next four are read."""
        image, outputs = x.shape[1:3], output.shape[1:3]
        return overlap.window_first_reads(image, outputs, op.stride, op.pads), overlap.rows(outputs), False


def pack_depthwise3x3(rows: Rows) -> Array:
    """Five words int32 a channel, as the header describes."""
    columns = rows.weight.reshape(-1, 3, 3).transpose(0, 2, 1)[:, :, [0, 1, 1, 2]]
    words = np.ascontiguousarray(columns.astype(np.int8)).view("<i4").reshape(-1, 3)
    tail = np.stack([wrap_int32(rows.multiplier), wrap_int32(rows.bias)], axis=1)
    return np.concatenate([words, tail], axis=1).reshape(-1)


for _kernel in (
    Depthwise3x3S8S8DspKernel(),
    Depthwise3x3SlicesS8S8DspKernel(),
    Depthwise3x3Stride2S8S8DspKernel(),
):
    REGISTRY.add(_kernel)
