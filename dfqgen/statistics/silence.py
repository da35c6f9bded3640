"""Outputs that rest on samples: where nothing moves, nothing shows of what rounding does.

A detector's scores stay at the end of what their sigmoid tells apart on images without anything to detect,
a map behind a ReLU stays zero. That integers give the same there is no evidence for what they do where
scores move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.families import PerChannel
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.statistics.saturation import heads, heard_values, saturating_bounds

STEPS = 255
"""An output that moves by less than a step of 8 bits rests."""


def resting_outputs(graph: Graph, samples: Mapping[str, Array]) -> frozenset[str]:
    """The outputs' tensors that rest on samples [N, ...] by input tensor. Runs the network only where an
    output ends in what saturates.
    """
    ends = dict(zip(sorted(graph.output_tensors), heads(graph), strict=True))
    ends = {output: end for output, end in ends.items() if reach(graph, end) is not None}
    if not ends:
        return frozenset()
    values = values_at(graph, samples, frozenset(ends.values()))
    heard = {end: heard_values(graph, end, value) for end, value in values.items()}
    return frozenset(output for output, end in ends.items() if rests(graph, end, heard[end]))


def rests(graph: Graph, end: str, heard: Array) -> bool:
    """Whether what is heard of the tensor an output is judged at moves by less than a step of its reach."""
    whole = reach(graph, end)
    return whole is not None and float(heard.std(dtype=np.float64)) <= whole / STEPS


def reach(graph: Graph, end: str) -> float | None:
    """How far what is heard of a tensor can move: between the ends of what its readers tell apart or of its
    own clip, of which a ReLU has but one, and rests only at zero; 1 of sigmoids' outputs put together. None
    where nothing saturates.
    """
    lo, hi = saturating_bounds(graph, end)
    if not math.isinf(hi - lo):
        return hi - lo
    node = graph.producers.get(end)
    if node is not None and isinstance(node.op, Clip):
        lo, hi = float(node.op.lo.min()), float(node.op.hi.max())
        return 0.0 if math.isinf(hi - lo) else hi - lo
    return 1.0 if node is not None and _of_sigmoids(graph, node) else None


def _of_sigmoids(graph: Graph, node: Node) -> bool:
    """Whether only values of sigmoids are moved here."""
    if not node.op.keeps_type:
        return isinstance(node.op, Elementwise) and node.op.function == "sigmoid"
    before = [graph.producers.get(name) for name in node.inputs]
    return all(one is not None and _of_sigmoids(graph, one) for one in before)


def judged_at(graph: Graph, head: str, heard: Mapping[str, Array]) -> tuple[str, Array]:
    """Where to look for an output's reactions, and the signal there: in front of a clip on which it rests,
    behind which nothing is heard, what moves about its mean.
    """
    node = graph.producers.get(head)
    if node is not None and isinstance(node.op, Clip) and rests(graph, head, heard[head]):
        before = heard[node.inputs[0]]
        return node.inputs[0], before - before.mean()
    return head, signal_of(graph, head, heard[head])


def signal_of(graph: Graph, head: str, value: Array) -> Array:
    """What an output says [N, ...]: all of it, but where constants of places are added, as a detector that
    decodes its boxes adds those it starts from, only how far it moves: they are the same for any input.
    """
    count = len(value)
    if count < 2 or not _is_placed(graph, head):
        return value
    return np.asarray((value - value.mean(axis=0)) * math.sqrt(count / (count - 1)), value.dtype)


def _is_placed(graph: Graph, head: str) -> bool:
    """Whether only element-wise operators come between an output and constants of each of its elements."""
    rest, seen = [head], {head}
    while rest:
        node = graph.producers.get(rest.pop())
        if node is None:
            continue
        if isinstance(node.op, Conv2D):
            alone = graph.shapes[node.inputs[0]][:-1] == (1, 1, 1) and node.op.depthwise
            if alone and np.ptp(node.op.bias) > 0.0:
                return True
        elif node.op.keeps_type or node.op.pointwise or isinstance(node.op, PerChannel):
            new = set(node.inputs) - seen
            rest += new
            seen |= new
    return False


def values_at(graph: Graph, samples: Mapping[str, Array], tensors: frozenset[str]) -> dict[str, Array]:
    """Some tensors' values on samples [N, ...], of which one at a time is run."""
    found: dict[str, list[Array]] = {name: [value] for name, value in samples.items() if name in tensors}

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        if node.output in tensors:
            found.setdefault(node.output, []).append(output)

    for index in range(len(next(iter(samples.values())))):
        graph.evaluate({name: value[index : index + 1] for name, value in samples.items()}, watch)
    return {name: np.concatenate(parts) for name, parts in found.items()}
