"""Convolutions without groups, and fully connected layers, on Helium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dense import GroupedKernel
from dfqgen.kernels.mve.gemm import LANES, is_narrow, linear_code, pack_weight, round_up, tile_channels
from dfqgen.kernels.portable.conv import conv_title, is_int8, is_pointwise
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS
from dfqgen.targets import Isa

CHANNELS_AT_ONCE = 64
"""Of these many channels the accumulators wait on the stack (DFQ_MVE_CHANNELS)."""
FEW_CHANNELS = 4
"""Of more, tiles of four channels by two pixels are full."""


def tiled_code(op: QConv2D, rows: Array) -> tuple[Field, tuple[ConstArray, ...]]:
    """The `dfq_mve_linear_t` of weights [channels, depth], and its tables."""
    weight = ConstArray("weight", pack_weight(rows), "[tile][step][4 channels][16 depths]")
    return linear_code(op.requantize, op.bias, weight, rows.shape[1], tile_channels(op.out_channels))


class PointwiseS8S8MveKernel(Kernel[QConv2D]):
    """1x1 without padding over whole vectors of channels: the tensor itself, in pairs of pixels."""

    op = QConv2D
    function = "dfq_pointwise_s8s8_2x4_mve"
    header = "mve/dfq_conv2d_s8s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type is IntType.INT8 and self.fits(op, inputs, output)

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether the function handles this shape; the width of the weights aside."""
        x = inputs[0]
        plain = op.kernel == (1, 1) and op.pads == NO_PADS and op.groups == 1
        return is_int8(x, output) and plain and x.shape[3] % LANES == 0

    def rows_columns(self, op: QConv2D, output: QTensor) -> tuple[int, int]:
        """Output rows and columns; without a stride the image is one row."""
        height, width = output.shape[1], output.shape[2]
        return (1, height * width) if op.stride == (1, 1) else (height, width)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        linear, arrays = tiled_code(op, op.weight.reshape(op.out_channels, -1))
        rows, columns = self.rows_columns(op, output)
        return LayerCode(
            self.function,
            "dfq_pointwise_s8s8_mve_t",
            "fully connected" if output.shape[1:3] == (1, 1) else conv_title(op),
            (
                linear,
                Field("in_width", inputs[0].shape[2]),
                Field("out_height", rows),
                Field("out_width", columns),
                Field("stride_y", op.stride[0]),
                Field("stride_x", op.stride[1]),
            ),
            arrays,
        )

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        x, channels = inputs[0], op.out_channels
        reads = overlap.window_first_reads(x.shape[1:3], output.shape[1:3], op.stride, op.pads)
        pairs = overlap.pixel_pairs(self.rows_columns(op, output))
        # With more channels both pixels are read again after their first results are written.
        once = channels <= CHANNELS_AT_ONCE
        return overlap.block_lead_bytes(reads, pairs, x.shape[3], channels, reads_block_first=once)


