"""Kernels of QConv2D on Helium for weights of 2, 3, 4 and 6 bits: unpacked, then as int8 weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.mve.conv import Conv2DS8S8MveKernel, PointwiseS8S8MveKernel
from dfqgen.kernels.mve.depthwise import (
    WORD,
    Depthwise3x3S8S8MveKernel,
    DepthwiseS8S8MveKernel,
    DepthwiseStride2S8S8MveKernel,
)
from dfqgen.kernels.mve.gemm import LANES, TILE, round_up
from dfqgen.kernels.packing import PACKED_TYPES, VECTOR, pack_chunks, padded_size
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa

CHUNK_BYTES = 8192
"""Unpacked weights that may lie in scratch together, where a chunk has more than 16 channels."""


class ConvolutionS8SnMveKernel(Kernel[QConv2D]):
    """The int8 kernel `inner` on weights that are unpacked to scratch before it runs."""

    op = QConv2D
    header = "mve/dfq_convolutions_s8sn_mve.h"
    isa = Isa.MVE
    struct: ClassVar[str]
    member: ClassVar[str] = "conv"
    inner: ClassVar[PointwiseS8S8MveKernel | Conv2DS8S8MveKernel | DepthwiseS8S8MveKernel]

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type in PACKED_TYPES and self.inner.fits(op, inputs, output)

    def row_bytes(self, op: QConv2D) -> int:
        """Unpacked bytes of an output channel."""
        return round_up(int(np.prod(op.weight.shape[1:])), LANES)

    def chunk(self, op: QConv2D) -> int:
        """Output channels unpacked at a time."""
        return min(op.out_channels, max(LANES, CHUNK_BYTES // self.row_bytes(op) // LANES * LANES))

    def chunks(self, op: QConv2D, weight: Array) -> list[Array]:
        """Parts of the int8 kernel's weights that are unpacked together."""
        step = round_up(self.chunk(op), TILE) * self.row_bytes(op)
        return [weight[i : i + step] for i in range(0, weight.size, step)]

    def unpacked_bytes(self, op: QConv2D) -> int:
        return padded_size(round_up(self.chunk(op), TILE) * self.row_bytes(op), VECTOR)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        inner = self.inner.code(op, inputs, output)
        (weight,) = (array for array in inner.arrays if array.role == "weight")
        words = pack_chunks(self.chunks(op, weight.values), op.weight_type, VECTOR)
        packed = (
            Field("words", "weight"),
            Field("bits", op.weight_type.bits),
            Field("channels", self.chunk(op)),
        )
        return LayerCode(
            function=self.function,
            struct=self.struct,
            title=f"{inner.title}, {op.weight_type.bits}-bit weights",
            fields=(Field("packed", packed), Field(self.member, _without_weight(inner.fields))),
            arrays=(
                ConstArray("weight", words, f"{op.weight_type.bits} bits each, {weight.comment}"),
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
        return self.unpacked_bytes(op) + self.inner.scratch_bytes(op, inputs, output)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        if self.chunk(op) < op.out_channels:
            return None  # every chunk reads the whole input
        return self.inner.overlap_lead_bytes(op, inputs, output, index)


def _without_weight(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The int8 kernel's descriptor without its weights."""
    kept = []
    for item in fields:
        if item.name == "linear":
            assert isinstance(item.value, tuple)
            members = [part for part in item.value if isinstance(part, Field) and part.name != "weight"]
            item = Field("linear", tuple(members))
        kept.append(item)
    return tuple(kept)


class PointwiseS8SnMveKernel(ConvolutionS8SnMveKernel):
    """1x1 without padding over whole vectors of channels."""

    function = "dfq_pointwise_s8sn_2x4_mve"
    struct = "dfq_pointwise_s8sn_mve_t"
    inner = PointwiseS8S8MveKernel()


class Conv2DS8SnMveKernel(ConvolutionS8SnMveKernel):
    """Any ungrouped convolution."""

    function = "dfq_conv2d_s8sn_2x4_mve"
    struct = "dfq_conv2d_s8sn_mve_t"
    inner = Conv2DS8S8MveKernel()


class DepthwiseS8SnMveKernel(ConvolutionS8SnMveKernel):
    """Any depthwise kernel; all channels are one chunk."""

    function = "dfq_depthwise_s8sn_mve"
    struct = "dfq_depthwise_s8sn_mve_t"
    member = "depthwise"
    inner: ClassVar[PointwiseS8S8MveKernel | Conv2DS8S8MveKernel | DepthwiseS8S8MveKernel] = (
        DepthwiseS8S8MveKernel()
    )

    def chunk(self, op: QConv2D) -> int:
        return op.out_channels

    def chunks(self, op: QConv2D, weight: Array) -> list[Array]:
        """[channel][four rows][width][row], without the rows that only pad."""
        rows = [op.weight[:, at : at + WORD, :, 0] for at in range(0, op.kernel[0], WORD)]
        parts = [group.transpose(0, 2, 1).reshape(op.out_channels, -1) for group in rows]
        return [np.concatenate(parts, axis=1)]

    def unpacked_bytes(self, op: QConv2D) -> int:
        padded = op.out_channels * round_up(op.kernel[0], WORD) * op.kernel[1] + 4
        return round_up(padded, LANES)

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        compact = padded_size(op.weight.size, VECTOR)
        return self.unpacked_bytes(op) + max(compact, self.inner.scratch_bytes(op, inputs, output))


class DepthwiseStride2S8SnMveKernel(DepthwiseS8SnMveKernel):
    """Three columns at stride 2."""

    function = "dfq_depthwise_stride2_s8sn_mve"
    inner = DepthwiseStride2S8S8MveKernel()


class Depthwise3x3S8SnMveKernel(DepthwiseS8SnMveKernel):
    """3x3 at stride 1."""

    function = "dfq_depthwise3x3_s8sn_mve"
    inner = Depthwise3x3S8S8MveKernel()


for _kernel in (
    PointwiseS8SnMveKernel(),
    Conv2DS8SnMveKernel(),
    Depthwise3x3S8SnMveKernel(),
    DepthwiseStride2S8SnMveKernel(),
    DepthwiseS8SnMveKernel(),
):
    REGISTRY.add(_kernel)
