"""Values far outside that no reader can tell from a range's end: paddings before a maximum, masks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.lookup import Clip
from dfqgen.ops.pool import MaxPool
from dfqgen.ops.softmax import PROBABILITY, Softmax
from dfqgen.statistics.channel import ChannelStatistics


def lost_anyway(graph: Graph, tensor: str, value: float, lo: float) -> bool:
    """Whether all readers of `tensor` take a border of `value` for one of `lo`, the smallest of the others.

    So does a maximum over a window that is not all border, and a clip that cuts both off.
    """
    if not np.isfinite(value):
        return True
    if value >= lo or tensor in graph.output_tensors:
        return False
    return all(_takes_for(graph, node, value, lo) for node in graph.consumers[tensor])


def _takes_for(graph: Graph, node: Node, value: float, lo: float) -> bool:
    if isinstance(node.op, MaxPool):
        return True
    if isinstance(node.op, Clip) and np.all(node.op.lo >= lo):
        return True
    return node.op.keeps_type and lost_anyway(graph, node.output, value, lo)


def softmax_depth(graph: Graph, tensor: str) -> float:
    """How far below a row's largest score of a tensor others still count; infinite unless only softmaxes
    along its last axis read it.

    What all others further down add up to is half a step of their 8-bit outputs.
    """
    readers, shape = graph.consumers[tensor], graph.shapes[tensor]
    if not readers or tensor in graph.output_tensors:
        return math.inf
    if not all(isinstance(node.op, Softmax) and node.op.axis == len(shape) - 1 for node in readers):
        return math.inf
    return math.log(2.0 / PROBABILITY.scale * shape[-1])


def heard_values(graph: Graph, tensor: str, value: Array) -> Array:
    """`value` [N, ...] of a tensor with what no softmax tells from it further up."""
    depth = softmax_depth(graph, tensor)
    if math.isinf(depth):
        return value
    return np.maximum(value, value.max(axis=-1, keepdims=True) - depth)


def heard_statistics(graph: Graph, tensor: str, statistics: ChannelStatistics) -> ChannelStatistics:
    """The same of statistics: a row's largest is at least the largest of its channels' smallest values."""
    depth = softmax_depth(graph, tensor)
    if math.isinf(depth) or statistics.seen is None:
        return statistics
    floor = float(statistics.seen[0].max()) - depth
    lo, hi, lowest, highest = (
        np.maximum(end, floor) for end in (statistics.lo, statistics.hi, *statistics.seen)
    )
    return replace(statistics, lo=lo, hi=hi, seen=(lowest, highest))
