"""3x3 and 1x3 convolutions by Winograd's algorithm on the Arm DSP extension."""

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
    LINE,
    SQUARE,
    Tiles,
    UprightKernel,
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


class WinogradS8S8DspKernel(WinogradKernel):
    """Two tiles times four channels at a time."""

    group = GROUP
    isa = Isa.DSP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        if not is_int8_layer(op, inputs[0], output) or not is_winograd_layer(op, self.tiles):
            return False
        rows = rows_of(op)
        return rows.pre_shift == 0 and is_exact(rows.largest, self.tiles)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        bounds = bounds_code(op.requantize.lo, op.requantize.hi)
        comment = "for blocks of four channels: transformed weights, biases, multipliers"
        stream = ConstArray("weight", pack_winograd(rows_of(op), op.weight.shape[3], self.tiles), comment)
        return LayerCode(
            self.function,
            "dfq_winograd3x3_s8s8_dsp_t",
            "{}x{} convolution by Winograd's algorithm".format(*op.kernel),
            (
                Field("stream", "weight"),
                *bounds.fields,
                Field("zero_point", op.requantize.zero_point),
                shape_field(op, inputs[0], output),
            ),
            (stream, *bounds.arrays),
        )


class Winograd3x3S8S8DspKernel(WinogradS8S8DspKernel):
    """3x3: tiles of 2x2 outputs."""

    tiles = SQUARE
    function = "dfq_winograd3x3_s8s8_8x4_dsp"
    header = "dsp/dfq_winograd3x3_s8s8_dsp.h"


class Winograd1x3S8S8DspKernel(WinogradS8S8DspKernel):
    """1x3: tiles of two outputs."""

    tiles = LINE
    function = "dfq_winograd1x3_s8s8_4x4_dsp"
    header = "dsp/dfq_winograd1x3_s8s8_dsp.h"


def pack_winograd(rows: Rows, in_channels: int, tiles: Tiles) -> Array:
    """The words int32 of a layer in the layout of dfq_dsp_winograd.h."""
    channels = len(rows.weight)
    blocks, depth = -(-channels // BLOCK), round_up(in_channels, GROUP)
    spare = blocks * BLOCK - channels
    weight = transformed(rows.weight.reshape(channels, *tiles.kernel, in_channels))
    weight = np.pad(weight, ((0, spare), (0, 0), (0, depth - in_channels)))
    # [block, channel, position, group of four inputs, second of two, odd input or not]
    lanes = weight.reshape(blocks, BLOCK, tiles.positions, depth // 4, 2, 2)
    # A word holds inputs k and k + 2; words run over the channels, then k + 1.
    lanes = lanes.transpose(0, 2, 3, 5, 1, 4).reshape(blocks, -1)
    words = np.ascontiguousarray(lanes.astype("<i2")).view("<i4")
    biases = wrap_int32(tiles.factor * np.pad(rows.bias, (0, spare))).reshape(blocks, BLOCK)
    multipliers = wrap_int32(np.pad(rows.multiplier, (0, spare))).reshape(blocks, BLOCK)
    return np.concatenate((words, biases, multipliers), axis=1).reshape(-1)


class UprightWinograd1x3S8S8DspKernel(UprightKernel, Winograd1x3S8S8DspKernel):
    """3x1 over one column."""


class GroupedWinograd3x3S8S8DspKernel(GroupedKernel, Winograd3x3S8S8DspKernel):
    """Groups as one."""


REGISTRY.add(Winograd3x3S8S8DspKernel())
REGISTRY.add(Winograd1x3S8S8DspKernel())
REGISTRY.add(UprightWinograd1x3S8S8DspKernel())
REGISTRY.add(GroupedWinograd3x3S8S8DspKernel())
