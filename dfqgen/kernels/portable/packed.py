"""Portable kernels of QConv2D for weights of 2, 3, 4 and 6 bits, packed in flash, unpacked chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.packing import PACKED_TYPES, pack, padded_size
from dfqgen.kernels.portable.conv import (
    Conv2DKernel,
    ConvKernel,
    DepthwiseKernel,
    FullyConnectedKernel,
    PaddedDepthwiseKernel,
    is_int8,
)
from dfqgen.ops.conv import QConv2D

CHUNK_BYTES = 2048
"""Unpacked weights that may lie in scratch together, where a chunk has more than four channels."""
UNPACK_COST = 1.6
"""Instructions to unpack a weight, roughly."""


def chunk_channels(op: QConv2D) -> int:
    """Output channels that are unpacked at a time: multiples of four, which the inner loops take together."""
    depth = int(np.prod(op.weight.shape[1:]))
    if op.groups > 1:
        return op.out_channels
    return min(op.out_channels, max(4, CHUNK_BYTES // depth // 4 * 4))


class PackedKernel(Kernel[QConv2D]):
    """The int8 kernel `inner` on weights that are unpacked to scratch before it runs."""

    op = QConv2D
    header = "portable/dfq_packed.h"
    inner: ClassVar[ConvKernel]
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
        words = np.concatenate([pack(chunk, op.weight_type) for chunk in chunks])
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

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        chunk = padded_size(self.chunk(op) * int(np.prod(op.weight.shape[1:])))
        return chunk + self.inner.scratch_bytes(op, inputs, output)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        if self.chunk(op) < op.out_channels:
            return None  # every chunk reads the whole input
        return self.inner.overlap_lead_bytes(op, inputs, output, index)

    def cost(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> float:
        chunks = -(-op.out_channels // self.chunk(op))
        window = float(np.prod(op.kernel)) * inputs[0].shape[3] if not op.depthwise else 0.0
        gather = 2.0 * window * output.shape[1] * output.shape[2]
        unpack = UNPACK_COST * op.weight.size
        return self.inner.cost(op, inputs, output) + unpack + (chunks - 1) * gather


class PackedConv2DKernel(PackedKernel):
    """Any convolution but depthwise."""

    function = "dfq_packed_conv2d"
    struct = "dfq_packed_conv2d_t"
    member = "conv"
    inner = Conv2DKernel()


class PackedFullyConnectedKernel(PackedKernel):
    """A single pixel, read in place."""

    function = "dfq_packed_fully_connected"
    struct = "dfq_packed_fully_connected_t"
    member = "dense"
    inner = FullyConnectedKernel()

    def cost(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> float:
        return self.inner.cost(op, inputs, output) + UNPACK_COST * op.weight.size


class PackedDepthwiseKernel(PackedKernel):
    """One filter a channel, without padding."""

    function = "dfq_packed_depthwise"
    struct = "dfq_packed_depthwise_t"
    member = "depthwise"
    inner: ClassVar[ConvKernel] = DepthwiseKernel()

    def chunk(self, op: QConv2D) -> int:
        return op.out_channels


class PackedPaddedDepthwiseKernel(PackedDepthwiseKernel):
    """One filter a channel, with padding."""

    function = "dfq_packed_depthwise_padded"
    inner = PaddedDepthwiseKernel()


for _kernel in (
    PackedConv2DKernel(),
    PackedFullyConnectedKernel(),
    PackedDepthwiseKernel(),
    PackedPaddedDepthwiseKernel(),
):
    REGISTRY.add(_kernel)
