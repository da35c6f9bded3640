"""High-bias absorption (Nagel et al. 2019, section 4.1.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import Chain, find_chains
from dfqgen.passes.contract import Passed
from dfqgen.statistics.propagate import Statistics, propagate_node


def absorb_high_bias(graph: Graph, known: Statistics, *, n_sigma: float = 3.0) -> Passed:
    """Move the part of each bias that a ReLU never clips into the next layer.

    c = max(0, beta - n_sigma gamma); b1 <- b1 - c, b2 <- b2 + W2 c. Only through a ReLU without upper
    bound. Exact while the pre-activation stays above c (99.865 % at 3 sigma), and away from zero-padded
    borders. Moves the known statistics along.
    """
    chains = {chain.first: chain for chain in find_chains(graph) if _ends_at_zero(graph, chain)}
    known = dict(known)
    ops: dict[str, Op] = {}
    # Statistics go along node by node: what is absorbed changes only what comes behind.
    statistics = {port.tensor: known[port.tensor] for port in graph.inputs}
    for node in graph.nodes:
        node = replace(node, op=ops.get(node.output, node.op))
        statistics[node.output] = propagate_node(graph, node, known, statistics)
        chain = chains.get(node.output)
        if chain is None:
            continue
        tensor = statistics[chain.first]
        absorbed = np.maximum(0.0, tensor.mean - n_sigma * tensor.std)
        if not absorbed.any():
            continue
        first, second = node.op, graph.producers[chain.second].op
        assert isinstance(first, Conv2D)
        assert isinstance(second, Conv2D)
        node = replace(node, op=replace(first, bias=first.bias - absorbed))
        ops[chain.first] = node.op
        ops[chain.second] = replace(second, bias=second.bias + second.window_sum(absorbed))
        if chain.first in known:
            known[chain.first] = known[chain.first].scale_shift(1.0, -absorbed)
        statistics[chain.first] = propagate_node(graph, node, known, statistics)
    return Passed(graph.replace_ops(ops) if ops else graph, known, "done")


def _ends_at_zero(graph: Graph, chain: Chain) -> bool:
    """Whether a ReLU without upper bound, and nothing else, lies between."""
    between = [graph.producers[name].op for name in chain.between]
    if not (len(between) == 1 and isinstance(between[0], Clip)):
        return False
    return bool(np.all(between[0].lo == 0.0) and np.all(np.isinf(between[0].hi)))
