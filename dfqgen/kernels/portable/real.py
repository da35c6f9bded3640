"""Portable kernels of float32 inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import REGISTRY, Field, Kernel, LayerCode
from dfqgen.kernels.portable.wide import in_order_lead
from dfqgen.ops.real import QDequantize, QQuantize

HEADER = "portable/dfq_real_f32.h"
WIDTH = {IntType.INT8: 0, IntType.INT16: 1, IntType.INT32: 2}
"""What descriptors say of integers."""


class QuantizeF32Kernel(Kernel[QQuantize]):
    """Reals to the nearest integers."""

    op = QQuantize
    function = "dfq_quantize_f32"
    header = HEADER

    def supports(self, op: QQuantize, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return True

    def code(self, op: QQuantize, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_quantize_f32_t",
            title=f"float32 to {output.qtype.dtype}",
            fields=(
                Field("elements", output.elements),
                Field("twice", op.twice),
                Field("zero_point", op.zero_point),
                Field("lo", op.lo),
                Field("hi", op.hi),
                Field("out_wide", WIDTH[output.qtype.dtype]),
            ),
        )

    def overlap_lead_bytes(
        self, op: QQuantize, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


class DequantizeF32Kernel(Kernel[QDequantize]):
    """Integers to the reals they stand for."""

    op = QDequantize
    function = "dfq_dequantize_f32"
    header = HEADER

    def supports(self, op: QDequantize, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return True

    def code(self, op: QDequantize, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_dequantize_f32_t",
            title=f"{inputs[0].qtype.dtype} to float32",
            fields=(
                Field("elements", output.elements),
                Field("scale", op.scale),
                Field("zero_point", op.zero_point),
                Field("in_wide", WIDTH[inputs[0].qtype.dtype]),
            ),
        )

    def overlap_lead_bytes(
        self, op: QDequantize, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return in_order_lead(inputs[0], output)


REGISTRY.add(QuantizeF32Kernel())
REGISTRY.add(DequantizeF32Kernel())
