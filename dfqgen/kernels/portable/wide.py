"""Portable kernels of layers with int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode, channel_array
from dfqgen.kernels.portable.movement import PadX8Kernel, merge_padded_axes
from dfqgen.kernels.portable.pool import windows_field
from dfqgen.ops.add import QAdd
from dfqgen.ops.movement import QPad
from dfqgen.ops.pool import QAveragePool, QMaxPool

HEADER = "portable/dfq_wide_s16.h"
ACTIVATIONS = (IntType.INT8, IntType.INT16)


def is_wide(tensor: QTensor) -> bool:
    """Whether the tensor is int16."""
    return tensor.qtype.dtype is IntType.INT16


def any_wide(*tensors: QTensor) -> bool:
    """Whether all are int8 or int16, and one is int16: int8 alone has better kernels."""
    return all(tensor.qtype.dtype in ACTIVATIONS for tensor in tensors) and any(map(is_wide, tensors))


def in_order_lead(x: QTensor, output: QTensor) -> int:
    """Lead of a kernel that goes element by element: a wider output starts that much below its input."""
    return max(0, output.size_bytes - x.size_bytes)


def as_bytes(tensor: QTensor) -> QTensor:
    """The same memory of int16 as int8, two along the last axis for each."""
    shape = (*tensor.shape[:-1], 2 * tensor.shape[-1])
    return replace(tensor, shape=shape, qtype=replace(tensor.qtype, dtype=IntType.INT8))


def types_title(x: QTensor, output: QTensor) -> str:
    """How the title of a layer tells its types."""
    if x.qtype.dtype is output.qtype.dtype:
        return str(x.qtype.dtype)
    return f"{x.qtype.dtype} to {output.qtype.dtype}"


def wide_bounds(lo: Array, hi: Array) -> tuple[Field, tuple[ConstArray, ...]]:
    """The `dfq_wide_bounds_t` of an output, and its tables."""
    fields: list[Field] = []
    arrays: list[ConstArray] = []
    for name, values in (("lo", lo), ("hi", hi)):
        if np.all(values == values[0]):
            fields.append(Field(name, int(values[0])))
        else:
            arrays.append(channel_array(f"{name}s", values, "int16"))
            fields.append(Field(f"{name}s", f"{name}s"))
    return Field("bounds", tuple(fields)), tuple(arrays)


def multiplier_field(values: Array) -> tuple[Field, tuple[ConstArray, ...]]:
    """One multiplier, or a table."""
    if np.all(values == values[0]):
        return Field("multiplier", int(values[0])), ()
    return Field("multipliers", "multipliers"), (channel_array("multipliers", values, "int32"),)


def sums(op: QAdd, *tensors: QTensor) -> bool:
    """Whether the kernels here are for this sum: of int8 alone those whose products lose bits."""
    types = {tensor.qtype.dtype for tensor in tensors}
    return types <= set(ACTIVATIONS) and (IntType.INT16 in types or op.dropped > 0)


def sum_form(op: QAdd) -> Field:
    """The `dfq_sum_form_t` of a sum."""
    members = (*zip(("multiplier_a", "multiplier_b"), op.multipliers, strict=True), ("dropped", op.dropped))
    rest = (("offset", op.offset), ("shift", op.shift))
    return Field("form", tuple(Field(name, value) for name, value in (*members, *rest)))


class AddS16Kernel(Kernel[QAdd]):
    """Sum of two tensors."""

    op = QAdd
    function = "dfq_add_s16"
    header = HEADER

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return sums(op, *inputs, output)

    def code(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        bounds, tables = wide_bounds(op.lo, op.hi)
        return LayerCode(
            function=self.function,
            struct="dfq_add_s16_t",
            title=f"sum, {types_title(inputs[0], output)}",
            fields=(
                Field("elements", output.elements),
                Field("channels", output.shape[-1]),
                sum_form(op),
                bounds,
                Field("a_wide", int(is_wide(inputs[0]))),
                Field("b_wide", int(is_wide(inputs[1]))),
                Field("out_wide", int(is_wide(output))),
            ),
            arrays=tables,
        )

    def overlap_lead_bytes(
        self, op: QAdd, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return in_order_lead(inputs[index], output)


class AveragePoolS16Kernel(Kernel[QAveragePool]):
    """Mean of each window."""

    op = QAveragePool
    function = "dfq_average_pool_s16"
    header = HEADER

    def supports(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return any_wide(inputs[0], output) and not op.even_count

    def code(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        multiplier, multipliers = multiplier_field(op.multiplier.reshape(-1))
        bounds, tables = wide_bounds(op.lo, op.hi)
        return LayerCode(
            function=self.function,
            struct="dfq_average_pool_s16_t",
            title=f"{op.kernel[0]}x{op.kernel[1]} average pooling, {types_title(inputs[0], output)}",
            fields=(
                windows_field(op, inputs[0], output),
                multiplier,
                Field("pre_shift", op.pre_shift),
                Field("in_zero_point", op.input_zero_point),
                Field("out_zero_point", op.zero_point),
                bounds,
                Field("in_wide", int(is_wide(inputs[0]))),
                Field("out_wide", int(is_wide(output))),
            ),
            arrays=(*multipliers, *tables),
        )


class MaxPoolS16Kernel(Kernel[QMaxPool]):
    """Largest of each window, int16."""

    op = QMaxPool
    function = "dfq_max_pool_s16"
    header = HEADER

    def supports(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_wide(inputs[0]) and is_wide(output)

    def code(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(
            function=self.function,
            struct="dfq_max_pool_s16_t",
            title=f"{op.kernel[0]}x{op.kernel[1]} maximum pooling, int16",
            fields=(windows_field(op, inputs[0], output, op.dilation),),
        )


class PadX16Kernel(Kernel[QPad]):
    """A constant border, int16."""

    op = QPad
    function = "dfq_pad_x16"
    header = HEADER

    def supports(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> bool:
        fits = merge_padded_axes(inputs[0].shape, op.before, op.after) is not None
        return is_wide(inputs[0]) and is_wide(output) and fits

    def code(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        merged = merge_padded_axes(inputs[0].shape, op.before, op.after)
        assert merged is not None
        size, before, after = merged
        return LayerCode(
            function=self.function,
            struct="dfq_pad_x16_t",
            title="padding, int16",
            fields=(
                Field("size", size),
                Field("before", before),
                Field("after", after),
                Field("value", op.value),
            ),
        )


class WidePadX8Kernel(PadX8Kernel):
    """A constant border of int16 whose two bytes are the same, as zero's are: moved as bytes."""

    def supports(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> bool:
        plain = (op.value >> 8) & 0xFF == op.value & 0xFF
        return plain and is_wide(inputs[0]) and super().supports(*padded_bytes(op, inputs, output))

    def code(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return replace(super().code(*padded_bytes(op, inputs, output)), title="padding, int16")

    def work(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(*padded_bytes(op, inputs, output))

    def overlap_lead_bytes(
        self, op: QPad, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return super().overlap_lead_bytes(*padded_bytes(op, inputs, output), index)


def padded_bytes(
    op: QPad, inputs: Sequence[QTensor], output: QTensor
) -> tuple[QPad, tuple[QTensor, ...], QTensor]:
    """A border of int16 as one of int8."""
    before, after = ((*sides[:-1], 2 * sides[-1]) for sides in (op.before, op.after))
    value = (op.value & 0xFF ^ 0x80) - 0x80
    narrow = replace(op, before=before, after=after, value=value)
    return narrow, tuple(map(as_bytes, inputs)), as_bytes(output)


for _kernel in (
    AddS16Kernel(),
    AveragePoolS16Kernel(),
    MaxPoolS16Kernel(),
    PadX16Kernel(),
    WidePadX8Kernel(),
):
    REGISTRY.add(_kernel)
