"""Fold batch normalization into the layer before it, and keep what it knew as statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.movement import Reshape
from dfqgen.ops.norm import BatchNorm
from dfqgen.passes.contract import Passed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics


def batch_norm_statistics(norm: BatchNorm) -> ChannelStatistics:
    """N(beta, gamma^2 v / (v + epsilon)) per channel: what the normalization says of its output."""
    return ChannelStatistics.normal(norm.beta, norm.output_std)


def fold_batch_norm(graph: Graph, known: Statistics) -> Passed:
    """W <- W gamma / sqrt(v + eps), b <- (b - mu) gamma / sqrt(v + eps) + beta (Jacob et al. 2018, 3.2).

    Adds the statistics of every folded normalization's output tensor. Normalizations that do not follow a
    convolution stay: see `batch_norm_to_conv`. Same function.
    """
    statistics = dict(known)
    folded: dict[str, Node] = {}  # convolution output -> the node that replaces the pair
    dropped: set[str] = set()
    for node in graph.nodes:
        if not isinstance(node.op, BatchNorm):
            continue
        producer = graph.producers.get(node.inputs[0])
        if producer is None or not isinstance(producer.op, Conv2D):
            continue
        if graph.sole_consumer(producer.output) is not node:
            continue
        norm = node.op
        op = producer.op.with_scaled_outputs(norm.scale, norm.shift)
        statistics[node.output] = batch_norm_statistics(norm)
        folded[node.output] = replace(producer, op=op, output=node.output)
        dropped.add(producer.output)
    nodes = (folded.get(node.output, node) for node in graph.nodes if node.output not in dropped)
    return Passed(graph.with_nodes(nodes), statistics, f"{len(folded)} folded")


def batch_norm_to_conv(graph: Graph, known: Statistics) -> Passed:
    """Normalizations standing alone become depthwise 1x1 convolutions. Same function; adds statistics."""
    statistics = dict(known)
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node.op, BatchNorm):
            nodes.append(node)
            continue
        norm, shape = node.op, graph.shapes[node.output]
        statistics[node.output] = batch_norm_statistics(norm)
        channels = norm.gamma.shape[0]
        conv = Conv2D(norm.scale.reshape(channels, 1, 1, 1), norm.shift, groups=channels)
        if len(shape) == 4:
            nodes.append(replace(node, op=conv))
            continue
        image = (1, 1, int(np.prod(shape[:-1])), channels)
        before, after = f"{node.output}/image", f"{node.output}/scaled"
        nodes.append(Node(node.name, Reshape(image), node.inputs, before))
        nodes.append(Node(node.name, conv, (before,), after))
        nodes.append(Node(node.name, Reshape(shape), (after,), node.output))
    return Passed(graph.with_nodes(nodes), statistics)
