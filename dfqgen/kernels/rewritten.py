"""Kernels that take a convolution as another one that computes the same."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import Kernel, LayerCode
from dfqgen.ops.conv import QConv2D

Layer = tuple[QConv2D, Sequence[QTensor], QTensor]
"""An operator with its inputs and its output."""


class RewrittenKernel(Kernel[QConv2D]):
    """Mixed in before a kernel, which is asked about the rewritten layer. Both have the same bytes."""

    @abstractmethod
    def applies(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether there is anything to rewrite."""

    @abstractmethod
    def rewritten(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Layer:
        """The layer as the kernel knows it."""

    def supports(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        if not self.applies(op, inputs, output):
            return False
        return super().supports(*self.rewritten(op, inputs, output))  # type: ignore[safe-super]

    def code(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return super().code(*self.rewritten(op, inputs, output))  # type: ignore[safe-super]

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return super().scratch_bytes(*self.rewritten(op, inputs, output))

    def flash_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return super().flash_bytes(*self.rewritten(op, inputs, output))

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return super().overlap_lead_bytes(*self.rewritten(op, inputs, output), index)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return super().work(*self.rewritten(op, inputs, output))
