"""Names that a person recognises."""

from __future__ import annotations

from dataclasses import replace

from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.rewrite import base_name, fresh_name
from dfqgen.ops.movement import Pad, Reshape, Transpose


def tidy_names(graph: Graph) -> Graph:
    """The graph with the model's own tensor names where they are free, and unique node names.

    A tensor that an output port shows has the first claim on a name, then a computed tensor, then one
    that was only moved.
    """
    outputs = {port.tensor: port.name for port in graph.outputs}
    taken: set[str] = set()
    names = {port.tensor: fresh_name(port.name, taken) for port in graph.inputs}

    def rank(node: Node) -> int:
        if outputs.get(node.output) == base_name(node.output):
            return 0
        return 2 if isinstance(node.op, Reshape | Transpose | Pad) else 1

    for node in sorted(graph.nodes, key=rank):
        names[node.output] = fresh_name(base_name(node.output), taken)
    node_names: set[str] = set()
    return replace(
        graph,
        nodes=tuple(
            Node(
                fresh_name(node.name, node_names),
                node.op,
                tuple(names[name] for name in node.inputs),
                names[node.output],
            )
            for node in graph.nodes
        ),
        inputs=tuple(replace(port, tensor=names[port.tensor]) for port in graph.inputs),
        outputs=tuple(replace(port, tensor=names[port.tensor]) for port in graph.outputs),
    )
