"""Portable kernels of QConv2D for weights of 2, 3, 4 and 6 bits, packed in flash, unpacked chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.packing import PACKED_TYPES, pack_chunks, padded_size
from dfqgen.kernels.portable.conv import (
    Conv2DS8S8Kernel,
    ConvolutionS8S8Kernel,
    DepthwisePaddedS8S8Kernel,
    DepthwiseS8S8Kernel,
    FullyConnectedS8S8Kernel,
    is_int8,
)
from dfqgen.ops.conv import QConv2D

CHUNK_BYTES = 2048
"""Unpacked weights that may lie in scratch together, where a chunk has more than four channels."""


def chunk_channels(op: QConv2D) -> int:
    """Output channels that are unpacked at a time: multiples of four, which the inner loops take together."""
    depth = int(np.prod(op.weight.shape[1:]))
    if op.groups > 1:
        return op.out_channels
    return min(op.out_channels, max(4, CHUNK_BYTES // depth // 4 * 4))


class ConvolutionS8SnKernel(Kernel[QConv2D]):
    """The int8 kernel `inner` on weights that are unpacked to scratch before it runs."""

    op = QConv2D
    header = "portable/dfq_convolutions_s8sn.h"
    inner: ClassVar[ConvolutionS8S8Kernel]
    struct: ClassVar[str]
    member: ClassVar[str]

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        packed = op.weight_type in PACKED_TYPES and is_int8(inputs[0], output)
        return packed and self.inner.fits(op, inputs, output)

    def chunk(self, op: QConv2D) -> int:
        """Output channels unpacked at a time."""
        return chunk_channels(op)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        inner = self.inner.code(op, inputs, output)
        (weight,) = (array for array in inner.arrays if array.role == "weight")
        step = self.chunk(op) * int(np.prod(op.weight.shape[1:]))
        chunks = [weight.values[i : i + step] for i in range(0, weight.values.size, step)]
        words = pack_chunks(chunks, op.weight_type)
        comment = f"{op.weight_type.bits} bits each, {weight.comment}"
        packed = (
            Field("words", "weight"),
            Field("bits", op.weight_type.bits),
            Field("channels", self.chunk(op)),
        )
        return LayerCode(
            function=self.function,
            struct=self.struct,
            title=f"{inner.title}, {op.weight_type.bits}-bit weights",
            fields=(
                Field("packed", packed),
                Field(self.member, tuple(item for item in inner.fields if item.name != "weight")),
            ),
            arrays=(
                ConstArray("weight", words, comment),
                *(array for array in inner.arrays if array.role != "weight"),
            ),
        )

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        again = -(-op.out_channels // self.chunk(op)) - 1
        window = 0 if op.depthwise else output.shape[1] * output.shape[2] * int(np.prod(op.weight.shape[1:]))
        return super().work(op, inputs, output) | {
            "weight": float(op.weight.size),
            "window_byte_again": float(again * window),
        }

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        chunk = padded_size(self.chunk(op) * int(np.prod(op.weight.shape[1:])))
        return chunk + self.inner.scratch_bytes(op, inputs, output)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        if self.chunk(op) < op.out_channels:
            return None  # every chunk reads the whole input
        return self.inner.overlap_lead_bytes(op, inputs, output, index)


class Conv2DS8SnKernel(ConvolutionS8SnKernel):
    """Any convolution but depthwise."""

    function = "dfq_conv2d_s8sn"
    struct = "dfq_conv2d_s8sn_t"
    member = "conv"
    inner = Conv2DS8S8Kernel()


class FullyConnectedS8SnKernel(ConvolutionS8SnKernel):
    """A single pixel, read in place."""

    function = "dfq_fully_connected_s8sn"
    struct = "dfq_fully_connected_s8sn_t"
    member = "dense"
    inner = FullyConnectedS8S8Kernel()


class DepthwiseS8SnKernel(ConvolutionS8SnKernel):
    """One filter a channel, without padding."""

    function = "dfq_depthwise_s8sn"
    struct = "dfq_depthwise_s8sn_t"
    member = "depthwise"
    inner: ClassVar[ConvolutionS8S8Kernel] = DepthwiseS8S8Kernel()

    def chunk(self, op: QConv2D) -> int:
        return op.out_channels


class DepthwisePaddedS8SnKernel(DepthwiseS8SnKernel):
    """One filter a channel, with padding."""

    function = "dfq_depthwise_padded_s8sn"
    inner = DepthwisePaddedS8S8Kernel()


for _kernel in (
    Conv2DS8SnKernel(),
    FullyConnectedS8SnKernel(),
    DepthwiseS8SnKernel(),
    DepthwisePaddedS8SnKernel(),
):
    REGISTRY.add(_kernel)
