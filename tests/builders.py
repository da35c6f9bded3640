"""Small float graphs for tests, built by hand."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.windows import Pads


def chain(ops: list[Op], shape: tuple[int, ...] = (1, 8, 8, 3)) -> Graph:
    """ops applied one after the other to one input `x`; tensors are t0, t1, ..."""
    nodes = [Node(f"layer{i}", op, ("x" if i == 0 else f"t{i - 1}",), f"t{i}") for i, op in enumerate(ops)]
    last = nodes[-1].output
    graph = Graph("net", (Port("x", "x", shape),), (Port("y", last, ()),), tuple(nodes))
    return Graph("net", graph.inputs, (Port("y", last, graph.shapes[last]),), tuple(nodes))


def conv(
    rng: np.random.Generator,
    out_channels: int,
    in_channels: int,
    kernel: int = 3,
    *,
    groups: int = 1,
    stride: int = 1,
    pad: int = 1,
    spread: float = 0.0,
) -> Conv2D:
    """Random weights with unit gain; `spread` makes output channels differ by e**(+-spread)."""
    shape = (out_channels, kernel, kernel, in_channels // groups)
    weight = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
    weight *= np.exp(rng.uniform(-spread, spread, (out_channels, 1, 1, 1)))
    return Conv2D(
        weight,
        rng.normal(0, 0.3, out_channels),
        stride=(stride, stride),
        pads=Pads(pad, pad, pad, pad),
        groups=groups,
    )


def batch_norm(rng: np.random.Generator, channels: int) -> BatchNorm:
    """Plausible trained parameters."""
    return BatchNorm(
        gamma=rng.uniform(0.5, 1.5, channels) * rng.choice([-1.0, 1.0], channels),
        beta=rng.normal(0, 0.5, channels),
        mean=rng.normal(0, 0.5, channels),
        variance=rng.uniform(0.3, 2.0, channels),
        epsilon=1e-3,
    )


def relu() -> Clip:
    return Clip.of(0.0, np.inf)


def relu6() -> Clip:
    return Clip.of(0.0, 6.0)


def conv_of(graph: Graph, index: int) -> Conv2D:
    """The operator of a node, which is a convolution."""
    op = graph.nodes[index].op
    assert isinstance(op, Conv2D)
    return op


def run(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The one output of a one-input graph."""
    return next(iter(graph.evaluate({graph.inputs[0].tensor: x}).values()))
