"""Grouped convolutions as dense ones: weights between groups are zeros.

They are multiplied for nothing, and take flash. Where the kernels for dense layers work in blocks of channels
and the others one by one, that is several times as fast all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import Kernel, LayerCode
from dfqgen.ops.conv import QConv2D

LARGEST = 1 << 22
"""Weights of a dense layer; grouped ones that would have more are not tried."""


def dense(op: QConv2D) -> QConv2D:
    """The same function of one group."""
    channels, height, width, group_in = op.weight.shape
    weight = np.zeros((op.groups, channels // op.groups, height, width, op.groups, group_in), op.weight.dtype)
    groups = np.arange(op.groups)
    weight[groups, :, :, :, groups] = op.weight.reshape(op.groups, -1, height, width, group_in)
    return replace(op, weight=weight.reshape(channels, height, width, -1), groups=1)


class GroupedKernel(Kernel[QConv2D]):
    """Mixed in before a kernel for one group: takes layers of several, depthwise ones aside."""

    spends_flash = True

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        grouped = op.groups > 1 and not op.depthwise and op.groups * op.weight.size <= LARGEST
        return grouped and super().supports(dense(op), inputs, output)  # type: ignore[safe-super]

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(dense(op), inputs, output)  # type: ignore[safe-super]
        return replace(code, title=f"{code.title}, {op.groups} groups as one")

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return super().scratch_bytes(dense(op), inputs, output)

    def flash_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return super().flash_bytes(dense(op), inputs, output)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return super().overlap_lead_bytes(dense(op), inputs, output, index)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(dense(op), inputs, output)
