"""ReLU6 to ReLU (Nagel et al. 2019, section 5.1.1)."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph, Op
from dfqgen.ops.fake_quantize import stated_type
from dfqgen.ops.lookup import Clip
from dfqgen.passes.contract import Passed
from dfqgen.statistics.propagate import Statistics


def replace_relu6(graph: Graph, known: Statistics) -> Passed:
    """Every clip at [0, b] becomes a ReLU: equalization then has no bounds to scale. Changes the function.

    But those of tensors whose types the model states: they were trained or calibrated with the clip.
    """
    ops: dict[str, Op] = {
        node.output: Clip.of(0.0, np.inf)
        for node in graph.nodes
        if isinstance(node.op, Clip) and np.all(node.op.lo == 0.0) and stated_type(graph, node.output) is None
    }
    return Passed(graph.replace_ops(ops), known, "the network's function changes")
