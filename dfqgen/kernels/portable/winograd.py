"""3x3 and 1x3 convolutions by Winograd's algorithm in portable C, with loops in assembly on Thumb."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, LayerCode, channel_array
from dfqgen.kernels.dense import GroupedKernel
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.kernels.requantize import requantize_code
from dfqgen.kernels.winograd import (
    BLOCK,
    LINE,
    SQUARE,
    UprightKernel,
    WinogradKernel,
    is_exact,
    is_winograd_layer,
    shape_field,
    transformed,
)
from dfqgen.ops.conv import QConv2D

GROUP = 4
"""Input channels between two marks."""


class WinogradS8S8Kernel(WinogradKernel):
    """Two tiles times four channels at a time."""

    group = GROUP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        if op.weight_type is not IntType.INT8 or not is_int8(inputs[0], output):
            return False
        if not is_winograd_layer(op, self.tiles):
            return False
        return is_exact(op.largest_accumulator(inputs[0]) - np.abs(op.bias.astype(np.int64)), self.tiles)

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        requantize = requantize_code(op.requantize, op.bias, op.largest_accumulator(inputs[0]))
        weight = ConstArray("weight", pack_winograd(op.weight), "transformed, in blocks of four channels")
        return LayerCode(
            self.function,
            "dfq_winograd3x3_s8s8_t",
            "{}x{} convolution by Winograd's algorithm".format(*op.kernel),
            (
                Field("weight", "weight"),
                Field("bias", "bias"),
                Field("requantize", requantize.fields),
                shape_field(op, inputs[0], output),
            ),
            (weight, channel_array("bias", requantize.bias, "int32"), *requantize.arrays),
        )


class Winograd3x3S8S8Kernel(WinogradS8S8Kernel):
    """3x3: tiles of 2x2 outputs."""

    tiles = SQUARE
    function = "dfq_winograd3x3_s8s8_8x4"
    header = "portable/dfq_winograd3x3_s8s8.h"


class Winograd1x3S8S8Kernel(WinogradS8S8Kernel):
    """1x3: tiles of two outputs."""

    tiles = LINE
    function = "dfq_winograd1x3_s8s8_4x4"
    header = "portable/dfq_winograd1x3_s8s8.h"


def pack_winograd(weight: Array) -> Array:
    """Weights [Cout, kh, 3, Cin] as int16 [blocks][positions][Cin][4], flat, the last block with zeros."""
    spare = -len(weight) % BLOCK
    padded = np.pad(transformed(weight), ((0, spare), (0, 0), (0, 0)))
    blocks = padded.reshape(-1, BLOCK, *padded.shape[1:]).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(blocks.astype(np.int16)).reshape(-1)


class UprightWinograd1x3S8S8Kernel(UprightKernel, Winograd1x3S8S8Kernel):
    """3x1 over one column."""


class GroupedWinograd3x3S8S8Kernel(GroupedKernel, Winograd3x3S8S8Kernel):
    """Groups as one."""


REGISTRY.add(Winograd3x3S8S8Kernel())
REGISTRY.add(Winograd1x3S8S8Kernel())
REGISTRY.add(UprightWinograd1x3S8S8Kernel())
REGISTRY.add(GroupedWinograd3x3S8S8Kernel())
