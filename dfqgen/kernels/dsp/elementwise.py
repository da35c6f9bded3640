"""Sums, tables and pooling on the Arm DSP extension: four int8 a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.dsp.matmul import is_int8
from dfqgen.kernels.portable.pool import AveragePoolKernel, MaxPoolKernel
from dfqgen.ops.add import QAdd
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.targets import Isa


class DspAddKernel(Kernel[QAdd]):
    """Sum of two tensors, one SMLAD an element."""

    op = QAdd
    function = "dfq_dsp_add"
    header = "dsp/dfq_dsp_add.h"
    isa = Isa.DSP

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        uniform = bool(np.all(op.lo == op.lo[0]) and np.all(op.hi == op.hi[0]))
        return is_int8(*inputs, output) and uniform and op.shift >= 1

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
        return LayerCode(self.function, "dfq_dsp_add_t", "sum", fields)

    def overlap_lead_bytes(
        self, op: QAdd, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0

    def cost(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> float:
        clamps = int(op.lo[0] > -128) + int(op.hi[0] < 127)
        return (5.9 + 0.5 * clamps) * output.elements


class DspLookupKernel(Kernel[QLookup]):
    """A 256-entry table."""

    op = QLookup
    function = "dfq_dsp_lookup"
    header = "dsp/dfq_dsp_lookup.h"
    isa = Isa.DSP

    def supports(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output)

    def code(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        table = ConstArray("table", np.roll(op.table.astype(np.int8), 128), "of 0..127, then of -128..-1")
        fields = (Field("table", "table"), Field("elements", output.elements))
        return LayerCode(self.function, "dfq_dsp_lookup_t", "table of 256", fields, (table,))

    def overlap_lead_bytes(
        self, op: QLookup, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0

    def cost(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> float:
        return 3.8 * output.elements


class DspAveragePoolKernel(AveragePoolKernel):
    """Mean of each window, four channels at a time."""

    function = "dfq_dsp_average_pool"
    header = "dsp/dfq_dsp_pool.h"
    isa = Isa.DSP

    def supports(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        small = op.kernel[0] * op.kernel[1] <= 256  # sums are 16 bits
        return super().supports(op, inputs, output) and output.shape[3] % 4 == 0 and small

    def cost(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> float:
        return output.elements * (6.0 + 0.85 * op.kernel[0] * op.kernel[1])


class DspMaxPoolKernel(MaxPoolKernel):
    """Largest of each window, four channels at a time."""

    function = "dfq_dsp_max_pool"
    header = "dsp/dfq_dsp_pool.h"
    isa = Isa.DSP

    def supports(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and output.shape[3] % 4 == 0

    def cost(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> float:
        return output.elements * (6.0 + 1.6 * op.kernel[0] * op.kernel[1])


for _kernel in (DspAddKernel(), DspLookupKernel(), DspAveragePoolKernel(), DspMaxPoolKernel()):
    REGISTRY.add(_kernel)
