"""Portable kernel of QSoftmax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.conv import is_int8
from dfqgen.ops.softmax import QSoftmax


class SoftmaxS8Kernel(Kernel[QSoftmax]):
    """Exponentials from a table, one division an element."""

    op = QSoftmax
    function = "dfq_softmax_s8"
    header = "portable/dfq_softmax_s8.h"

    def supports(self, op: QSoftmax, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return is_int8(inputs[0], output)

    def code(self, op: QSoftmax, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        shape = inputs[0].shape
        return LayerCode(
            function=self.function,
            struct="dfq_softmax_s8_t",
            title="softmax",
            fields=(
                Field("table", "table"),
                Field("outer", int(np.prod(shape[: op.axis]))),
                Field("size", shape[op.axis]),
                Field("inner", int(np.prod(shape[op.axis + 1 :]))),
            ),
            arrays=(ConstArray("table", op.table.astype("int32")),),
        )

    def overlap_lead_bytes(
        self, op: QSoftmax, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        # A contiguous lane is read for the last time element by element. Interleaved lanes are not.
        contiguous = int(np.prod(inputs[0].shape[op.axis + 1 :])) == 1
        return 0 if contiguous else None


REGISTRY.add(SoftmaxS8Kernel())
