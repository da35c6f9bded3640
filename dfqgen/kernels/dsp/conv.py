"""Convolutions and fully connected layers on the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels import overlap
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dense import GroupedKernel
from dfqgen.kernels.dsp.matmul import (
    BLOCK,
    bounds_code,
    can_pair,
    is_int8_layer,
    is_int8_range,
    matmul_code,
    pack_few,
    round_up,
    rows_of,
)
from dfqgen.kernels.portable.conv import conv_title, is_pointwise, window_fields
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS
from dfqgen.targets import Isa


class Conv2DS8S8DspKernel(Kernel[QConv2D]):
    """Any ungrouped convolution: two windows widened to scratch, times four channels at a time."""

    op = QConv2D
    function = "dfq_conv2d_s8s8_2x4_dsp"
    header = "dsp/dfq_conv2d_s8s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8_layer(op, inputs[0], output) and op.groups == 1

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        matmul = matmul_code(op)
        return LayerCode(
            self.function,
            "dfq_conv2d_s8s8_dsp_t",
            conv_title(op),
            (*matmul.fields, *window_fields(op, inputs[0], output)),
            matmul.arrays,
        )

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        depth = round_up(int(np.prod(op.weight.shape[1:])), 4)
        return depth * (4 if op.weight.shape[3] % 4 == 0 else 6)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        image, outputs = inputs[0].shape[1:3], output.shape[1:3]
        reads = overlap.window_first_reads(image, outputs, op.stride, op.pads)
        blocks = np.arange(outputs[0] * outputs[1]) // 2
        return overlap.block_lead_bytes(
            reads, blocks, inputs[0].shape[3], op.out_channels, reads_block_first=True
        )


class GroupedConv2DS8S8DspKernel(GroupedKernel, Conv2DS8S8DspKernel):
    """Groups as one."""


class PointwiseS8S8DspKernel(Conv2DS8S8DspKernel):
    """1x1 convolution: two neighbouring pixels."""

    function = "dfq_pointwise_s8s8_2x4_dsp"
    header = "dsp/dfq_pointwise_s8s8_dsp.h"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and is_pointwise(op) and op.weight.shape[3] % 4 == 0

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        matmul = matmul_code(op)
        fields = (*matmul.fields, Field("pixels", output.shape[1] * output.shape[2]))
        return LayerCode(self.function, "dfq_pointwise_s8s8_dsp_t", conv_title(op), fields, matmul.arrays)


class PointwiseFewS8S8DspKernel(Kernel[QConv2D]):
    """1x1 to few channels: two pixels by two channels, without the channels that fill a block of four."""

    op = QConv2D
    function = "dfq_pointwise_few_s8s8_2x2_dsp"
    header = "dsp/dfq_pointwise_few_s8s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        words = op.weight.shape[3] % 4 == 0
        return is_int8_layer(op, inputs[0], output) and is_pointwise(op) and words and op.out_channels < BLOCK

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        form, rows = op.requantize, rows_of(op)
        bounds = bounds_code(form.lo, form.hi)
        stream = ConstArray("weight", pack_few(rows), "biases, weights and multipliers of two channels each")
        fields = (
            Field("stream", "weight"),
            *bounds.fields,
            Field("pixels", output.shape[1] * output.shape[2]),
            Field("in_channels", op.weight.shape[3]),
            Field("out_channels", op.out_channels),
            Field("zero_point", form.zero_point),
            Field("pre_shift", rows.pre_shift),
        )
        arrays = (stream, *bounds.arrays)
        return LayerCode(self.function, "dfq_pointwise_few_s8s8_dsp_t", conv_title(op), fields, arrays)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        reads = np.arange(output.shape[1] * output.shape[2])
        once = op.out_channels <= 2
        return overlap.block_lead_bytes(
            reads, reads // 2, inputs[0].shape[3], op.out_channels, reads_block_first=once
        )

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        pairs = -(-output.shape[1] * output.shape[2] // 2)
        words = float(pairs * op.weight.shape[3] // 4)
        two, one = divmod(op.out_channels, 2)
        return {
            "word_2x2": words * two,
            "word_2x1": words * one,
            "pair_2x2": float(pairs * two),
            "pair_2x1": float(pairs * one),
            "narrow_pair": float(
                pairs * op.out_channels * (not is_int8_range(op.requantize.lo, op.requantize.hi))
            ),
        }


class FullyConnectedS8S8DspKernel(Kernel[QConv2D]):
    """A window over the whole input: the input is read in place, widened on the fly."""

    op = QConv2D
    function = "dfq_fully_connected_s8s8_1x4_dsp"
    header = "dsp/dfq_fully_connected_s8s8_dsp.h"
    isa = Isa.DSP
    padded = False

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        x = inputs[0]
        whole = is_pointwise(op) or (op.kernel == x.shape[1:3] and op.dilation == (1, 1))
        single = output.shape[1:3] == (1, 1) and op.pads == NO_PADS and op.groups == 1
        return is_int8_layer(op, x, output) and whole and single and (x.elements % 4 != 0) == self.padded

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        matmul = matmul_code(op)
        fields = (*matmul.fields, Field("in_channels", inputs[0].elements))
        return LayerCode(
            self.function, "dfq_fully_connected_s8s8_dsp_t", "fully connected", fields, matmul.arrays
        )


class FullyConnectedWidenedS8S8DspKernel(FullyConnectedS8S8DspKernel):
    """The same, widened once, where that no more than doubles the layer's memory."""

    function = "dfq_fully_connected_widened_s8s8_1x4_dsp"

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        small = op.out_channels >= inputs[0].elements
        return small and super().supports(op, inputs, output) and can_pair(rows_of(op))

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 2 * inputs[0].elements


class FullyConnectedPaddedS8S8DspKernel(FullyConnectedS8S8DspKernel):
    """The same for an input that does not fill its last word."""

    function = "dfq_fully_connected_padded_s8s8_1x4_dsp"
    padded = True

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return round_up(inputs[0].elements, 4)


for _kernel in (
    Conv2DS8S8DspKernel(),
    GroupedConv2DS8S8DspKernel(),
    PointwiseS8S8DspKernel(),
    PointwiseFewS8S8DspKernel(),
    FullyConnectedS8S8DspKernel(),
    FullyConnectedWidenedS8S8DspKernel(),
    FullyConnectedPaddedS8S8DspKernel(),
):
    REGISTRY.add(_kernel)
