"""The same network with height and width exchanged: what was a column of an image becomes a row."""

from __future__ import annotations

from dataclasses import replace

from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.graph.rewrite import ANY, Result, Row, pattern, rewrite
from dfqgen.ops.movement import Transpose
from dfqgen.passes.layout import SINKING
from dfqgen.passes.merge import transpose_to_reshape

TURN = (0, 2, 1, 3)


def rows_along_width(graph: Graph) -> Graph:
    """The graph whose images [1,H,W,C] come as [1,W,H,C], as columns one after the other.

    For spectrograms whose time is the width, which then come in rows; `Port.permutation` says how. Its
    inputs are channels last before.
    """
    turned: list[Port] = []
    nodes: list[Node] = []
    for port in graph.inputs:
        if len(port.shape) != 4:
            turned.append(port)
            continue
        tensor = f"{port.tensor}#turned"
        shape = tuple(port.shape[axis] for axis in TURN)
        axes = port.permutation or (0, 1, 2, 3)
        permutation = tuple(axes[axis] for axis in TURN)
        turned.append(replace(port, tensor=tensor, shape=shape, permutation=permutation))
        nodes.append(Node(f"{port.name}/turn", Transpose(TURN), (tensor,), port.tensor))
    graph = replace(graph, inputs=tuple(turned), nodes=(*nodes, *graph.nodes))
    return rewrite(rewrite(graph, *SINKING, sink_turn), *SINKING, sink_turn, transpose_to_reshape)


@pattern(Transpose, ANY)
def sink_turn(row: Row, transpose: Transpose, op: Op) -> Result:
    """window(turn(x)) becomes turn(window'(x)): what `Op.transposed` leaves alone elsewhere, since images
    that are a row high are better left as they are.
    """
    turned = op.turned() if transpose.permutation == TURN and len(row.last.inputs) == 1 else None
    if turned is None:
        return None
    inner = row.scope.fresh(row.last.output)
    back = Node(row.last.name, Transpose(TURN), (inner,), row.last.output)
    return [replace(row.last, op=turned, inputs=row.first.inputs, output=inner), back]
