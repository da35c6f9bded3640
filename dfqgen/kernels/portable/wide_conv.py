"""Portable kernels of convolutions with int16 activations and weights of any width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, channel_array
from dfqgen.kernels.packing import PACKED_TYPES, pack_chunks, padded_size
from dfqgen.kernels.portable.conv import conv_title, window_fields
from dfqgen.kernels.portable.packed import chunk_channels
from dfqgen.kernels.portable.real import WIDTH
from dfqgen.kernels.portable.wide import any_wide, is_wide, types_title
from dfqgen.kernels.requantize import one_clamp, requantize_code
from dfqgen.ops.conv import QConv2D


class Conv2DS16SnKernel(Kernel[QConv2D]):
    """Any convolution: windows of two pixels gathered to scratch as int16."""

    op = QConv2D
    function = "dfq_conv2d_s16sn"
    header = "portable/dfq_conv2d_s16sn.h"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        types = any_wide(inputs[0], output) or self.sums(op, output)
        return op.weight_type in (IntType.INT8, *PACKED_TYPES) and types

    def sums(self, op: QConv2D, output: QTensor) -> bool:
        """int32 outputs; tables of their bounds there are none."""
        return output.qtype.dtype is IntType.INT32 and one_clamp(op.requantize.lo, op.requantize.hi)

    def weight(self, op: QConv2D) -> tuple[Array, str]:
        """Weights in the order of the kernel, and that order."""
        return np.ascontiguousarray(op.weight).reshape(-1), "[out][height][width][in]"

    def chunk(self, op: QConv2D) -> int:
        """Output channels unpacked at a time."""
        return chunk_channels(op)

    def weight_code(self, op: QConv2D) -> tuple[Field, ConstArray]:
        weight, order = self.weight(op)
        if op.weight_type is IntType.INT8:
            return Field("bytes", "weight"), ConstArray("weight", weight, order)
        step = self.chunk(op) * int(np.prod(op.weight.shape[1:]))
        chunks = (weight[at : at + step] for at in range(0, weight.size, step))
        packed = (
            Field("words", "weight"),
            Field("bits", op.weight_type.bits),
            Field("channels", self.chunk(op)),
        )
        comment = f"{op.weight_type.bits} bits each, {order}"
        return Field("packed", packed), ConstArray("weight", pack_chunks(chunks, op.weight_type), comment)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        largest = op.largest_accumulator(inputs[0])
        requantize = requantize_code(op.requantize, op.bias, largest, bounds="int16")
        field, weight = self.weight_code(op)
        bits = "" if op.weight_type is IntType.INT8 else f", {op.weight_type.bits}-bit weights"
        return LayerCode(
            function=self.function,
            struct="dfq_conv2d_s16sn_t",
            title=f"{conv_title(op)}, {types_title(inputs[0], output)}{bits}",
            fields=(
                field,
                Field("bias", "bias"),
                Field("requantize", requantize.fields),
                *window_fields(op, inputs[0], output),
                Field("out_channels", op.out_channels),
                Field("groups", op.groups),
                Field("in_wide", int(is_wide(inputs[0]))),
                Field("out_wide", WIDTH[output.qtype.dtype]),
            ),
            arrays=(weight, channel_array("bias", requantize.bias, "int32"), *requantize.arrays),
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        depth = int(np.prod(op.weight.shape[1:]))
        return 4 * depth + self.unpacked_bytes(op)

    def unpacked_bytes(self, op: QConv2D) -> int:
        if op.weight_type is IntType.INT8:
            return 0
        return padded_size(self.chunk(op) * int(np.prod(op.weight.shape[1:])))

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        packed = op.weight_type is not IntType.INT8
        again = -(-op.out_channels // self.chunk(op)) - 1 if packed else 0
        window = output.shape[1] * output.shape[2] * int(np.prod(op.weight.shape[1:]))
        return super().work(op, inputs, output) | {
            "packed_weight": float(op.weight.size if packed else 0),
            "window_byte_again": float(again * window),
        }


class DepthwiseS16SnKernel(Conv2DS16SnKernel):
    """One filter a channel: the rows under an output row gathered to scratch as int16."""

    function = "dfq_depthwise_s16sn"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and op.depthwise

    def weight(self, op: QConv2D) -> tuple[Array, str]:
        packed = np.ascontiguousarray(op.weight[:, :, :, 0].transpose(1, 2, 0)).reshape(-1)
        return packed, "[height][width][channel]"

    def chunk(self, op: QConv2D) -> int:
        return op.out_channels

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        pixels = (output.shape[2] - 1) * op.stride[1] + (op.kernel[1] - 1) * op.dilation[1] + 1
        rows = 2 * op.kernel[0] * pixels * op.out_channels
        return -(-rows // 4) * 4 + self.unpacked_bytes(op)


for _kernel in (DepthwiseS16SnKernel(), Conv2DS16SnKernel()):
    REGISTRY.add(_kernel)
