"""Portable kernel of QEmbedding."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.wide import ACTIVATIONS, is_wide
from dfqgen.ops.embedding import QEmbedding


class EmbeddingS16Kernel(Kernel[QEmbedding]):
    """One row after the other."""

    op = QEmbedding
    function = "dfq_embedding_s16"
    header = "portable/dfq_embedding_s16.h"

    def supports(self, op: QEmbedding, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return all(tensor.qtype.dtype in ACTIVATIONS for tensor in (*inputs, output))

    def code(self, op: QEmbedding, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        rows, channels = op.table.shape
        role = "wide_table" if is_wide(output) else "table"
        return LayerCode(
            function=self.function,
            struct="dfq_embedding_s16_t",
            title=f"rows of a table of {rows}",
            fields=(
                Field(role, role),
                Field("count", inputs[0].elements),
                Field("last", rows - 1),
                Field("channels", channels),
                Field("zero_point", op.zero_point),
                Field("in_wide", int(is_wide(inputs[0]))),
            ),
            arrays=(ConstArray(role, op.table, "a row: its integers"),),
        )

    def work(self, op: QEmbedding, inputs: Sequence[QTensor], output: QTensor) -> Work:
        wide = float(output.elements) if is_wide(output) else 0.0
        return super().work(op, inputs, output) | {"wide_output": wide}


REGISTRY.add(EmbeddingS16Kernel())
