"""3x3 convolutions by Winograd's algorithm on the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, LayerCode
from dfqgen.kernels.dense import GroupedKernel
from dfqgen.kernels.dsp.matmul import Rows, bounds_code, is_int8_layer, round_up, rows_of
from dfqgen.kernels.packing import wrap_int32
from dfqgen.kernels.winograd import (
    BLOCK,
    FACTOR,
    POSITIONS,
    WinogradKernel,
    is_exact,
    is_winograd_layer,
    shape_field,
    transformed,
)
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Isa

GROUP = 8
"""Input channels between two marks."""


class Winograd3x3S8S8DspKernel(WinogradKernel):
    """Two tiles of 2x2 outputs times four channels at a time."""

    group = GROUP
    function = "dfq_winograd3x3_s8s8_8x4_dsp"
    header = "dsp/dfq_winograd3x3_s8s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        if not is_int8_layer(op, inputs[0], output) or not is_winograd_layer(op):
            return False
        rows = rows_of(op)
        return rows.pre_shift == 0 and is_exact(rows.largest)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        bounds = bounds_code(op.requantize.lo, op.requantize.hi)
        comment = "for blocks of four channels: transformed weights, biases, multipliers"
        stream = ConstArray("weight", pack_winograd(rows_of(op), op.weight.shape[3]), comment)
        return LayerCode(
            self.function,
            "dfq_winograd3x3_s8s8_dsp_t",
            "3x3 convolution by Winograd's algorithm",
            (
                Field("stream", "weight"),
                *bounds.fields,
                Field("zero_point", op.requantize.zero_point),
                shape_field(op, inputs[0], output),
            ),
            (stream, *bounds.arrays),
        )


def pack_winograd(rows: Rows, in_channels: int) -> Array:
    """The words int32 of a layer in the layout of dfq_winograd3x3_s8s8_dsp.h."""
    channels = len(rows.weight)
    blocks, depth = -(-channels // BLOCK), round_up(in_channels, GROUP)
    spare = blocks * BLOCK - channels
    weight = transformed(rows.weight.reshape(channels, 3, 3, in_channels))
    weight = np.pad(weight, ((0, spare), (0, 0), (0, depth - in_channels)))
    # [block, channel, position, group of four inputs, second of two, odd input or not]
    lanes = weight.reshape(blocks, BLOCK, POSITIONS, depth // 4, 2, 2)
    # A word holds inputs k and k + 2; words run over the channels, then k + 1.
    lanes = lanes.transpose(0, 2, 3, 5, 1, 4).reshape(blocks, -1)
    words = np.ascontiguousarray(lanes.astype("<i2")).view("<i4")
    biases = wrap_int32(FACTOR * np.pad(rows.bias, (0, spare))).reshape(blocks, BLOCK)
    multipliers = wrap_int32(np.pad(rows.multiplier, (0, spare))).reshape(blocks, BLOCK)
    return np.concatenate((words, biases, multipliers), axis=1).reshape(-1)


class GroupedWinograd3x3S8S8DspKernel(GroupedKernel, Winograd3x3S8S8DspKernel):
    """Groups as one."""


REGISTRY.add(Winograd3x3S8S8DspKernel())
REGISTRY.add(GroupedWinograd3x3S8S8DspKernel())
