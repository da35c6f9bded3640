"""Factors of channels, wherever a network lets them cancel: through activations, pools, sums and joins.

A factor on an output channel of a convolution is undone by the inverse on the input channels of the
convolutions that read it, as long as everything between commutes with it (`Op.carried`). Cross-layer
equalization (Nagel et al. 2019) is this on chains of two layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import scale_input_channels
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics

FIXED = 0
"""The label of channels whose factor must be 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Scalable:
    """Which channels must have one factor: `labels` [C] by tensor, in range(count), FIXED among them."""

    labels: Mapping[str, Array]
    count: int


def scalable_channels(graph: Graph) -> Scalable:
    """What can be scaled: outputs of convolutions that only convolutions hear. Those whose integers the model
    states are left alone.
    """
    sets = _Sets()
    labels: dict[str, Array] = {
        port.tensor: np.zeros(graph.shapes[port.tensor][-1], np.int64) for port in graph.inputs
    }
    for node in graph.nodes:
        sources = [labels[name] for name in node.inputs]
        if isinstance(node.op, Conv2D) and node.op.weight_scale is None:
            labels[node.output] = sets.fresh(node.op.out_channels)
            continue
        rows = None
        if _may_be_scaled(graph, node):
            shapes = tuple(graph.shapes[name] for name in node.inputs)
            rows = node.op.carried(shapes, *(sets.roots(source) for source in sources))
        if rows is None:
            for source in sources:
                sets.join(source, np.zeros_like(source))
            labels[node.output] = np.zeros(graph.shapes[node.output][-1], np.int64)
            continue
        for row in rows[1:]:
            sets.join(rows[0], row)
        labels[node.output] = rows[0]
    for tensor in graph.output_tensors:
        sets.join(labels[tensor], np.zeros_like(labels[tensor]))
    return sets.numbered(labels)


def _may_be_scaled(graph: Graph, node: Node) -> bool:
    """Bounds other than zero become one a channel, which only a layer that absorbs the clip can apply."""
    if not isinstance(node.op, Clip):
        return True
    scaled = node.op.scaled(np.full(1, 2.0), ())
    if scaled.lo is node.op.lo and scaled.hi is node.op.hi:
        return True
    source = node.inputs[0]
    producer = graph.producers.get(source)
    return producer is not None and isinstance(producer.op, Conv2D) and graph.sole_consumer(source) is node


class _Sets:
    """Labels with one factor, as union-find; FIXED is the root of its own."""

    def __init__(self) -> None:
        self._parent = [FIXED]

    def fresh(self, count: int) -> Array:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label

    def roots(self, labels: Array) -> Array:
        return np.array([self._root(label) for label in labels.tolist()], np.int64)

    def join(self, first: Array, second: Array) -> None:
        for a, b in zip(self.roots(first).tolist(), self.roots(second).tolist(), strict=True):
            low, high = sorted((self._root(a), self._root(b)))
            self._parent[high] = low

    def numbered(self, labels: Mapping[str, Array]) -> Scalable:
        """All labels by their roots, counted from FIXED on."""
        names = list(labels)
        rooted = [self.roots(labels[name]) for name in names]
        used, numbers = np.unique(np.concatenate([[FIXED], *rooted]), return_inverse=True)
        ends = np.cumsum([1, *(len(row) for row in rooted)])
        parts = np.split(numbers.reshape(-1), ends[:-1])[1:]
        return Scalable(dict(zip(names, parts, strict=True)), len(used))


def scale_channels(
    graph: Graph, known: Statistics, scalable: Scalable, factors: Array
) -> tuple[Graph, dict[str, ChannelStatistics]]:
    """The same function with every channel multiplied by its label's factor (> 0, that of FIXED 1).

    Statistics move along; what samples showed of them is dropped (`ChannelStatistics`).
    """
    ops: dict[str, Op] = {}
    for node in graph.nodes:
        before = factors[scalable.labels[node.inputs[0]]]
        after = factors[scalable.labels[node.output]]
        if isinstance(node.op, Conv2D):
            if np.any(before != 1.0) or np.any(after != 1.0):
                weight = scale_input_channels(node.op, 1.0 / before) * after[:, None, None, None]
                ops[node.output] = replace(node.op, weight=weight, bias=node.op.bias * after)
        elif len(node.inputs) == 1 and np.any(before != 1.0):
            # Operators without parameters may not say what they become: themselves.
            scaled = node.op.scaled(before, graph.shapes[node.inputs[0]])
            ops[node.output] = node.op if scaled is None else scaled
    moved = {
        name: statistics.scale_shift(factors[scalable.labels[name]])
        if np.any(factors[scalable.labels[name]] != 1.0)
        else statistics
        for name, statistics in known.items()
    }
    return graph.replace_ops(ops), moved
