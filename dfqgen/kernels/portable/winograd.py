"""3x3 convolutions by Winograd's algorithm in portable C, with loops in assembly on Thumb."""

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
    POSITIONS,
    WinogradKernel,
    is_exact,
    is_winograd_layer,
    shape_field,
    transformed,
)
from dfqgen.ops.conv import QConv2D

GROUP = 4
"""Input channels between two marks."""


class Winograd3x3S8S8Kernel(WinogradKernel):
    """Two tiles of 2x2 outputs times four channels at a time."""

    group = GROUP
    function = "dfq_winograd3x3_s8s8_8x4"
    header = "portable/dfq_winograd3x3_s8s8.h"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        if op.weight_type is not IntType.INT8 or not is_int8(inputs[0], output) or not is_winograd_layer(op):
            return False
        return is_exact(op.largest_accumulator(inputs[0]) - np.abs(op.bias.astype(np.int64)))

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        requantize = requantize_code(op.requantize, op.bias, op.largest_accumulator(inputs[0]))
        weight = ConstArray("weight", pack_winograd(op.weight), "transformed, in blocks of four channels")
        return LayerCode(
            self.function,
            "dfq_winograd3x3_s8s8_t",
            "3x3 convolution by Winograd's algorithm",
            (
                Field("weight", "weight"),
                Field("bias", "bias"),
                Field("requantize", requantize.fields),
                shape_field(op, inputs[0], output),
            ),
            (weight, channel_array("bias", requantize.bias, "int32"), *requantize.arrays),
        )


def pack_winograd(weight: Array) -> Array:
    """Weights [Cout, 3, 3, Cin] as int16 [blocks][16][Cin][4], flat, the last block padded with zeros."""
    spare = -len(weight) % BLOCK
    padded = np.pad(transformed(weight), ((0, spare), (0, 0), (0, 0)))
    blocks = padded.reshape(-1, BLOCK, POSITIONS, weight.shape[3]).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(blocks.astype(np.int16)).reshape(-1)


class GroupedWinograd3x3S8S8Kernel(GroupedKernel, Winograd3x3S8S8Kernel):
    """Groups as one."""


REGISTRY.add(Winograd3x3S8S8Kernel())
REGISTRY.add(GroupedWinograd3x3S8S8Kernel())
