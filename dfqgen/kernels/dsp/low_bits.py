"""Convolutions and fully connected layers with 4-bit and 2-bit weights on the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.conv import Conv2DS8S8DspKernel
from dfqgen.kernels.dsp.matmul import (
    BLOCK,
    EXACT_LIMIT,
    Rows,
    bounds_code,
    is_int8,
    round_up,
    rows_of,
)
from dfqgen.kernels.packing import wrap_int32
from dfqgen.kernels.portable.conv import conv_title, is_pointwise, window_fields
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS
from dfqgen.targets import Isa

HEADER_BYTES = 16
"""Before the activations in scratch: what the offsets of the weights amount to."""
DEPTH_MULTIPLE = {IntType.INT4: 4, IntType.INT2: 8}


def low_bit_rows(op: QConv2D) -> Rows | None:
    """The layer's rows, if the sums of dfq_dsp_matmul_{4,2}bit.h are proved exact for them."""
    rows = rows_of(op)
    odd = rows.weight[1::2]
    inside = rows.weight.min() >= op.weight_type.minimum and rows.weight.max() <= op.weight_type.maximum
    if rows.pre_shift or not inside:
        return None
    if op.weight_type is IntType.INT4:
        exact = bool(np.all(16 * rows.largest[1::2] < EXACT_LIMIT) and np.all(16 * rows.largest < 1 << 31))
    else:
        # The upper 18 bits of a shared sum are the odd channel's, without its bias.
        exact = op.weight_type is IntType.INT2 and bool(np.all(128 * np.abs(odd).sum(axis=1) < 1 << 17))
    return rows if exact else None