class Conv2DS8S8MveKernel(Kernel[QConv2D]):
    """Any ungrouped convolution: a strip of columns for each output row, in which windows are contiguous."""

    op = QConv2D
    function = "dfq_conv2d_s8s8_2x4_mve"
    header = "mve/dfq_conv2d_s8s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type is IntType.INT8 and self.fits(op, inputs, output)

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether the function handles this shape; the width of the weights aside."""
        return is_int8(inputs[0], output) and op.groups == 1

    def strip_columns(self, op: QConv2D, output: QTensor) -> int:
        """Columns of the padded image that an output row needs."""
        return (output.shape[2] - 1) * op.stride[1] + (op.kernel[1] - 1) * op.dilation[1] + 1

    def spread(self, op: QConv2D) -> tuple[int, Array]:
        """Bytes of whole pixels in a vector (0: none), and where in the strip 16 bytes of a row go."""
        channels = op.weight.shape[3]
        at = np.arange(LANES)
        places = at // channels * op.kernel[0] * channels + at % channels
        run = LANES // channels * channels
        fits = channels < LANES and places.max() <= np.iinfo(np.uint8).max and op.dilation[1] == 1
        return (run if fits else 0), places

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        x = inputs[0]
        linear, arrays = tiled_code(op, op.weight.transpose(0, 2, 1, 3).reshape(op.out_channels, -1))
        columns = self.strip_columns(op, output)
        fields = [
            linear,
            Field("in_height", x.shape[1]),
            Field("in_width", x.shape[2]),
            Field("in_channels", x.shape[3]),
            Field("out_height", output.shape[1]),
            Field("out_width", output.shape[2]),
            Field("kernel_height", op.kernel[0]),
            Field("stride_y", op.stride[0]),
            Field("stride_x", op.stride[1]),
            Field("dilation_y", op.dilation[0]),
            Field("dilation_x", op.dilation[1]),
            Field("pad_top", op.pads.top),
            Field("pad_left", op.pads.left),
            Field("pad_value", op.pad_value),
            Field("strip_columns", columns),
            Field("phase_columns", -(-columns // op.dilation[1])),
        ]
        run, places = self.spread(op)
        if run:
            fields += [Field("spread_run", run), Field("spread", "spread")]
            arrays += (ConstArray("spread", places.astype("uint8")),)
        return LayerCode(self.function, "dfq_conv2d_s8s8_mve_t", conv_title(op), tuple(fields), arrays)

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        columns = round_up(self.strip_columns(op, output), op.dilation[1])
        return round_up(columns * op.kernel[0] * inputs[0].shape[3] + LANES - 1, LANES)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        x = inputs[0]
        reads = overlap.window_first_reads(x.shape[1:3], output.shape[1:3], op.stride, op.pads)
        blocks = overlap.rows(output.shape[1:3])
        return overlap.block_lead_bytes(reads, blocks, x.shape[3], op.out_channels, reads_block_first=True)


class PointwiseFewS8S8MveKernel(Kernel[QConv2D]):
    """1x1 to few channels: four pixels are the lanes of a channel's sums."""

    op = QConv2D
    function = "dfq_pointwise_few_s8s8_4x1_mve"
    header = "mve/dfq_pointwise_few_s8s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        int8 = op.weight_type is IntType.INT8 and is_int8(inputs[0], output)
        return int8 and is_pointwise(op) and op.out_channels <= FEW_CHANNELS

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        depth = op.weight.shape[3]
        rows = np.zeros((op.out_channels, round_up(depth, LANES)), np.int8)
        rows[:, :depth] = op.weight.reshape(op.out_channels, depth)
        weight = ConstArray("weight", rows.reshape(-1), "[channel][depth, in whole vectors]")
        linear, arrays = linear_code(op.requantize, op.bias, weight, depth)
        pixels = Field("pixels", output.shape[1] * output.shape[2])
        return LayerCode(
            self.function, "dfq_pointwise_few_s8s8_mve_t", conv_title(op), (linear, pixels), arrays
        )

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        reads = np.arange(output.shape[1] * output.shape[2])
        once = op.out_channels == 1
        return overlap.block_lead_bytes(
            reads, reads // 4, inputs[0].shape[3], op.out_channels, reads_block_first=once
        )

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        quads = -(-output.shape[1] * output.shape[2] // 4)
        results = float(quads * op.out_channels)
        steps = results * -(-op.weight.shape[3] // LANES)
        return {
            "quad": float(quads),
            "quad_channel": results,
            "quad_step": steps,
            "part_step": results * (op.weight.shape[3] % LANES > 0),
            "narrow_result": results * is_narrow(op.requantize),
        }


class GroupedConv2DS8S8MveKernel(GroupedKernel, Conv2DS8S8MveKernel):
    """Groups as one."""


REGISTRY.add(PointwiseS8S8MveKernel())
REGISTRY.add(Conv2DS8S8MveKernel())
REGISTRY.add(PointwiseFewS8S8MveKernel())
REGISTRY.add(GroupedConv2DS8S8MveKernel())
