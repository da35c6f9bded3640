"""`Graph.verify` refuses what is not a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.errors import GraphError
from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.movement import Reshape
from tests.builders import batch_norm, chain, conv, relu

GRAPH = chain([conv(np.random.default_rng(0), 4, 3), relu()])
X, Y = GRAPH.inputs[0], GRAPH.outputs[0]
CONV, RELU = GRAPH.nodes


def test_a_well_formed_graph_passes() -> None:
    GRAPH.verify()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(GRAPH, nodes=(RELU, CONV)), "reads .'t0'. before it is written"),
        (replace(GRAPH, nodes=(CONV, RELU, replace(RELU, inputs=("x",)))), "writes 't1' a second time"),
        (replace(GRAPH, nodes=(CONV, replace(RELU, output="x"))), "writes 'x' a second time"),
        (replace(GRAPH, nodes=(CONV, replace(RELU, inputs=()))), "reads"),
        (replace(GRAPH, outputs=(replace(Y, tensor="gone"),)), "never written"),
        (replace(GRAPH, outputs=(replace(Y, shape=(1, 8, 8, 3)),)), "stated to be"),
        (replace(GRAPH, outputs=(Y, Y)), "two ports have one name"),
        (replace(GRAPH, inputs=(Port("x", "x", (2, 8, 8, 3)),)), "cannot have the shape"),
        (replace(GRAPH, nodes=(replace(CONV, op=batch_norm(np.random.default_rng(0), 4)), RELU)), "layer0"),
        (replace(GRAPH, nodes=(CONV, replace(RELU, op=Reshape((1, 5))))), "has not the elements"),
    ],
)
def test_what_is_wrong_is_said(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        graph.verify()


def test_parameters_of_a_wrong_shape_are_refused() -> None:
    assert isinstance(CONV.op, Conv2D)
    short = replace(CONV.op, bias=np.zeros(3))
    with pytest.raises(GraphError, match="a bias of"):
        replace(GRAPH, nodes=(Node("layer0", short, ("x",), "t0"), RELU)).verify()