def pack_low_bits(rows: Rows, dtype: IntType) -> Array:
    """The words int32 of a layer in the layout of dfq_dsp_matmul_{4,2}bit.h."""
    channels, inputs = rows.weight.shape
    depth = round_up(inputs, DEPTH_MULTIPLE[dtype])
    blocks = -(-channels // BLOCK)
    spare = blocks * BLOCK - channels
    weight = np.pad(rows.weight, ((0, spare), (0, depth - inputs))).reshape(blocks, 2, 2, depth)
    bias = np.pad(rows.bias, (0, spare)).reshape(blocks, 2, 2)
    multiplier = np.pad(rows.multiplier, (0, spare)).reshape(blocks, 2, 2)
    if dtype is IntType.INT4:
        first = np.stack([16 * bias[..., 0], 16 * (256 * bias[..., 1] + bias[..., 0])], axis=2)
        head, words, tail = [first], _words_4(weight), [multiplier]
    else:
        head, words = [bias[..., 0]], _words_2(weight)
        tail = [bias[..., 1], multiplier[..., 0], multiplier[..., 1]]
    columns = [wrap_int32(part.reshape(blocks, -1)) for part in (*head, words, *tail)]
    return np.concatenate(columns, axis=1).reshape(-1)


def _words_4(weight: Array) -> Array:
    """weight [blocks, pair, channel, depth] as words [blocks, depth / 2]: two nibbles a byte."""
    blocks, _, _, depth = weight.shape
    # [block, pair, channel, group of four, second of two, odd input or not]
    lanes = weight.reshape(blocks, 2, 2, depth // 4, 2, 2)
    values = 16 * lanes[..., 0] + lanes[..., 1] + 8
    values[:, :, 0] += 128
    order = values.transpose(0, 3, 1, 4, 2).reshape(blocks, -1, 4)
    packed: Array = np.ascontiguousarray(order.astype(np.uint8)).view("<u4").reshape(blocks, -1)
    return packed.astype(np.int64)


def _words_2(weight: Array) -> Array:
    """weight [blocks, pair, channel, depth] as words [blocks, depth / 4]: four rotations of eight bits."""
    blocks, _, _, depth = weight.shape
    # [block, pair, channel, group of eight, group of four, second of two, odd input or not]
    lanes = weight.reshape(blocks, 2, 2, depth // 8, 2, 2, 2)
    halves = (lanes[:, :, 0] + 2) | (lanes[:, :, 1] & 3) << 14
    steps = halves[..., 0, :] | halves[..., 1, :] << 16  # [block, pair, group, group of four, odd or not]
    packed = np.zeros(steps.shape[:3], np.int64)
    for step in range(4):
        word = steps[..., step // 2, step % 2]
        packed |= (word << 4 * step | word >> (32 - 4 * step)) & 0xFFFFFFFF
    return packed.transpose(0, 2, 1).reshape(blocks, -1)


class ConvolutionLowBitsDspKernel(Kernel[QConv2D]):
    """What both layers share: the stream."""

    op = QConv2D
    header = "dsp/dfq_conv2d_s8sn_dsp.h"
    isa = Isa.DSP
    dtype: ClassVar[IntType]
    struct: ClassVar[str]

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        raise NotImplementedError

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        plain = op.weight_type is self.dtype and is_int8(inputs[0], output)
        return plain and self.fits(op, inputs, output) and low_bit_rows(op) is not None

    def depth(self, op: QConv2D) -> int:
        return round_up(int(np.prod(op.weight.shape[1:])), DEPTH_MULTIPLE[self.dtype])

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        raise NotImplementedError

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        rows = low_bit_rows(op)
        assert rows is not None, "supported"
        bounds = bounds_code(op.requantize.lo, op.requantize.hi)
        matmul = (
            Field("stream", "weight"),
            Field("depth", self.depth(op)),
            Field("out_channels", op.out_channels),
            Field("zero_point", op.requantize.zero_point),
        )
        comment = f"biases, {self.dtype.bits}-bit weights in blocks of four channels, multipliers"
        stream = ConstArray("weight", pack_low_bits(rows, self.dtype), comment)
        return LayerCode(
            self.function,
            self.struct,
            f"{conv_title(op)}, {self.dtype.bits}-bit weights",
            (Field("matmul", matmul), *bounds.fields, *self.geometry(op, inputs[0], output)),
            (stream, *bounds.arrays),
        )


class Conv2DS8S4DspKernel(ConvolutionLowBitsDspKernel):
    """Any ungrouped convolution: two windows at a time."""

    function = "dfq_conv2d_s8s4_2x4_dsp"
    struct = "dfq_conv2d_s8s8_dsp_t"
    dtype = IntType.INT4
    inner: ClassVar[Conv2DS8S8DspKernel] = Conv2DS8S8DspKernel()

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.groups == 1

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return window_fields(op, x, output)

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return HEADER_BYTES + self.depth(op) * (4 if op.weight.shape[3] % 4 == 0 else 6)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return self.inner.overlap_lead_bytes(op, inputs, output, index)


class Conv2DS8S2DspKernel(Conv2DS8S4DspKernel):
    """The same with four products an instruction."""

    function = "dfq_conv2d_s8s2_2x4_dsp"
    dtype = IntType.INT2


class FullyConnectedS8S4DspKernel(ConvolutionLowBitsDspKernel):
    """A window over the whole input."""

    function = "dfq_fully_connected_s8s4_1x4_dsp"
    struct = "dfq_fully_connected_s8s8_dsp_t"
    dtype = IntType.INT4

    def fits(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        whole = is_pointwise(op) or (op.kernel == inputs[0].shape[1:3] and op.dilation == (1, 1))
        return whole and output.shape[1:3] == (1, 1) and op.pads == NO_PADS and op.groups == 1

    def geometry(self, op: QConv2D, x: QTensor, output: QTensor) -> tuple[Field, ...]:
        return (Field("in_channels", x.elements),)

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return HEADER_BYTES + 2 * self.depth(op)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0  # the input is widened to scratch first


class FullyConnectedS8S2DspKernel(FullyConnectedS8S4DspKernel):
    """The same with four products an instruction."""

    function = "dfq_fully_connected_s8s2_1x4_dsp"
    dtype = IntType.INT2


for _kernel in (
    Conv2DS8S4DspKernel(),
    Conv2DS8S2DspKernel(),
    FullyConnectedS8S4DspKernel(),
    FullyConnectedS8S2DspKernel(),
):
    REGISTRY.add(_kernel)
