"""Portable kernels of QPad and QTranspose. A QReshape needs none: it is another name for the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, Field, Kernel, LayerCode
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.ops.movement import QPad, QTranspose

Axes = tuple[int, ...]


def merge_padded_axes(shape: Axes, before: Axes, after: Axes) -> tuple[Axes, Axes, Axes] | None:
    """The same padding over exactly four axes, or None when more are needed.

    An axis without padding joins the one before it: its border becomes that many whole lines.
    """
    merged: list[tuple[int, int, int]] = []
    for size, low, high in zip(shape, before, after, strict=True):
        if merged and low == high == 0:
            outer = merged[-1]
            merged[-1] = (outer[0] * size, outer[1] * size, outer[2] * size)
        elif merged and merged[-1] == (1, 0, 0):
            merged[-1] = (size, low, high)
        else:
            merged.append((size, low, high))
    if len(merged) > 4:
        return None
    merged = [(1, 0, 0)] * (4 - len(merged)) + merged
    sizes, lows, highs = zip(*merged, strict=True)
    return sizes, lows, highs


def merge_transposed_axes(shape: Axes, permutation: Axes) -> tuple[Axes, Axes] | None:
    """Output sizes and input pitches over exactly four axes, or None when more are needed."""
    pitches = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    merged: list[tuple[int, int]] = []
    for axis in permutation:
        size, pitch = shape[axis], pitches[axis]
        if size == 1:
            continue
        if merged and merged[-1][1] == size * pitch:  # still neighbours in the input
            merged[-1] = (merged[-1][0] * size, pitch)
        else:
            merged.append((size, pitch))
    if len(merged) > 4:
        return None
    merged = [(1, 0)] * (4 - len(merged)) + merged
    sizes, steps = zip(*merged, strict=True)
    return sizes, steps


class PadX8Kernel(Kernel[QPad]):
    """A constant border."""

    op = QPad
    function = "dfq_pad_x8"
    header = "portable/dfq_pad_x8.h"

    def supports(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> bool:
        fits = merge_padded_axes(inputs[0].shape, op.before, op.after) is not None
        return is_int8(inputs[0], output) and fits

    def code(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        merged = merge_padded_axes(inputs[0].shape, op.before, op.after)
        assert merged is not None
        sizes, before, after = merged
        return LayerCode(
            function=self.function,
            struct="dfq_pad_x8_t",
            title="padding",
            fields=(
                Field("size", sizes),
                Field("before", before),
                Field("after", after),
                Field("value", op.value),
            ),
        )

    def work(self, op: QPad, inputs: Sequence[QTensor], output: QTensor) -> Work:
        merged = merge_padded_axes(inputs[0].shape, op.before, op.after)
        assert merged is not None
        return super().work(op, inputs, output) | {"line": float(np.prod(merged[0][:-1]))}

    def overlap_lead_bytes(
        self, op: QPad, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        # Written in order; what precedes input element i in the output may be written before i is read.
        places = np.arange(output.elements).reshape(output.shape)
        inside = tuple(slice(b, b + n) for b, n in zip(op.before, inputs[0].shape, strict=True))
        ahead = places[inside].reshape(-1) - np.arange(inputs[0].elements)
        return int(ahead.max(initial=0))


class TransposeX8Kernel(Kernel[QTranspose]):
    """Axes in another order."""

    op = QTranspose
    function = "dfq_transpose_x8"
    header = "portable/dfq_transpose_x8.h"

    def supports(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> bool:
        fits = merge_transposed_axes(inputs[0].shape, op.permutation) is not None
        return is_int8(inputs[0], output) and fits

    def code(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        merged = merge_transposed_axes(inputs[0].shape, op.permutation)
        assert merged is not None
        return LayerCode(
            function=self.function,
            struct="dfq_transpose_x8_t",
            title="transposition",
            fields=(Field("size", merged[0]), Field("pitch", merged[1])),
        )

    def work(self, op: QTranspose, inputs: Sequence[QTensor], output: QTensor) -> Work:
        merged = merge_transposed_axes(inputs[0].shape, op.permutation)
        assert merged is not None
        return super().work(op, inputs, output) | {"line": float(np.prod(merged[0][:-1]))}


REGISTRY.add(PadX8Kernel())
REGISTRY.add(TransposeX8Kernel())
