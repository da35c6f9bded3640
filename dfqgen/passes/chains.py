"""Chains convolution -> channel-wise, scale-equivariant operators -> convolution, on which DFQ works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfqgen.graph.ir import Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Two convolutions and what lies between; each tensor between them has one consumer.

    Both have free weights: where the model states integers, nothing moves between layers.

    `first`, `second` and `between` are output tensor names of nodes, so that a chain stays valid while
    a pass exchanges operators.
    """

    first: str
    between: tuple[str, ...]
    second: str

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that carry the shared channels, in order."""
        return (self.first, *self.between)


def _keeps_channels(node: Node, graph: Graph) -> bool:
    """Whether node(s * x) = s * node(x) for s > 0 a channel, up to its own parameters (`Op.scaled`)."""
    if isinstance(node.op, Clip) and not graph.producers[node.inputs[0]].op.fuses_clip:
        return False  # its bounds become per channel, which only a requantization can apply
    shape = graph.shapes[node.inputs[0]]
    return node.op.scaled(np.ones(shape[-1]), shape) is not None


def find_chains(graph: Graph) -> Iterator[Chain]:
    """All chains of the graph, in order of their first convolution."""
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D) or node.op.weight_scale is not None:
            continue
        between: list[str] = []
        reader = graph.sole_consumer(node.output)
        while reader is not None and len(reader.inputs) == 1 and _keeps_channels(reader, graph):
            between.append(reader.output)
            reader = graph.sole_consumer(reader.output)
        if reader is not None and isinstance(reader.op, Conv2D) and reader.op.weight_scale is None:
            yield Chain(node.output, tuple(between), reader.output)


def scale_input_channels(conv: Conv2D, scale: np.ndarray) -> np.ndarray:
    """The weight with input channel c multiplied by scale[c]."""
    group_in = conv.weight.shape[3]
    per_group = np.asarray(scale).reshape(conv.groups, group_in)
    per_output = np.repeat(per_group, conv.out_channels // conv.groups, axis=0)
    return conv.weight * per_output[:, None, None, :]
