"""Depthwise convolutions with int16 activations on the Arm DSP extension: int8 kernels with other ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.depthwise import (
    Depthwise3x3S8S8DspKernel,
    Depthwise3x3Stride2S8S8DspKernel,
    pack_depthwise3x3,
)
from dfqgen.kernels.dsp.matmul import Rows, round_up, rows_of
from dfqgen.kernels.dsp.wide import clip_work
from dfqgen.kernels.packing import PACKED_TYPES, pack, padded_size, wrap_int32
from dfqgen.kernels.portable.conv import conv_title
from dfqgen.kernels.portable.wide import any_wide, is_wide, types_title, wide_bounds
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa


class Depthwise3x3S16SnDspKernel(Kernel[QConv2D]):
    """3x3, stride 1."""

    op = QConv2D
    function = "dfq_depthwise3x3_s16sn_dsp"
    header = "dsp/dfq_depthwise3x3_s16sn_dsp.h"
    isa = Isa.DSP
    rows_at_once = 2
    inner: ClassVar[Depthwise3x3S8S8DspKernel] = Depthwise3x3S8S8DspKernel()

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        shape = op.depthwise and op.kernel == (3, 3) and op.dilation == (1, 1)
        plain = op.stride == (self.inner.stride, self.inner.stride)
        weights = op.weight_type in (IntType.INT8, *PACKED_TYPES)
        typed = weights and any_wide(inputs[0], output)
        return shape and plain and typed and self.rows(op, output).pre_shift == 0

    def rows(self, op: QConv2D, output: QTensor) -> Rows:
        return rows_of(op, output.qtype.dtype)

    def weight_code(self, op: QConv2D, output: QTensor) -> tuple[tuple[Field, ...], tuple[ConstArray, ...]]:
        """The members of the descriptor that point to weights, and what they point to."""
        rows = self.rows(op, output)
        if op.weight_type is IntType.INT8:
            comment = "a channel: three filter columns, multiplier, bias"
            return (), (ConstArray("weight", pack_depthwise3x3(rows), comment),)
        weight = op.weight.reshape(op.out_channels, -1)
        # Channels with a large factor have its shift in their weights, which may then need more bits.
        shifted = np.any(rows.weight != weight, axis=1)
        multiplier = rows.multiplier | (shifted.astype(np.int64) << 31)
        factors = np.stack([wrap_int32(multiplier), wrap_int32(rows.bias)], axis=1)
        columns = weight.reshape(-1, 3, 3).transpose(0, 2, 1)
        packed = (
            Field("words", "weight"),
            Field("bits", op.weight_type.bits),
            Field("channels", op.out_channels),
        )
        return (
            (
                Field("packed", packed),
                Field("factors", "factors"),
                Field("shift", op.requantize.pre_shift),
            ),
            (
                ConstArray("weight", pack(columns, op.weight_type), "a channel: its filter's columns"),
                ConstArray("factors", factors.reshape(-1), "a channel: multiplier, bias"),
            ),
        )

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        x, form, types = inputs[0], op.requantize, output.qtype.dtype
        packed, arrays = self.weight_code(op, output)
        depthwise = (
            *(() if packed else (Field("stream", "weight"),)),
            Field("in_height", x.shape[1]),
            Field("in_width", x.shape[2]),
            Field("channels", x.shape[3]),
            Field("out_height", output.shape[1]),
            Field("out_width", output.shape[2]),
            Field("pad_top", op.pads.top),
            Field("pad_left", op.pads.left),
            Field("pad_value", op.pad_value),
            Field("zero_point", form.zero_point),
        )
        narrow = bool(np.any(form.lo > types.minimum) or np.any(form.hi < types.maximum))
        bounds, tables = wide_bounds(form.lo, form.hi)
        bits = "" if op.weight_type is IntType.INT8 else f", {op.weight_type.bits}-bit weights"
        return LayerCode(
            function=self.function,
            struct="dfq_depthwise3x3_s16sn_dsp_t",
            title=f"{conv_title(op)}, {types_title(x, output)}{bits}",
            fields=(
                Field("inner", (*packed, Field("depthwise", depthwise))),
                Field("in_wide", int(is_wide(x))),
                Field("out_wide", int(is_wide(output))),
                *((Field("narrow", 1), bounds) if narrow else ()),
            ),
            arrays=(*arrays, *(tables if narrow else ())),
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        inner = self.inner.scratch_bytes(op, inputs, output)
        if op.weight_type is IntType.INT8:
            return inner
        return round_up(20 * op.out_channels, 16) + max(inner, padded_size(op.weight.size))

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(op, inputs, output) | clip_work(op, output)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        in_bytes, out_bytes = (op.out_channels * t.qtype.dtype.bits // 8 for t in (inputs[0], output))
        reads, blocks, block_first = self.inner.overlap_blocks(op, inputs[0], output)
        return overlap.block_lead_bytes(reads, blocks, in_bytes, out_bytes, reads_block_first=block_first)


class Depthwise3x3Stride2S16SnDspKernel(Depthwise3x3S16SnDspKernel):
    """3x3, stride 2."""

    function = "dfq_depthwise3x3_stride2_s16sn_dsp"
    rows_at_once = 1
    inner = Depthwise3x3Stride2S8S8DspKernel()


for _kernel in (Depthwise3x3S16SnDspKernel(), Depthwise3x3Stride2S16SnDspKernel()):
    REGISTRY.add(_kernel)
