"""Batch normalization whose variance its layer contradicts is not believed."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.contract import Passed
from dfqgen.passes.fold_dead_channels import DEAD_RATIO
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics, propagate

CONTRADICTION = 1e-2
"""A deviation that propagation finds, as part of the layer's largest, from which on a stated one of zero is
taken for wrong. Dead channels of trained networks lie at 1e-6 and below, a live one near 1."""


def doubt_batch_norm(graph: Graph, known: Statistics) -> Passed:
    """Channels with a running variance of zero over weights that pass something on get propagated statistics.

    Such files come from tools that reset or never gathered the variance. A channel is constant where its
    folded weights, or what they see, are too small to show beside the layer's other channels.
    """
    statistics = dict(known)
    doubted = 0
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D) or node.output not in statistics:
            continue
        stated = statistics[node.output]
        silent = stated.std <= DEAD_RATIO * stated.std.max(initial=0.0)
        if not silent.any():
            continue
        others = {name: value for name, value in statistics.items() if name != node.output}
        found = propagate(graph, others)[node.output]
        live = silent & (found.std > CONTRADICTION * np.maximum(stated.std, found.std).max())
        if live.any():
            doubted += int(live.sum())
            statistics[node.output] = ChannelStatistics(
                np.where(live, found.mean, stated.mean),
                np.where(live, found.std, stated.std),
                stated.lo,
                stated.hi,
            )
    effect = f"{doubted} channels without variance are not constant" if doubted else ""
    return Passed(graph, statistics, effect)
