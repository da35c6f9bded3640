"""Portable kernels of attention and norms: QMatMul, QStandardize, QDiv; int8 and int16 in any mix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.broadcast import merged_axes
from dfqgen.kernels.portable.wide import ACTIVATIONS, is_wide, types_title
from dfqgen.kernels.portable.wide_pairs import pair_types, pair_zeros
from dfqgen.ops.divide import QDiv
from dfqgen.ops.matmul import QMatMul
from dfqgen.ops.standardize import QStandardize


def _activations(*tensors: QTensor) -> bool:
    return all(tensor.qtype.dtype in ACTIVATIONS for tensor in tensors)


def _plain(op: Any, *names: str) -> tuple[Field, ...]:
    """Integer attributes whose member has the same name."""
    return tuple(Field(name, int(getattr(op, name))) for name in names)


class BatchMatmulS16Kernel(Kernel[QMatMul]):
    """One output after the other."""

    op = QMatMul
    function = "dfq_batch_matmul_s16"
    header = "portable/dfq_batch_matmul_s16.h"

    def supports(self, op: QMatMul, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return _activations(*inputs, output)

    def code(self, op: QMatMul, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        a = inputs[0]
        *front, rows, columns = output.shape
        depth = a.shape[-1]
        steps = (1, depth) if op.transpose_b else (columns, 1)
        return LayerCode(
            function=self.function,
            struct="dfq_batch_matmul_s16_t",
            title=f"product of matrices, {types_title(a, output)}",
            fields=(
                Field("batches", math.prod(front)),
                Field("rows", rows),
                Field("columns", columns),
                Field("depth", depth),
                Field("step_depth", steps[0]),
                Field("step_column", steps[1]),
                Field("shift_a", op.shifts[0]),
                Field("shift_b", op.shifts[1]),
                *_plain(op, "multiplier", "pre_shift", "zero_point", "lo", "hi"),
                *pair_zeros(op.zero_points),
                *pair_types(inputs, output),
            ),
        )


class StandardizeS16Kernel(Kernel[QStandardize]):
    """Two passes over each block: moments, then values."""

    op = QStandardize
    function = "dfq_standardize_s16"
    header = "portable/dfq_standardize_s16.h"

    def supports(self, op: QStandardize, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return _activations(*inputs, output)

    def code(self, op: QStandardize, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        (x,) = inputs
        fields: list[Field] = []
        arrays: list[ConstArray] = []
        for name, values, what in (
            ("multiplier", op.multiplier, "a channel: the factor of a normalized value, times 2^17"),
            ("bias", op.bias, "a channel: what is added, times 2^14"),
        ):
            if np.all(values == values[0]):
                fields.append(Field(name, int(values[0])))
            else:
                role = f"{name}es" if name == "bias" else f"{name}s"
                arrays.append(ConstArray(role, values, what))
                fields.append(Field(role, role))
        return LayerCode(
            function=self.function,
            struct="dfq_standardize_s16_t",
            title=f"normalization, {types_title(x, output)}",
            fields=(
                *fields,
                Field("epsilon", op.epsilon),
                Field("outer", math.prod(x.shape[: op.axis])),
                Field("rows", math.prod(x.shape[op.axis : -1])),
                Field("groups", op.groups),
                Field("width", x.shape[-1] // op.groups),
                Field("centered", int(op.centered)),
                Field("in_zero_point", op.input_zero_point),
                *_plain(op, "pre_shift", "zero_point", "lo", "hi"),
                Field("in_wide", int(is_wide(x))),
                Field("out_wide", int(is_wide(output))),
            ),
            arrays=tuple(arrays),
        )

    def work(self, op: QStandardize, inputs: Sequence[QTensor], output: QTensor) -> Work:
        blocks = math.prod(output.shape[: op.axis]) * op.groups
        return super().work(op, inputs, output) | {"lane": float(blocks)}

    def overlap_lead_bytes(
        self, op: QStandardize, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        # Blocks of one group lie one after the other, and are read to their end before they are written.
        same = inputs[0].qtype.dtype is output.qtype.dtype
        return 0 if op.groups == 1 and same else None


class DivideS16Kernel(Kernel[QDiv]):
    """One division an element."""

    op = QDiv
    function = "dfq_divide_s16"
    header = "portable/dfq_divide_s16.h"

    def supports(self, op: QDiv, inputs: Sequence[QTensor], output: QTensor) -> bool:
        merged = merged_axes(inputs[0].shape, inputs[1].shape)
        return _activations(*inputs, output) and merged is not None

    def code(self, op: QDiv, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        a, b = inputs
        merged = merged_axes(a.shape, b.shape)
        assert merged is not None
        names = ("size", "pitch_a", "pitch_b")
        shape = tuple(Field(name, axes) for name, axes in zip(names, merged, strict=True))
        return LayerCode(
            function=self.function,
            struct="dfq_divide_s16_t",
            title=f"quotient, {types_title(a, output)}",
            fields=(
                Field("shape", shape),
                *_plain(op, "multiplier", "shift", "zero_point", "lo", "hi"),
                *pair_zeros(op.zero_points),
                *pair_types(inputs, output),
            ),
        )

    def overlap_lead_bytes(
        self, op: QDiv, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        x = inputs[index]
        return 0 if x.shape == output.shape and x.qtype.dtype is output.qtype.dtype else None


REGISTRY.add(BatchMatmulS16Kernel())
REGISTRY.add(StandardizeS16Kernel())
REGISTRY.add(DivideS16Kernel())
