"""Portable kernels of two tensors that may broadcast, and of QPRelu, with int16 on at least one side; of
QMagnitude with any types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dfqgen.fixedpoint.program import INT32_MAX, QTensor
from dfqgen.kernels.base import REGISTRY, Field, Kernel, LayerCode, OpT
from dfqgen.kernels.portable.broadcast import (
    BroadcastS8Kernel,
    MaximumS8Kernel,
    PReluS8Kernel,
    merged_axes,
    plain,
)
from dfqgen.kernels.portable.wide import (
    ACTIVATIONS,
    any_wide,
    in_order_lead,
    is_wide,
    sum_form,
    sums,
    types_title,
)
from dfqgen.kernels.requantize import one_clamp
from dfqgen.ops.add import QBroadcastAdd
from dfqgen.ops.magnitude import QMagnitude
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.multiply import QWideMul, largest_distance
from dfqgen.ops.prelu import QPRelu


def pair_types(inputs: Sequence[QTensor], output: QTensor) -> tuple[Field, ...]:
    """Members that tell which of two operands and the output are int16."""
    tensors = (*inputs, output)
    return tuple(
        Field(name, int(is_wide(tensor)))
        for name, tensor in zip(("a_wide", "b_wide", "out_wide"), tensors, strict=True)
    )


def pair_zeros(zero_points: tuple[int, int]) -> tuple[Field, ...]:
    """Members for the zero points of two operands."""
    return Field("zero_a", zero_points[0]), Field("zero_b", zero_points[1])


class BroadcastS16Kernel(BroadcastS8Kernel[OpT]):
    """What the three share: shapes and types."""

    header = "portable/dfq_broadcast_s16.h"

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return any_wide(*inputs, output) and merged_axes(inputs[0].shape, inputs[1].shape) is not None

    def overlap_lead_bytes(
        self, op: OpT, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return in_order_lead(inputs[index], output) if inputs[index].shape == output.shape else None


class MultiplyS16Kernel(BroadcastS16Kernel[QWideMul]):
    """Product of two tensors."""

    op = QWideMul
    function = "dfq_multiply_s16"

    def code(self, op: QWideMul, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (
            *pair_zeros(op.zero_points),
            *self.factor(op, inputs),
            *plain(op, "lo", "hi"),
            *pair_types(inputs, output),
        )
        title = f"product, {types_title(inputs[0], output)}"
        return LayerCode(self.function, "dfq_multiply_s16_t", title, (self.shape_field(inputs), *fields))

    def factor(self, op: QWideMul, inputs: Sequence[QTensor]) -> tuple[Field, ...]:
        """A shift where the factor is a power of two and offset and product fit, else a multiplication."""
        bits = 32 - op.pre_shift - op.multiplier.bit_length() + 1
        if op.multiplier > 0 and op.multiplier & (op.multiplier - 1) == 0 and 1 <= bits <= 30:
            offset = (op.zero_point << bits) + (1 << (bits - 1))
            a, b = (largest_distance(x.qtype, z) for x, z in zip(inputs, op.zero_points, strict=True))
            if a * b + abs(offset) <= INT32_MAX:
                return Field("shift", bits), Field("offset", offset)
        return plain(op, "multiplier", "pre_shift", "zero_point")


class BroadcastAddS16Kernel(BroadcastS16Kernel[QBroadcastAdd]):
    """Sum of two tensors, one of which repeats."""

    op = QBroadcastAdd
    function = "dfq_broadcast_add_s16"

    def supports(self, op: QBroadcastAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        repeats = merged_axes(inputs[0].shape, inputs[1].shape) is not None
        return sums(op, *inputs, output) and repeats and one_clamp(op.lo, op.hi)

    def code(self, op: QBroadcastAdd, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        ends = (Field("lo", int(op.lo[0])), Field("hi", int(op.hi[0])))
        fields = (sum_form(op), *ends, *pair_types(inputs, output))
        title = f"sum, {types_title(inputs[0], output)}"
        return LayerCode(self.function, "dfq_broadcast_add_s16_t", title, (self.shape_field(inputs), *fields))


class MaximumS16Kernel(BroadcastS16Kernel[QMaximum]):
    """The larger, or the smaller, of two tensors."""

    op = QMaximum
    function = "dfq_maximum_s16"

    def code(self, op: QMaximum, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (*MaximumS8Kernel.numbers(op), *pair_types(inputs, output))
        title = f"{MaximumS8Kernel.title(op)}, {types_title(inputs[0], output)}"
        return LayerCode(self.function, "dfq_maximum_s16_t", title, (self.shape_field(inputs), *fields))


class MagnitudeS16Kernel(BroadcastS16Kernel[QMagnitude]):
    """The length of two parts."""

    op = QMagnitude
    function = "dfq_magnitude_s16"
    header = "portable/dfq_magnitude_s16.h"

    def supports(self, op: QMagnitude, inputs: Sequence[QTensor], output: QTensor) -> bool:
        known = all(tensor.qtype.dtype in ACTIVATIONS for tensor in (*inputs, output))
        return known and merged_axes(inputs[0].shape, inputs[1].shape) is not None

    def code(self, op: QMagnitude, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (
            *pair_zeros(op.zero_points),
            Field("multiplier_a", op.multipliers[0]),
            Field("multiplier_b", op.multipliers[1]),
            *plain(op, "part_shift", "multiplier", "shift", "zero_point", "lo", "hi"),
            *pair_types(inputs, output),
        )
        title = f"magnitude, {types_title(inputs[0], output)}"
        return LayerCode(self.function, "dfq_magnitude_s16_t", title, (self.shape_field(inputs), *fields))


class PReluS16Kernel(PReluS8Kernel):
    """A slope for each channel."""

    function = "dfq_prelu_s16"
    header = "portable/dfq_prelu_s16.h"

    def supports(self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return any_wide(*inputs, output)

    def code(self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(op, inputs, output)
        types = (Field("in_wide", int(is_wide(inputs[0]))), Field("out_wide", int(is_wide(output))))
        title = f"{code.title}, {types_title(inputs[0], output)}"
        return replace(code, title=title, fields=(*code.fields, *types))

    def overlap_lead_bytes(
        self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return in_order_lead(inputs[0], output)


_kernels: tuple[Kernel[Any], ...] = (
    MultiplyS16Kernel(),
    BroadcastAddS16Kernel(),
    MaximumS16Kernel(),
    MagnitudeS16Kernel(),
    PReluS16Kernel(),
)
for _kernel in _kernels:
    REGISTRY.add(_kernel)
