"""Convolutions with int16 activations on Helium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, LayerCode, channel_array
from dfqgen.kernels.mve.gemm import TILE, pack_in_order, round_up
from dfqgen.kernels.packing import pack_chunks, padded_size
from dfqgen.kernels.portable.conv import conv_title, is_pointwise, window_fields
from dfqgen.kernels.portable.wide import any_wide, is_wide, types_title, wide_bounds
from dfqgen.kernels.portable.wide_conv import Conv2DS16SnKernel, DepthwiseS16SnKernel
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa

STEP = 8
"""int16 of a vector."""
CHUNK_BYTES = 8192
"""Unpacked weights that may lie in scratch together, where a chunk has more than one tile."""


class Conv2DS16SnMveKernel(Conv2DS16SnKernel):
    """Any ungrouped convolution, two pixels at a time; 1x1 reads the tensor itself."""

    function = "dfq_conv2d_s16sn_mve"
    header = "mve/dfq_conv2d_s16sn_mve.h"
    isa: ClassVar[Isa] = Isa.MVE

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and op.groups == 1 and any_wide(inputs[0], output)

    def gathered(self, op: QConv2D, x: QTensor) -> bool:
        """Whether windows are copied to scratch."""
        return not (is_pointwise(op) and is_wide(x) and op.weight.shape[3] % STEP == 0)

    def depth(self, op: QConv2D) -> int:
        return int(np.prod(op.weight.shape[1:]))

    def chunk(self, op: QConv2D) -> int:
        together = CHUNK_BYTES // round_up(self.depth(op), STEP) // TILE * TILE
        return min(round_up(op.out_channels, TILE), max(TILE, together))

    def weight_code(self, op: QConv2D) -> tuple[Field, ConstArray]:
        tiles = pack_in_order(op.weight.reshape(op.out_channels, -1), STEP)
        order = "[tile][step][4 channels][8 depths]"
        if op.weight_type is IntType.INT8:
            return Field("bytes", "weight"), ConstArray("weight", tiles.reshape(-1), order)
        step = self.chunk(op) // TILE
        chunks = (tiles[at : at + step] for at in range(0, len(tiles), step))
        packed = (
            Field("words", "weight"),
            Field("bits", op.weight_type.bits),
            Field("channels", self.chunk(op)),
        )
        comment = f"{op.weight_type.bits} bits each, {order}"
        return Field("packed", packed), ConstArray("weight", pack_chunks(chunks, op.weight_type), comment)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        form = op.requantize
        spare = -op.out_channels % TILE
        bounds, tables = wide_bounds(form.lo, form.hi)
        assert isinstance(bounds.value, tuple)
        field, weight = self.weight_code(op)
        bits = "" if op.weight_type is IntType.INT8 else f", {op.weight_type.bits}-bit weights"
        requantize = (
            Field("pre_shift", form.pre_shift),
            Field("zero_point", form.zero_point),
            *(item for item in bounds.value if isinstance(item, Field)),
        )
        conv = (
            field,
            Field("bias", "bias"),
            Field("requantize", requantize),
            *window_fields(op, inputs[0], output),
            Field("out_channels", op.out_channels),
            Field("groups", op.groups),
            Field("in_wide", int(is_wide(inputs[0]))),
            Field("out_wide", int(is_wide(output))),
        )
        return LayerCode(
            function=self.function,
            struct="dfq_conv2d_s16sn_mve_t",
            title=f"{conv_title(op)}, {types_title(inputs[0], output)}{bits}",
            fields=(
                Field("conv", conv),
                Field("multipliers", "multipliers"),
                Field("depth", self.depth(op)),
                Field("gathered", int(self.gathered(op, inputs[0]))),
            ),
            arrays=(
                weight,
                channel_array("bias", np.pad(op.bias.astype(np.int64), (0, spare)), "int32"),
                channel_array("multipliers", np.pad(form.multiplier, (0, spare)), "int32"),
                *tables,
            ),
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 4 * round_up(self.depth(op), STEP) + self.unpacked_bytes(op)

    def unpacked_bytes(self, op: QConv2D) -> int:
        if op.weight_type is IntType.INT8:
            return 0
        return padded_size(self.chunk(op) * round_up(self.depth(op), STEP))

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        work = super().work(op, inputs, output)
        gathered = self.gathered(op, inputs[0])
        pixels, tiles = output.shape[1] * output.shape[2], round_up(op.out_channels, TILE) // TILE
        return work | {
            "gathered_value": float(pixels * self.depth(op) if gathered else 0),
            "gathered_row": work["window_row"] if gathered else 0.0,
            "tile_vector": float(-(-pixels // 2) * tiles * (round_up(self.depth(op), STEP) // STEP)),
        }


class DepthwiseS16SnMveKernel(Conv2DS16SnMveKernel):
    """One filter a channel, four channels of two pixels at a time."""

    function = "dfq_depthwise_s16sn_mve"
    inner: ClassVar[DepthwiseS16SnKernel] = DepthwiseS16SnKernel()

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return self.inner.supports(op, inputs, output) and any_wide(inputs[0], output)

    def chunk(self, op: QConv2D) -> int:
        return op.out_channels

    def weight_code(self, op: QConv2D) -> tuple[Field, ConstArray]:
        return self.inner.weight_code(op)

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return self.inner.scratch_bytes(op, inputs, output)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return self.inner.work(op, inputs, output)


for _kernel in (DepthwiseS16SnMveKernel(), Conv2DS16SnMveKernel()):
    REGISTRY.add(_kernel)
