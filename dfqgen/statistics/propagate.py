"""Statistics of every activation: as batch normalization left them, propagated where there is none."""

from __future__ import annotations

from collections.abc import Mapping

from dfqgen.graph.ir import Graph, Node
from dfqgen.statistics.channel import ChannelStatistics

Statistics = Mapping[str, ChannelStatistics]


def propagate(graph: Graph, known: Statistics) -> dict[str, ChannelStatistics]:
    """Statistics by tensor for all tensors of `graph`.

    `known` holds at least the graph inputs; what it says of an inner tensor holds within the bounds that
    follow from the inputs', the rest follows from the operators' rules (METHODS: mean_out = sum w E[x] + b,
    var_out = sum w^2 Var[x] through a convolution, clipped-normal moments through an activation, and so on).
    """
    statistics: dict[str, ChannelStatistics] = {port.tensor: known[port.tensor] for port in graph.inputs}
    for node in graph.nodes:
        statistics[node.output] = propagate_node(graph, node, known, statistics)
    return statistics


def propagate_node(graph: Graph, node: Node, known: Statistics, statistics: Statistics) -> ChannelStatistics:
    """The step of `propagate` through one node, from `statistics` of what it reads."""
    shapes = tuple(graph.shapes[name] for name in node.inputs)
    found = node.op.propagate(shapes, *(statistics[name] for name in node.inputs))
    return known[node.output].clip(found.lo, found.hi) if node.output in known else found
