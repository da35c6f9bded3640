"""Which ports take and give channels last: those where it saves transposes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.ops.movement import Transpose
from dfqgen.passes.layout import Permutation, sink


def ports_to_channels_last(graph: Graph) -> Graph:
    """The graph whose inputs and outputs change their axes where that saves transposes.

    `Port.permutation` says how. The graph's transposes have sunk before.
    """
    for group in _groups(graph):
        if any(graph.inputs[index].permutation is not None for index in group):
            continue
        changed = graph
        for index in group:
            changed = _channels_last_state(_channels_last_input(changed, index), graph.inputs[index].name)
        changed = sink(changed)
        if _cost(_channels_last_outputs(changed)) < _cost(_channels_last_outputs(graph)):
            graph = changed
    return _channels_last_outputs(graph)


def _groups(graph: Graph) -> list[list[int]]:
    """Inputs to change at once: those of as many channels, which may meet in an operator, then each alone."""
    places = [index for index, port in enumerate(graph.inputs) if len(port.shape) >= 3]
    alike: dict[tuple[int, int], list[int]] = {}
    for index in places:
        shape = graph.inputs[index].shape
        alike.setdefault((len(shape), shape[1]), []).append(index)
    return [group for group in alike.values() if len(group) > 1] + [[index] for index in places]


def _cost(graph: Graph) -> tuple[int, int]:
    """Elements that transposes move, then nodes."""
    moved = sum(
        math.prod(graph.shapes[node.output]) for node in graph.nodes if isinstance(node.op, Transpose)
    )
    return moved, len(graph.nodes)


def _last(rank: int) -> Permutation:
    return (0, *range(2, rank), 1)


def _channels_last_input(graph: Graph, index: int) -> Graph:
    """The graph taking this input channels last, and transposing it back for everything inside."""
    port = graph.inputs[index]
    permutation = _last(len(port.shape))
    tensor = f"{port.tensor}#1"
    shape = tuple(port.shape[axis] for axis in permutation)
    new = replace(port, tensor=tensor, shape=shape, permutation=permutation)
    inverse = Transpose(tuple(int(a) for a in np.argsort(permutation)))
    back = Node(f"{port.name}/layout", inverse, (tensor,), port.tensor)
    return replace(
        graph,
        inputs=(*graph.inputs[:index], new, *graph.inputs[index + 1 :]),
        nodes=(back, *graph.nodes),
    )


def _channels_last_state(graph: Graph, name: str) -> Graph:
    """The graph whose input of this name has changed; if it is a state, the output has to change too."""
    for state in graph.states:
        if state.input != name:
            continue
        index = next(i for i, port in enumerate(graph.outputs) if port.name == state.output)
        port = graph.outputs[index]
        permutation = _last(len(port.shape))
        tensor = f"{port.tensor}#2"
        shape = tuple(port.shape[axis] for axis in permutation)
        new = replace(port, tensor=tensor, shape=shape, permutation=permutation)
        node = Node(f"{port.name}/layout", Transpose(permutation), (port.tensor,), tensor)
        outputs = (*graph.outputs[:index], new, *graph.outputs[index + 1 :])
        return replace(graph, outputs=outputs, nodes=(*graph.nodes, node))
    return graph


def _channels_last_outputs(graph: Graph) -> Graph:
    """The graph whose outputs are the tensors in front of final transposes from channels last; not states."""
    states = {state.output for state in graph.states}

    def absorbed(port: Port) -> Port:
        node = graph.producers.get(port.tensor)
        if node is None or not isinstance(node.op, Transpose) or port.name in states:
            return port
        inverse = tuple(int(a) for a in np.argsort(node.op.permutation))
        if inverse != _last(len(port.shape)):
            return port
        source = node.inputs[0]
        return replace(port, tensor=source, shape=graph.shapes[source], permutation=inverse)

    return replace(graph, outputs=tuple(absorbed(port) for port in graph.outputs)).without_dead_nodes()
