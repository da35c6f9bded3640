"""An LSTM of which the last hidden state and the last cell are read is one layer that gives both.

Importers write a layer for each output that is read. Networks that run step by step read both, as the states
of the next step: two layers would take twice the time and twice the flash.
"""

from __future__ import annotations

from dataclasses import replace

from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.rewrite import fresh_name
from dfqgen.ops.recurrent import LSTM
from dfqgen.ops.take import Take


def join_lstm_states(graph: Graph) -> Graph:
    """The graph with each such pair as one layer, where the first of them was, and a cut for either state."""
    names = set(graph.shapes)
    partners: dict[str, Node] = {}
    layers = [node for node in graph.nodes if isinstance(node.op, LSTM)]
    for node in layers:
        partner = next((p for p in layers if _gives_cell_of(p, node, graph)), None)
        if partner is not None and partner.output not in partners:
            partners |= {node.output: partner, partner.output: node}
    nodes: list[Node] = []
    done: set[str] = set()
    for node in graph.nodes:
        partner = partners.get(node.output)
        if partner is None:
            nodes.append(node)
        elif node.output not in done:
            done.add(partner.output)
            nodes += _joined(node, partner, fresh_name(f"{node.output}/states", names))
    return graph.with_nodes(nodes)


def _gives_cell_of(cell: Node, hidden: Node, graph: Graph) -> bool:
    """Whether they are one layer: one gives the last cell, the other the last hidden state alone."""
    a, b = cell.op, hidden.op
    if not isinstance(a, LSTM) or not isinstance(b, LSTM) or cell.inputs != hidden.inputs:
        return False
    one_step = graph.shapes[hidden.output][1] == 1
    return a.gives == "cell" and b.gives in ("last", "sequence") and one_step and a.is_layer_of(b)


def _joined(first: Node, second: Node, both: str) -> list[Node]:
    op = first.op
    assert isinstance(op, LSTM)
    hidden, cell = (second, first) if op.gives == "cell" else (first, second)
    end = sum(op.widths)
    return [
        replace(hidden, op=replace(op, gives="states"), output=both),
        replace(hidden, op=Take.along(2, range(op.width), 3), inputs=(both,)),
        replace(cell, op=Take.along(2, range(op.width, end), 3), inputs=(both,)),
    ]
