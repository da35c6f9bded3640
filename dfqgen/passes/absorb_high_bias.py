"""High-bias absorption (Nagel et al. 2019, section 4.1.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import find_chains
from dfqgen.passes.contract import Passed
from dfqgen.statistics.propagate import Statistics, propagate


def absorb_high_bias(graph: Graph, known: Statistics, *, n_sigma: float = 3.0) -> Passed:
    """Move the part of each bias that a ReLU never clips into the next layer.

    c = max(0, beta - n_sigma gamma); b1 <- b1 - c, b2 <- b2 + W2 c. Only through a ReLU without upper
    bound. Exact while the pre-activation stays above c (99.865 % at 3 sigma), and away from zero-padded
    borders. Moves the known statistics along.
    """
    statistics = dict(known)
    for chain in find_chains(graph):
        first, second = graph.producers[chain.first].op, graph.producers[chain.second].op
        assert isinstance(first, Conv2D)
        assert isinstance(second, Conv2D)
        between = [graph.producers[name].op for name in chain.between]
        if not (len(between) == 1 and isinstance(between[0], Clip)):
            continue
        if np.any(between[0].lo != 0.0) or np.any(np.isfinite(between[0].hi)):
            continue
        tensor = propagate(graph, statistics)[chain.first]
        absorbed = np.maximum(0.0, tensor.mean - n_sigma * tensor.std)
        if not absorbed.any():
            continue
        graph = graph.replace_ops(
            {
                chain.first: replace(first, bias=first.bias - absorbed),
                chain.second: replace(second, bias=second.bias + second.window_sum(absorbed)),
            }
        )
        if chain.first in statistics:
            statistics[chain.first] = statistics[chain.first].scale_shift(1.0, -absorbed)
    return Passed(graph, statistics, "done")
