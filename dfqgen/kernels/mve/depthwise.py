"""Depthwise convolutions on Helium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.mve.gemm import LANES, is_narrow, linear_code, round_up
from dfqgen.kernels.portable.conv import conv_title, is_int8, window_fields
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa

WORD = 4
"""Rows side by side in the strip."""
WIDE_LANES = 8
"""Channels of a vector of 16-bit products."""
COLUMN_BYTES = WORD * LANES
GROUP_BYTES = 40
"""Accumulators of eight results, and where these go."""


def pack_weight(weight: Array) -> Array:
    """weight [channels, height, width, 1] as [channels][height / 4][width][4 rows] and 4 zeros, int8."""
    channels, height, width, _ = weight.shape
    padded = np.zeros((channels, round_up(height, WORD), width), np.int8)
    padded[:, :height] = weight[..., 0]
    groups = padded.reshape(channels, -1, WORD, width).transpose(0, 1, 3, 2)
    # The kernel loads 16 bytes of 3x3 weights and uses 12.
    return np.concatenate([groups.reshape(-1), np.zeros(4, np.int8)])


class DepthwiseS8S8MveKernel(Kernel[QConv2D]):
    """Any kernel, one output row at a time.

    A pass handles the rows of `pass_units` units; the other kernels have more than one on narrow
    images, where the work for a channel's first result counts most.
    """

    op = QConv2D
    function = "dfq_depthwise_s8s8_mve"
    header = "mve/dfq_depthwise_s8s8_mve.h"
    isa = Isa.MVE
    unit_rows: ClassVar[int] = 1
    pass_groups: ClassVar[int] = 1

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type is IntType.INT8 and self.fits(op, inputs, output)

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether the function handles this shape; the width of the weights aside."""
        # Results are scattered by 16-bit distances.
        near = 7 * op.out_channels <= np.iinfo(np.uint16).max
        return is_int8(inputs[0], output) and op.depthwise and near

    def unit_groups(self, output: QTensor) -> int:
        """Groups of eight results in a unit."""
        return -(-output.shape[2] * self.unit_rows // 8)

    def pass_units(self, output: QTensor) -> int:
        units = -(-output.shape[1] // self.unit_rows)
        return max(1, min(units, self.pass_groups // self.unit_groups(output)))

    def row_groups(self, op: QConv2D) -> int:
        return -(-op.kernel[0] // WORD)

    def strip_columns(self, op: QConv2D, output: QTensor) -> int:
        """Columns the windows of whole groups touch."""
        last = (8 * self.unit_groups(output) - 1) * op.stride[1]
        return last + (round_up(op.kernel[1], WORD) - 1) * op.dilation[1] + 1

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        weight = ConstArray("weight", pack_weight(op.weight), "[channel][row group][width][4 rows]")
        depth = op.kernel[0] * op.kernel[1]
        linear, arrays = linear_code(op.requantize, op.bias, weight, depth)
        geometry = [item for item in window_fields(op, inputs[0], output) if item.name != "in_channels"]
        return LayerCode(
            self.function,
            "dfq_depthwise_s8s8_mve_t",
            conv_title(op),
            (
                linear,
                *geometry,
                Field("strip_columns", self.strip_columns(op, output)),
                Field("pass_units", self.pass_units(output)),
            ),
            arrays,
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        units = self.pass_units(output)
        strip = self.strip_columns(op, output) * self.row_groups(op) * COLUMN_BYTES
        return round_up(units * self.unit_groups(output) * GROUP_BYTES, LANES) + units * strip

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        channels = op.out_channels
        reads = overlap.window_first_reads(inputs[0].shape[1:3], output.shape[1:3], op.stride, op.pads)
        passes = overlap.rows(output.shape[1:3]) // (self.unit_rows * self.pass_units(output))
        # Beyond 16 channels a pass reads its rows again after the first results are written.
        once = channels <= LANES
        return overlap.block_lead_bytes(reads, passes, channels, channels, reads_block_first=once)


class DepthwiseStride2S8S8MveKernel(DepthwiseS8S8MveKernel):
    """Three columns at stride 2: each patch is one output."""

    function = "dfq_depthwise_stride2_s8s8_mve"
    pass_groups = 4

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        fits = op.kernel[0] <= WORD and op.kernel[1] == 3 and op.stride[1] == 2
        return super().fits(op, inputs, output) and fits


class Depthwise3x3S8S8MveKernel(DepthwiseS8S8MveKernel):
    """3x3 at stride 1: two output rows at a time, four outputs from each 4x4 patch."""

    function = "dfq_depthwise3x3_s8s8_mve"
    unit_rows = 2
    rows_at_once = 2
    pass_groups = 4

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        plain = op.kernel == (3, 3) and op.stride == (1, 1) and op.dilation == (1, 1)
        near = (output.shape[2] + 3) * op.out_channels <= np.iinfo(np.uint16).max
        return super().fits(op, inputs, output) and plain and near

    def strip_columns(self, op: QConv2D, output: QTensor) -> int:
        return 4 * self.unit_groups(output) + 2


class DepthwiseLanesS8S8MveKernel(Kernel[QConv2D]):
    """Any kernel, pixel by pixel, a channel in each lane."""

    op = QConv2D
    function = "dfq_depthwise_lanes_s8s8_mve"
    header = "mve/dfq_depthwise_lanes_s8s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        int8 = op.weight_type is IntType.INT8 and is_int8(inputs[0], output)
        # Two products are added in 16 bits.
        return int8 and op.depthwise and int(op.weight.min()) >= -127

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        channels, height, width, _ = op.weight.shape
        order = lane_channels(channels)
        padded = np.zeros((order.size, height * width), np.int8)
        padded[:channels] = op.weight.reshape(channels, -1)
        blocks = padded.reshape(-1, WIDE_LANES, height * width).transpose(0, 2, 1)
        weight = ConstArray("weight", blocks.reshape(-1), "[block][height][width][8 channels]")
        linear, arrays = linear_code(op.requantize, op.bias, weight, height * width, order)
        geometry = [item for item in window_fields(op, inputs[0], output) if item.name != "in_channels"]
        return LayerCode(
            self.function, "dfq_depthwise_lanes_s8s8_mve_t", conv_title(op), (linear, *geometry), arrays
        )

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        channels = op.out_channels
        reads = overlap.window_first_reads(inputs[0].shape[1:3], output.shape[1:3], op.stride, op.pads)
        once = channels <= WIDE_LANES
        return overlap.block_lead_bytes(
            reads, np.arange(len(reads)), channels, channels, reads_block_first=once
        )

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        image, size = inputs[0].shape[1:3], output.shape[1:3]
        starts = [
            np.arange(n) * s - p for n, s, p in zip(size, op.stride, (op.pads.top, op.pads.left), strict=True)
        ]
        inside = [
            int(np.sum((start >= 0) & (start + d * (k - 1) < n)))
            for start, n, k, d in zip(starts, image, op.kernel, op.dilation, strict=True)
        ]
        pixels = size[0] * size[1]
        whole, part = divmod(op.out_channels, WIDE_LANES)
        blocks = pixels * (whole + (part > 0))
        rows = float(blocks * op.kernel[0])
        return {
            **({"narrow_block": float(blocks)} if is_narrow(op.requantize) else {}),
            "pixel": float(pixels),
            "block": float(blocks),
            "block_row": rows,
            "block_pair": rows * (op.kernel[1] // 2),
            "block_odd": rows * (op.kernel[1] % 2),
            "part_tap": float(pixels * (part > 0) * op.kernel[0] * op.kernel[1]),
            "border_row": float((pixels - inside[0] * inside[1]) * (whole + (part > 0)) * op.kernel[0]),
        }


def lane_channels(channels: int) -> Array:
    """Channel of each lane, int64 [blocks, 8], -1 where there is none: even ones first, as widening does."""
    blocks = np.arange(round_up(channels, WIDE_LANES)).reshape(-1, WIDE_LANES // 2, 2).transpose(0, 2, 1)
    return np.where(blocks < channels, blocks, -1).reshape(-1, WIDE_LANES)


for _kernel in (
    Depthwise3x3S8S8MveKernel(),
    DepthwiseStride2S8S8MveKernel(),
    DepthwiseS8S8MveKernel(),
    DepthwiseLanesS8S8MveKernel(),
):
    REGISTRY.add(_kernel)
