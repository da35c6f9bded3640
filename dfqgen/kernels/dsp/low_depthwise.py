"""Depthwise convolutions with packed weights on the Arm DSP extension: int8 kernels, unpacked streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.depthwise import Depthwise3x3S8S8DspKernel, Depthwise3x3Stride2S8S8DspKernel
from dfqgen.kernels.dsp.matmul import round_up, rows_of
from dfqgen.kernels.packing import PACKED_TYPES, pack, padded_size, wrap_int32
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa


def as_int8(op: QConv2D) -> QConv2D:
    """The same layer with a byte a weight."""
    return replace(op, weight_type=IntType.INT8)


class Depthwise3x3S8SnDspKernel(Kernel[QConv2D]):
    """3x3, stride 1."""

    op = QConv2D
    function = "dfq_depthwise3x3_s8sn_dsp"
    header = "dsp/dfq_depthwise3x3_s8sn_dsp.h"
    isa = Isa.DSP
    rows_at_once = 2
    inner: ClassVar[Depthwise3x3S8S8DspKernel] = Depthwise3x3S8S8DspKernel()

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.weight_type in PACKED_TYPES and self.inner.supports(as_int8(op), inputs, output)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        inner = self.inner.code(as_int8(op), inputs, output)
        rows = rows_of(op)
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
        return LayerCode(
            function=self.function,
            struct="dfq_depthwise3x3_s8sn_dsp_t",
            title=f"{inner.title}, {op.weight_type.bits}-bit weights",
            fields=(
                Field("packed", packed),
                Field("factors", "factors"),
                Field("shift", op.requantize.pre_shift),
                Field("depthwise", tuple(item for item in inner.fields if item.value != "weight")),
            ),
            arrays=(
                ConstArray("weight", pack(columns, op.weight_type), "a channel: its filter's columns"),
                ConstArray("factors", factors.reshape(-1), "a channel: multiplier, bias"),
                *(array for array in inner.arrays if array.role != "weight"),
            ),
        )

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(op, inputs, output) | {"channel": float(op.out_channels)}

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        inner = self.inner.scratch_bytes(as_int8(op), inputs, output)
        return round_up(20 * op.out_channels, 16) + max(inner, padded_size(op.weight.size))

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return self.inner.overlap_lead_bytes(as_int8(op), inputs, output, index)


class Depthwise3x3Stride2S8SnDspKernel(Depthwise3x3S8SnDspKernel):
    """3x3, stride 2."""

    function = "dfq_depthwise3x3_stride2_s8sn_dsp"
    rows_at_once = 1
    inner = Depthwise3x3Stride2S8S8DspKernel()


for _kernel in (Depthwise3x3S8SnDspKernel(), Depthwise3x3Stride2S8SnDspKernel()):
    REGISTRY.add(_kernel)
