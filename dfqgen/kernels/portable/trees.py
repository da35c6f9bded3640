"""Portable kernel of QTreeEnsemble."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY, ConstArray, Field, Kernel, LayerCode
from dfqgen.kernels.portable.wide import ACTIVATIONS, is_wide
from dfqgen.ops.trees import QTreeEnsemble


class TreeEnsembleS16Kernel(Kernel[QTreeEnsemble]):
    """A walk from each root to a leaf."""

    op = QTreeEnsemble
    function = "dfq_tree_ensemble_s16"
    header = "portable/dfq_tree_ensemble_s16.h"

    def supports(self, op: QTreeEnsemble, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return all(tensor.qtype.dtype in ACTIVATIONS for tensor in (*inputs, output))

    def scratch_bytes(self, op: QTreeEnsemble, inputs: Sequence[QTensor], output: QTensor) -> int:
        return 4 * output.elements

    def code(self, op: QTreeEnsemble, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        tables = {
            "feature": (op.feature, "a node: the feature that it looks at"),
            "threshold": (op.threshold, "a node: the largest integer that goes to its first child"),
            "children": (op.children, "a node: where both ways lead, a node or -1 - a leaf"),
            "roots": (op.roots, "a tree: where it begins"),
            "leaves": (op.leaves, "a leaf: what it adds to each output"),
            "start": (op.start, "an output: where its sum begins"),
        }
        # C has no arrays of nothing: trees that are all leaves have no nodes.
        arrays = tuple(
            ConstArray(name, values, what) for name, (values, what) in tables.items() if values.size
        )
        return LayerCode(
            function=self.function,
            struct="dfq_tree_ensemble_s16_t",
            title=f"sum of {len(op.roots)} trees",
            fields=(
                *(Field(array.role, array.role) for array in arrays),
                Field("trees", len(op.roots)),
                Field("outputs", output.elements),
                Field("shift", op.shift),
                Field("zero_point", op.zero_point),
                Field("lo", op.lo),
                Field("hi", op.hi),
                Field("in_wide", int(is_wide(inputs[0]))),
                Field("out_wide", int(is_wide(output))),
            ),
            arrays=arrays,
        )


REGISTRY.add(TreeEnsembleS16Kernel())
