"""Portable kernels of two tensors that may broadcast: QMul, QBroadcastAdd, QMaximum; and QPRelu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, Field, Kernel, LayerCode, OpT, channel_array
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.kernels.requantize import one_clamp
from dfqgen.ops.add import QBroadcastAdd
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.multiply import QMul
from dfqgen.ops.prelu import QPRelu

AXES = 4
Axes = tuple[int, ...]


def merged_axes(a: Axes, b: Axes) -> tuple[Axes, Axes, Axes] | None:
    """Sizes and both operands' pitches over exactly four axes, or None when more are needed."""
    shape = np.broadcast_shapes(a, b)
    merged: list[tuple[int, int, int]] = []
    for axis in range(len(shape)):
        size = shape[axis]
        if size == 1:
            continue
        pitch_a, pitch_b = (
            0 if operand[axis] == 1 else int(np.prod(operand[axis + 1 :])) for operand in (a, b)
        )
        outer = merged[-1] if merged else None
        if outer is not None and outer[1:] == (size * pitch_a, size * pitch_b):
            merged[-1] = (outer[0] * size, pitch_a, pitch_b)
        else:
            merged.append((size, pitch_a, pitch_b))
    if len(merged) > AXES:
        return None
    merged = [(1, 0, 0)] * (AXES - len(merged)) + merged
    sizes, pitches_a, pitches_b = zip(*merged, strict=True)
    return sizes, pitches_a, pitches_b


class BroadcastS8Kernel(Kernel[OpT]):
    """What the three share: shapes, and that the output may be an operand of its own shape."""

    header = "portable/dfq_broadcast_s8.h"

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output) and merged_axes(inputs[0].shape, inputs[1].shape) is not None

    def shape_field(self, inputs: Sequence[QTensor]) -> Field:
        merged = merged_axes(inputs[0].shape, inputs[1].shape)
        assert merged is not None
        names = ("size", "pitch_a", "pitch_b")
        return Field("shape", tuple(Field(name, axes) for name, axes in zip(names, merged, strict=True)))

    def work(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> Work:
        merged = merged_axes(inputs[0].shape, inputs[1].shape)
        assert merged is not None
        return super().work(op, inputs, output) | {"line": float(np.prod(merged[0][:-1]))}

    def overlap_lead_bytes(
        self, op: OpT, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0 if inputs[index].shape == output.shape else None


class MultiplyS8Kernel(BroadcastS8Kernel[QMul]):
    """Product of two tensors."""

    op = QMul
    function = "dfq_multiply_s8"

    def code(self, op: QMul, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (
            Field("zero_a", op.zero_points[0]),
            Field("zero_b", op.zero_points[1]),
            Field("multiplier", op.multiplier),
            *plain(op, "shift", "zero_point", "lo", "hi"),
        )
        return LayerCode(self.function, "dfq_multiply_s8_t", "product", (self.shape_field(inputs), *fields))


class BroadcastAddS8Kernel(BroadcastS8Kernel[QBroadcastAdd]):
    """Sum of two tensors, one of which repeats."""

    op = QBroadcastAdd
    function = "dfq_broadcast_add_s8"

    def supports(self, op: QBroadcastAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and one_clamp(op.lo, op.hi) and not op.dropped

    def code(self, op: QBroadcastAdd, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (
            self.shape_field(inputs),
            Field("multiplier_a", op.multipliers[0]),
            Field("multiplier_b", op.multipliers[1]),
            *plain(op, "offset", "shift"),
            Field("lo", int(op.lo[0])),
            Field("hi", int(op.hi[0])),
        )
        return LayerCode(self.function, "dfq_broadcast_add_s8_t", "sum", fields)


class MaximumS8Kernel(BroadcastS8Kernel[QMaximum]):
    """The larger, or the smaller, of two tensors."""

    op = QMaximum
    function = "dfq_maximum_s8"

    def code(self, op: QMaximum, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        fields = (self.shape_field(inputs), *self.numbers(op))
        return LayerCode(self.function, "dfq_maximum_s8_t", self.title(op), fields)

    @staticmethod
    def title(op: QMaximum) -> str:
        """Which of the two."""
        return "smaller of two" if op.minimum else "larger of two"

    @staticmethod
    def numbers(op: QMaximum) -> tuple[Field, ...]:
        """Factors, offsets, clamp and which of the two."""
        return (
            Field("multiplier_a", op.multipliers[0]),
            Field("multiplier_b", op.multipliers[1]),
            Field("offset_a", op.offsets[0]),
            Field("offset_b", op.offsets[1]),
            *plain(op, "shift", "lo", "hi"),
            Field("minimum", int(op.minimum)),
        )


class PReluS8Kernel(Kernel[QPRelu]):
    """A slope for each channel."""

    op = QPRelu
    function = "dfq_prelu_s8"
    header = "portable/dfq_prelu_s8.h"

    def supports(self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(*inputs, output)

    def code(self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        channels = output.shape[-1]
        return LayerCode(
            function=self.function,
            struct=f"{self.function}_t",
            title="leaky ReLU by channel",
            fields=(
                Field("slopes", "slopes"),
                Field("pixels", output.elements // channels),
                Field("channels", channels),
                Field("in_zero_point", op.input_zero_point),
                *plain(op, "multiplier", "shift", "zero_point", "lo", "hi"),
            ),
            arrays=(channel_array("slopes", op.slopes, "int16"),),
        )

    def overlap_lead_bytes(
        self, op: QPRelu, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return 0


def plain(op: Any, *names: str) -> tuple[Field, ...]:
    """Integer attributes whose member has the same name."""
    return tuple(Field(name, int(getattr(op, name))) for name in names)


REGISTRY.add(MultiplyS8Kernel())
REGISTRY.add(BroadcastAddS8Kernel())
REGISTRY.add(MaximumS8Kernel())
REGISTRY.add(PReluS8Kernel())
