"""The text of a graph: stable, one fact a line, safe to print."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.graph.printer import format_graph
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.windows import Pads


def test_a_graph_prints_one_line_a_node() -> None:
    weight, ones = np.zeros((4, 3, 3, 2), np.float32), np.ones(4, np.float32)
    depthwise = Conv2D(np.zeros((4, 3, 1, 1)), ones, (1, 2), (2, 1), Pads(2, 0, 2, 0), groups=4)
    ops = {
        "c": (Conv2D(weight, ones, (2, 2), pads=Pads(0, 0, 1, 1)), "in"),
        "d": (depthwise, "c"),
        "n": (BatchNorm(ones, ones, ones, ones, 1e-3), "d"),
        "r": (Clip.of(0, 6), "n"),
        "t": (Elementwise("tanh"), "r"),
        "p": (Pad((0, 1, 0, 0), (0, 1, 0, 0)), "t"),
        "m": (MaxPool((2, 2)), "p"),
        "a": (AveragePool((2, 1), (2, 1)), "m"),
        "f": (Reshape((1, 8)), "a"),
    }
    nodes = [Node(name, op, (source,), name) for name, (op, source) in ops.items()]
    nodes += [
        Node("s", Add(-1), ("f", "f"), "s"),
        Node("x", Softmax(1), ("s",), "x"),
        Node("y", Transpose((0, 1)), ("x",), "y"),
    ]
    inputs = (Port("image", "in", (1, 8, 8, 2), (0, 2, 3, 1)),)
    graph = Graph("net", inputs, (Port("y", "y", (1, 8)),), tuple(nodes))
    assert format_graph(graph) == (
        "graph net\n"
        "  input %in [1,8,8,2] is image axes 0,2,3,1 of the model's\n"
        "  %c = conv2d(%in) 3x3 s2 p0,0,1,1 [1,4,4,4]\n"
        "  %d = conv2d(%c) 3x1 s1,2 d2,1 p2,0,2,0 depthwise [1,4,2,4]\n"
        "  %n = batch_norm(%d) epsilon=0.001 [1,4,2,4]\n"
        "  %r = clip(%n) 0..6 [1,4,2,4]\n"
        "  %t = elementwise(%r) tanh [1,4,2,4]\n"
        "  %p = pad(%t) 0,0;1,1;0,0;0,0 value=0 [1,6,2,4]\n"
        "  %m = max_pool(%p) 2x2 s1 p0 [1,5,1,4]\n"
        "  %a = average_pool(%m) 2x1 s2,1 p0 [1,2,1,4]\n"
        "  %f = reshape(%a) [1,8]\n"
        "  %s = add(%f, %f) sign=-1 [1,8]\n"
        "  %x = softmax(%s) axis=1 [1,8]\n"
        "  %y = transpose(%x) 0,1 [1,8]\n"
        "  output %y [1,8]\n"
    )


def test_names_cannot_break_lines_or_terminals() -> None:
    name = "a\nb\x1b[31m c\u202e"
    x, y = Port("x", "x", (1, 2)), Port("y", name, (1, 2))
    text = format_graph(Graph("g\n", (x,), (y,), (Node(name, Clip.of(0, 1), ("x",), name),)))
    assert text.count("\n") == 4
    assert all(c.isprintable() or c == "\n" for c in text)
