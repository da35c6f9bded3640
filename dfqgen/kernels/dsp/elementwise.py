"""What is no product with weights on the Arm DSP extension: four int8 a word, or two int16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.matmul import is_int8
from dfqgen.kernels.portable.pool import AveragePoolS8Kernel, MaxPoolS8Kernel
from dfqgen.kernels.portable.resize import ResizeLinearS16Kernel
from dfqgen.kernels.portable.wide import AddS16Kernel, as_bytes, is_wide
from dfqgen.kernels.portable.wide_pairs import MultiplyS16Kernel
from dfqgen.kernels.requantize import one_clamp
from dfqgen.ops.add import QAdd
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.multiply import QWideMul
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.targets import Isa


class AddS8DspKernel(Kernel[QAdd]):
    """Sum of two tensors, one SMLAD an element."""

    op = QAdd
    function = "dfq_add_s8_dsp"
    header = "dsp/dfq_add_s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output) and one_clamp(op.lo, op.hi) and op.shift >= 1 and not op.dropped

    def code(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        pair = np.array(op.multipliers, np.int16).view("<i4")
        fields = (
            Field("elements", output.elements),
            Field("multipliers", int(pair[0]), f"{op.multipliers[0]}, {op.multipliers[1]}"),
            Field("offset", op.offset),
            Field("shift", op.shift),
            Field("lo", int(op.lo[0])),
            Field("hi", int(op.hi[0])),
        )
        return LayerCode(self.function, "dfq_add_s8_dsp_t", "sum", fields)

    def overlap_lead_bytes(
        self, op: QAdd, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


class AddS16DspKernel(AddS16Kernel):
    """Two elements at a time, where products are upper words."""

    function = "dfq_add_s16_dsp"
    header = "dsp/dfq_add_s16_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        upper = op.dropped > 0 and op.shift >= 1
        return super().supports(op, inputs, output) and one_clamp(op.lo, op.hi) and upper


class MultiplyS16DspKernel(MultiplyS16Kernel):
    """Two elements at a time."""

    function = "dfq_multiply_s16_dsp"
    header = "dsp/dfq_multiply_s16_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QWideMul, inputs: Sequence[QTensor], output: QTensor) -> bool:
        halves = all(not is_wide(x) or zero == 0 for x, zero in zip(inputs, op.zero_points, strict=True))
        return halves and super().supports(op, inputs, output)


class LookupS8DspKernel(Kernel[QLookup]):
    """A 256-entry table."""

    op = QLookup
    function = "dfq_lookup_s8_dsp"
    header = "dsp/dfq_lookup_s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output)

    def code(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        table = ConstArray("table", np.roll(op.table.astype(np.int8), 128), "of 0..127, then of -128..-1")
        fields = (Field("table", "table"), Field("elements", output.elements))
        return LayerCode(self.function, "dfq_lookup_s8_dsp_t", "table of 256", fields, (table,))

    def overlap_lead_bytes(
        self, op: QLookup, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


class AveragePoolS8DspKernel(AveragePoolS8Kernel):
    """Mean of each window, four channels at a time."""

    function = "dfq_average_pool_s8_dsp"
    header = "dsp/dfq_pool_s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        small = op.kernel[0] * op.kernel[1] <= 256  # sums are 16 bits
        fits = super().supports(op, inputs, output) and output.shape[3] % 4 == 0
        return fits and small and not op.even_count


class MaxPoolS8DspKernel(MaxPoolS8Kernel):
    """Largest of each window, four channels at a time."""

    function = "dfq_max_pool_s8_dsp"
    header = "dsp/dfq_pool_s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and output.shape[3] % 4 == 0


class MaxPoolS16DspKernel(MaxPoolS8Kernel):
    """Largest of each window of int16, two channels at a time."""

    function = "dfq_max_pool_s16_dsp"
    header = "dsp/dfq_pool_s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_wide(inputs[0]) and is_wide(output) and output.shape[3] % 2 == 0

    def code(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(op, (as_bytes(inputs[0]),), as_bytes(output))
        return replace(code, title=f"{code.title}, int16")

    def overlap_lead_bytes(
        self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return super().overlap_lead_bytes(op, (as_bytes(inputs[0]),), as_bytes(output), index)


class ResizeLinearS16DspKernel(ResizeLinearS16Kernel):
    """Two channels at a time, one SMLAD for both columns of a row."""

    function = "dfq_resize_linear_s16_dsp"
    header = "dsp/dfq_resize_linear_s16_dsp.h"
    isa = Isa.DSP


for _kernel in (
    AddS8DspKernel(),
    AddS16DspKernel(),
    MultiplyS16DspKernel(),
    LookupS8DspKernel(),
    AveragePoolS8DspKernel(),
    MaxPoolS8DspKernel(),
    MaxPoolS16DspKernel(),
    ResizeLinearS16DspKernel(),
):
    REGISTRY.add(_kernel)
