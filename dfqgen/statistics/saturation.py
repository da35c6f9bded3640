"""Values far outside that no reader can tell from a range's end: paddings before a maximum, masks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.pool import MaxPool
from dfqgen.ops.softmax import PROBABILITY, Softmax
from dfqgen.statistics.channel import ChannelStatistics

SATURATION = {"sigmoid": math.log(2.0 * 256 - 1.0), "tanh": math.atanh(1.0 - 1.0 / 256)}
"""Where functions come within half a step of their 8-bit output's end."""


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


def saturating_bounds(graph: Graph, tensor: str) -> tuple[float, float]:
    """Between which values the readers of a tensor can tell them apart: infinite unless all of them saturate.

    A sigmoid's 8-bit output has reached its last step at 6.2, a tanh's at 3.1.
    """
    readers = graph.consumers[tensor]
    if not readers or tensor in graph.output_tensors:
        return -math.inf, math.inf
    lows, highs = zip(*(_told_apart(graph, node) for node in readers), strict=True)
    return min(lows), max(highs)


def _told_apart(graph: Graph, node: Node) -> tuple[float, float]:
    if isinstance(node.op, Elementwise) and node.op.function in SATURATION:
        reach = SATURATION[node.op.function]
        return -reach, reach
    if node.op.keeps_type and len(node.inputs) == 1:
        return saturating_bounds(graph, node.output)
    return -math.inf, math.inf


def heard_values(graph: Graph, tensor: str, value: Array) -> Array:
    """`value` [N, ...] of a tensor with what no softmax tells from it further up, and no sigmoid beyond."""
    lo, hi = saturating_bounds(graph, tensor)
    if math.isfinite(lo):
        value = np.clip(value, lo, hi)
    depth = softmax_depth(graph, tensor)
    if math.isinf(depth):
        return value
    return np.maximum(value, value.max(axis=-1, keepdims=True) - depth)


def heard_statistics(graph: Graph, tensor: str, statistics: ChannelStatistics) -> ChannelStatistics:
    """The same of statistics: a row's largest is at least the largest of its channels' smallest values."""
    lo, hi = saturating_bounds(graph, tensor)
    if math.isfinite(lo):
        lows, highs = (np.clip(end, lo, hi) for end in (statistics.lo, statistics.hi))
        statistics = replace(statistics, lo=lows, hi=highs)
        if statistics.seen is not None:
            lowest, highest = (np.clip(end, lo, hi) for end in statistics.seen)
            statistics = replace(statistics, seen=(lowest, highest))
    depth = softmax_depth(graph, tensor)
    if math.isinf(depth) or statistics.seen is None:
        return statistics
    floor = float(statistics.seen[0].max()) - depth
    lows, highs, lowest, highest = (
        np.maximum(end, floor) for end in (statistics.lo, statistics.hi, *statistics.seen)
    )
    return replace(statistics, lo=lows, hi=highs, seen=(lowest, highest))


def heads(graph: Graph) -> tuple[str, ...]:
    """For every output the tensor it is judged at: before functions that saturate, such as a softmax.

    On samples without a certain answer, or with too certain ones, the derivative behind them says nothing.
    """
    found = []
    for output in sorted(graph.output_tensors):
        head = tensor = output
        while (node := graph.producers.get(tensor)) is not None and len(node.inputs) == 1:
            if _saturates(node):
                head = node.inputs[0]
            elif not node.op.keeps_type:
                break
            tensor = node.inputs[0]
        found.append(head)
    return tuple(found)


def _saturates(node: Node) -> bool:
    return node.op.reads_scores or node.op.output_type() is not None
