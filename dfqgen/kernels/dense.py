"""Grouped convolutions as dense ones: weights between groups are zeros.

They are multiplied for nothing, and take flash. Where the kernels for dense layers work in blocks of channels
and the others one by one, that is several times as fast all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import LayerCode
from dfqgen.kernels.rewritten import Layer, RewrittenKernel
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


class GroupedKernel(RewrittenKernel):
    """Mixed in before a kernel for one group: takes layers of several, depthwise ones aside."""

    spends_flash = True

    def applies(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.groups > 1 and not op.depthwise and op.groups * op.weight.size <= LARGEST

    def rewritten(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Layer:
        return dense(op), inputs, output

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        code = super().code(op, inputs, output)
        return replace(code, title=f"{code.title}, {op.groups} groups as one")
