"""Portable kernels that go element by element: QAdd and QLookup. The output may be an input."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.kernels.requantize import bounds_code
from dfqgen.ops.add import QAdd
from dfqgen.ops.lookup import QInterpolate, QLookup


class AddS8Kernel(Kernel[QAdd]):
    """Sum of two tensors."""

    op = QAdd
    function = "dfq_add_s8"
    header = "portable/dfq_add_s8.h"

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output) and not op.dropped

    def code(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        bounds, arrays = bounds_code(op.lo, op.hi)
        return LayerCode(
            function=self.function,
            struct="dfq_add_s8_t",
            title="sum",
            fields=(
                Field("elements", output.elements),
                Field("channels", output.shape[-1]),
                Field("multiplier_a", op.multipliers[0]),
                Field("multiplier_b", op.multipliers[1]),
                Field("offset", op.offset),
                Field("shift", op.shift),
                *bounds,
            ),
            arrays=arrays,
        )

    def overlap_lead_bytes(
        self, op: QAdd, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


class LookupS8Kernel(Kernel[QLookup]):
    """A 256-entry table."""

    op = QLookup
    function = "dfq_lookup_s8"
    header = "portable/dfq_lookup_s8.h"

    def supports(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output)

    def code(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_lookup_s8_t",
            title="table of 256",
            fields=(Field("table", "table"), Field("elements", output.elements)),
            arrays=(ConstArray("table", op.table.astype("int8")),),
        )

    def overlap_lead_bytes(
        self, op: QOp, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


class LookupS16Kernel(Kernel[QLookup]):
    """A table of 256 int16 for int8."""

    op = QLookup
    function = "dfq_lookup_s16"
    header = "portable/dfq_lookup_s16.h"

    def supports(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs) and output.qtype.dtype is IntType.INT16

    def code(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_lookup_s16_t",
            title="table of 256, int8 to int16",
            fields=(Field("table", "table"), Field("elements", output.elements)),
            arrays=(ConstArray("table", op.table.astype("int16")),),
        )

    def overlap_lead_bytes(
        self, op: QLookup, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return output.elements  # a byte more is written than read, each time


class InterpolateS16Kernel(Kernel[QInterpolate]):
    """Straight lines between the entries of a table, from int16."""

    op = QInterpolate
    function = "dfq_interpolate_s16"
    header = "portable/dfq_lookup_s16.h"

    def supports(self, op: QInterpolate, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return output.qtype.dtype in (IntType.INT8, IntType.INT16)

    def code(self, op: QInterpolate, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_interpolate_s16_t",
            title=f"table of {len(op.table)} and straight lines, int16 to {output.qtype.dtype}",
            fields=(
                Field("table", "table"),
                Field("elements", output.elements),
                Field("fraction_bits", op.fraction_bits),
                Field("shift", op.shift),
                Field("out_wide", int(output.qtype.dtype is IntType.INT16)),
            ),
            arrays=(ConstArray("table", op.table.astype("int16")),),
        )

    def overlap_lead_bytes(
        self, op: QInterpolate, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


for _kernel in (AddS8Kernel(), LookupS8Kernel(), LookupS16Kernel(), InterpolateS16Kernel()):
    REGISTRY.add(_kernel)
