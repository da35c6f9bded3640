"""Sums of decision trees."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.importers.registry import FirstAxisMoved, OnnxNode, Refused, importer
from dfqgen.ops.trees import TreeEnsemble


@importer("TreeEnsemble")
def tree_ensemble(node: OnnxNode) -> str:
    """As frontend/forest.py writes it: feature, threshold, children, roots, leaves, start."""
    shape = node.shape()
    if len(shape) != 2:
        raise FirstAxisMoved("takes one sample") if not node.lead else Refused(f"takes a vector, not {shape}")
    names = ("feature", "threshold", "children", "roots", "leaves", "start")
    feature, threshold, children, roots, leaves, start = (
        node.constant(place, name) for place, name in enumerate(names, start=1)
    )
    if not all(np.all(np.isfinite(values)) for values in (threshold, leaves, start)):
        raise Refused("holds NaN or infinite values; training or export failed")
    if feature.size and not 0 <= feature.min() <= feature.max() < shape[1]:
        raise Refused(f"looks at feature {feature.max()} of {shape[1]}")
    return node.emit(TreeEnsemble(feature, threshold, children, roots, leaves, start), node.tensor())
