"""Depthwise convolutions on Helium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels import overlap
from dfqgen.kernels.arm_mve_gemm import LANES, is_narrow, linear_code, round_up
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.conv import conv_title, is_int8, window_fields
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa

WORD = 4
"""Rows side by side in the strip."""
COLUMN_BYTES = WORD * LANES
LINE_BYTES = 32
"""Accumulators of a group: two vectors."""


def pack_weight(weight: Array) -> Array:
    """weight [channels, height, width, 1] as [channels][height / 4][width][4 rows] and 4 zeros, int8."""
    channels, height, width, _ = weight.shape
    padded = np.zeros((channels, round_up(height, WORD), width), np.int8)
    padded[:, :height] = weight[..., 0]
    groups = padded.reshape(channels, -1, WORD, width).transpose(0, 1, 3, 2)
    # The kernel loads 16 bytes of 3x3 weights and uses 12.
    return np.concatenate([groups.reshape(-1), np.zeros(4, np.int8)])


class MveDepthwiseKernel(Kernel[QConv2D]):
    """Any kernel, one output row at a time."""

    op = QConv2D
    function = "dfq_mve_depthwise"
    header = "arm_mve/dfq_mve_depthwise.h"
    isa = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        # Results are scattered by 16-bit distances.
        near = 7 * op.out_channels <= np.iinfo(np.uint16).max
        return is_int8(inputs[0], output) and op.depthwise and near

    def groups(self, output: QTensor) -> int:
        """Groups of accumulators in an output row."""
        return -(-output.shape[2] // 8)

    def row_groups(self, op: QConv2D) -> int:
        return -(-op.kernel[0] // WORD)

    def strip_columns(self, op: QConv2D, output: QTensor) -> int:
        """Columns the windows of whole groups touch."""
        last = (8 * self.groups(output) - 1) * op.stride[1]
        return last + (round_up(op.kernel[1], WORD) - 1) * op.dilation[1] + 1

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        weight = ConstArray("weight", pack_weight(op.weight), "[channel][row group][width][4 rows]")
        depth = op.kernel[0] * op.kernel[1]
        linear, arrays = linear_code(op.requantize, op.bias, weight, depth, tiled=False)
        geometry = [item for item in window_fields(op, inputs[0], output) if item.name != "in_channels"]
        return LayerCode(
            self.function,
            "dfq_mve_depthwise_t",
            conv_title(op),
            (
                linear,
                *geometry,
                Field("strip_columns", self.strip_columns(op, output)),
            ),
            arrays,
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        strip = self.strip_columns(op, output) * self.row_groups(op) * COLUMN_BYTES
        return self.groups(output) * LINE_BYTES + strip

    def blocks(self, output: QTensor) -> Array:
        """The pass that writes each output pixel."""
        return overlap.rows(output.shape[1:3])

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        channels = op.out_channels
        reads = overlap.window_first_reads(inputs[0].shape[1:3], output.shape[1:3], op.stride, op.pads)
        # Beyond 16 channels a pass reads its rows again after the first results are written.
        once = channels <= LANES
        return overlap.block_lead_bytes(
            reads, self.blocks(output), channels, channels, reads_block_first=once
        )

    def cost(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> float:
        rows, channels = output.shape[1], op.out_channels
        vectors = self.row_groups(op) * -(-op.kernel[1] // WORD)
        simple = op.stride[1] == 2 and op.kernel[1] == 3 and vectors == 1
        group = 19.0 if simple else 2 * (vectors * 22.0 + 25)
        finish = 19.0 + 2.0 * is_narrow(op.requantize)
        channel = 30.0 + self.groups(output) * (group + finish)
        strips = -(-channels // LANES) * (self.row_groups(op) * (14.0 * inputs[0].shape[2] + 60) + 30)
        return rows * (strips + channels * channel) + self.scratch_bytes(op, inputs, output) / 8.0


class MveDepthwise3x3Kernel(MveDepthwiseKernel):
    """3x3 at stride 1: two output rows at a time, four outputs from each 4x4 patch."""

    function = "dfq_mve_depthwise_3x3"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        plain = op.kernel == (3, 3) and op.stride == (1, 1) and op.dilation == (1, 1)
        near = (output.shape[2] + 3) * op.out_channels <= np.iinfo(np.uint16).max
        return super().supports(op, inputs, output) and plain and near

    def groups(self, output: QTensor) -> int:
        return -(-output.shape[2] // 4)

    def strip_columns(self, op: QConv2D, output: QTensor) -> int:
        return 4 * self.groups(output) + 2

    def blocks(self, output: QTensor) -> Array:
        return super().blocks(output) // 2

    def cost(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> float:
        passes, channels = -(-output.shape[1] // 2), op.out_channels
        finish = 14.0 if output.shape[2] % 4 == 0 and output.shape[1] % 2 == 0 else 18.0
        channel = 40.0 + self.groups(output) * (13.0 + finish)
        strips = -(-channels // LANES) * (14.0 * inputs[0].shape[2] + 90)
        return passes * (strips + channels * channel) + self.scratch_bytes(op, inputs, output) / 8.0


REGISTRY.add(MveDepthwise3x3Kernel())
REGISTRY.add(MveDepthwiseKernel())
