"""Portable kernels of QConv2D: pointwise, fully connected, depthwise, and everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, channel_array
from dfqgen.kernels.requantize import requantize_code
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS


def is_int8(*tensors: QTensor) -> bool:
    return all(tensor.qtype.dtype is IntType.INT8 for tensor in tensors)


def is_pointwise(op: QConv2D) -> bool:
    """A matrix product of pixels and channels."""
    return op.kernel == (1, 1) and op.stride == (1, 1) and op.pads == NO_PADS and op.groups == 1


def conv_title(op: QConv2D) -> str:
    """Short description for comments and the report."""
    height, width = op.kernel
    kind = "depthwise convolution" if op.depthwise else "convolution"
    parts = [f"{height}x{width} {kind}"]
    if op.groups > 1 and not op.depthwise:
        parts.append(f"{op.groups} groups")
    if op.stride != (1, 1):
        parts.append(f"stride {_pair(op.stride)}")
    if op.dilation != (1, 1):
        parts.append(f"dilation {_pair(op.dilation)}")
    return ", ".join(parts)


def _pair(values: tuple[int, int]) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]}x{values[1]}"


def window_fields(
    op: QConv2D, x: QTensor, output: QTensor, in_channels: str = "in_channels"
) -> tuple[Field, ...]:
    """Shapes and geometry, as dfq_conv2d_s8s8_t and dfq_depthwise_s8s8_t name them."""
    return (
        Field("in_height", x.shape[1]),
        Field("in_width", x.shape[2]),
        Field(in_channels, x.shape[3]),
        Field("out_height", output.shape[1]),
        Field("out_width", output.shape[2]),
        Field("kernel_height", op.kernel[0]),
        Field("kernel_width", op.kernel[1]),
        Field("stride_y", op.stride[0]),
        Field("stride_x", op.stride[1]),
        Field("dilation_y", op.dilation[0]),
        Field("dilation_x", op.dilation[1]),
        Field("pad_top", op.pads.top),
        Field("pad_left", op.pads.left),
        Field("pad_value", op.pad_value),
    )


class ConvolutionS8S8Kernel(Kernel[QConv2D]):
    """What the portable convolutions share: constants packed as [out][...], and the requantization."""

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type is IntType.INT8 and self.fits(op, inputs, output)

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether the function handles this shape; the width of the weights aside."""
        return is_int8(inputs[0], output)

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        raise NotImplementedError

    def packed_weight(self, op: QConv2D) -> ConstArray:
        return ConstArray("weight", np.ascontiguousarray(op.weight).reshape(-1), "[out][height][width][in]")

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        requantize = requantize_code(op.requantize, op.bias, op.largest_accumulator(inputs[0]))
        weight = self.packed_weight(op)
        return LayerCode(
            function=self.function,
            struct=self.struct,
            title=conv_title(op),
            fields=(
                Field("weight", "weight"),
                Field("bias", "bias"),
                Field("requantize", requantize.fields),
                *self.geometry(op, inputs[0], output),
            ),
            arrays=(weight, channel_array("bias", requantize.bias, "int32"), *requantize.arrays),
        )

    struct: ClassVar[str]


class Conv2DS8S8Kernel(ConvolutionS8S8Kernel):
    """Any convolution: windows of two pixels gathered to scratch."""

    op = QConv2D
    function = "dfq_conv2d_s8s8"
    header = "portable/dfq_conv2d_s8s8.h"
    struct = "dfq_conv2d_s8s8_t"

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (
            *window_fields(op, x, output),
            Field("out_channels", op.out_channels),
            Field("groups", op.groups),
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        columns = min(2, output.shape[2])
        return columns * int(np.prod(op.weight.shape[1:]))

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        x = inputs[0]
        reads = overlap.window_first_reads(x.shape[1:3], output.shape[1:3], op.stride, op.pads)
        blocks = overlap.pixel_pairs(output.shape[1:3])
        return overlap.block_lead_bytes(
            reads, blocks, x.shape[3], output.shape[3], reads_block_first=op.groups == 1
        )


class PointwiseS8S8Kernel(ConvolutionS8S8Kernel):
    """1x1 convolution, two pixels at a time."""

    op = QConv2D
    function = "dfq_pointwise_s8s8"
    header = "portable/dfq_pointwise_s8s8.h"
    struct = "dfq_pointwise_s8s8_t"

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output) and is_pointwise(op)

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (
            Field("pixels", output.shape[1] * output.shape[2]),
            Field("in_channels", x.shape[3]),
            Field("out_channels", op.out_channels),
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return min(2, output.shape[1] * output.shape[2]) * inputs[0].shape[3]

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        pixels = output.shape[1] * output.shape[2]
        blocks = np.arange(pixels) // 2
        return overlap.block_lead_bytes(
            np.arange(pixels), blocks, inputs[0].shape[3], op.out_channels, reads_block_first=True
        )


class FullyConnectedS8S8Kernel(ConvolutionS8S8Kernel):
    """A single pixel, read in place."""

    op = QConv2D
    function = "dfq_fully_connected_s8s8"
    header = "portable/dfq_fully_connected_s8s8.h"
    struct = "dfq_fully_connected_s8s8_t"

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output) and is_pointwise(op) and output.shape[1:3] == (1, 1)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(op, inputs, output)
        return LayerCode(code.function, code.struct, "fully connected", code.fields, code.arrays)

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (Field("in_channels", x.shape[3]), Field("out_channels", op.out_channels))


class DepthwiseS8S8Kernel(ConvolutionS8S8Kernel):
    """One filter a channel, without padding: reads the input itself."""

    op = QConv2D
    function = "dfq_depthwise_s8s8"
    header = "portable/dfq_depthwise_s8s8.h"
    struct = "dfq_depthwise_s8s8_t"
    padded: ClassVar[bool] = False

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        padded = op.pads != NO_PADS
        return is_int8(inputs[0], output) and op.depthwise and padded == self.padded

    def packed_weight(self, op: QConv2D) -> ConstArray:
        packed = np.ascontiguousarray(op.weight[:, :, :, 0].transpose(1, 2, 0)).reshape(-1)
        return ConstArray("weight", packed, "[height][width][channel]")

    def row_pixels(self, op: QConv2D, output: QTensor) -> int:
        return (output.shape[2] - 1) * op.stride[1] + (op.kernel[1] - 1) * op.dilation[1] + 1

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (
            *window_fields(op, x, output, in_channels="channels"),
            Field("row_pixels", self.row_pixels(op, output)),
        )

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        channels = op.out_channels
        reads = overlap.window_first_reads(inputs[0].shape[1:3], output.shape[1:3], op.stride, op.pads)
        if self.padded:
            blocks = overlap.rows(output.shape[1:3])
            return overlap.block_lead_bytes(reads, blocks, channels, channels, reads_block_first=True)
        blocks = overlap.pixel_pairs(output.shape[1:3])
        return overlap.block_lead_bytes(reads, blocks, channels, channels, reads_block_first=False)


class DepthwisePaddedS8S8Kernel(DepthwiseS8S8Kernel):
    """One filter a channel, with padding: the rows under an output row are copied to scratch."""

    function = "dfq_depthwise_padded_s8s8"
    over_window = True
    padded = True

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return op.kernel[0] * self.row_pixels(op, output) * op.out_channels


for _kernel in (
    Conv2DS8S8Kernel(),
    PointwiseS8S8Kernel(),
    FullyConnectedS8S8Kernel(),
    DepthwiseS8S8Kernel(),
    DepthwisePaddedS8S8Kernel(),
):
    REGISTRY.add(_kernel)
