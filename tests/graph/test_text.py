"""Graphs as text: stable, safe to print, and the same graph when parsed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.errors import GraphError
from dfqgen.fixedpoint.dialect import TextError
from dfqgen.frontend import load
from dfqgen.graph.ir import Graph, Node, Op, Port, Shape
from dfqgen.graph.text import graph_text, parse_graph
from dfqgen.ops.lookup import Clip
from tests.ops.examples import EXAMPLES, IMAGE, of_inputs, operator_name

SMALL = """\
graph net
  input %in [1,4,4,2] is image axes (0, 2, 3, 1)
  %c = Conv2D(%in) weight=float32[3,3,3,2]{0.5} bias=float32[3]{0.0 -1.5 2.0} stride=(2, 2) pads=(0, 0, 1, 1)
      -> [1,2,2,3] of conv1
  %r = Clip(%c) lo=float64[1]{0.0} hi=float64[1]{inf} -> [1,2,2,3]
  %s = Pointwise(%r) steps=((Elementwise{function="sigmoid"}, (0)), (Mul{}, (0, 1))) -> [1,2,2,3]
  %f = Reshape(%s) shape=(1, 12) -> [1,12]
  %y = Add(%f, %f) sign=-1 -> [1,12]
  output %y [1,12] is result
"""


def assert_same(found: Graph, expected: Graph) -> None:
    """Equal in every name and every bit."""
    assert (found.name, found.inputs, found.outputs) == (expected.name, expected.inputs, expected.outputs)
    assert len(found.nodes) == len(expected.nodes)
    for a, b in zip(found.nodes, expected.nodes, strict=True):
        assert (a.name, a.inputs, a.output, type(a.op)) == (b.name, b.inputs, b.output, type(b.op))
    assert graph_text(found, full=True) == graph_text(expected, full=True)


def test_a_graph_prints_as_it_is_written() -> None:
    assert graph_text(parse_graph(SMALL), full=True) == SMALL


def test_large_constants_are_summarised_for_reading() -> None:
    conv = of_inputs(*EXAMPLES[0])
    assert "weight=float64[6,3,3,4]{... -2.39787 to 2.77363 crc32 f67d2dd9}" in graph_text(conv)
    with pytest.raises(TextError, match="only summarised"):
        parse_graph(graph_text(conv))


@pytest.mark.parametrize(("op", "shapes"), EXAMPLES, ids=operator_name)
def test_every_operator_is_read_back(op: Op, shapes: tuple[Shape, ...]) -> None:
    graph = of_inputs(op, shapes)
    again = parse_graph(graph_text(graph, full=True))
    assert_same(again, graph)
    for field in fields(op):  # type: ignore[arg-type]
        value, expected = getattr(again.nodes[0].op, field.name), getattr(op, field.name)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)


NAMES = st.text(min_size=1, max_size=6)
UNARY = [op for op, shapes in EXAMPLES if shapes == (IMAGE,)]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Operators of EXAMPLES where they fit, each after any tensor before it, under any names."""
    tensors = draw(st.lists(NAMES, min_size=2, max_size=8, unique=True))
    inputs = (Port(draw(NAMES), tensors[0], IMAGE, draw(st.sampled_from([None, (0, 3, 1, 2)]))),)
    shapes: dict[str, Shape] = {tensors[0]: IMAGE}
    nodes: list[Node] = []
    for tensor in tensors[1:]:
        source, op = draw(st.sampled_from(sorted(shapes))), draw(st.sampled_from(UNARY))
        try:
            shape = op.infer_shape(shapes[source])
        except (ValueError, IndexError, TypeError):
            op, shape = Clip.of(-0.0, draw(st.floats(0.0, allow_nan=False))), shapes[source]
        nodes.append(Node(draw(NAMES), op, (source,), tensor))
        shapes[tensor] = shape
    output = Port(draw(NAMES), tensors[-1], shapes[tensors[-1]])
    return Graph(draw(NAMES), inputs, (output,), tuple(nodes))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_any_graph_is_read_back_under_any_names(graph: Graph) -> None:
    text = graph_text(graph, full=True)
    assert all(c == "\n" or 32 <= ord(c) < 127 for c in text)
    assert_same(parse_graph(text), graph)


@pytest.mark.shared_models
@pytest.mark.parametrize("name", ["kws01_dscnn", "ad01_autoencoder", "vww01_mobilenetv1_025"])
def test_networks_are_read_back(shared_models: Path, name: str) -> None:
    graph = load(shared_models / f"{name}.onnx")
    assert_same(parse_graph(graph_text(graph, full=True)), graph)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("Reshape(%s)", "Rotate(%s)", TextError, "line 7: there is no operator Rotate"),
        ("sign=-1", "sign=x", TextError, "sign is no int"),
        ("sign=-1", "sing=-1", TextError, "Add has no sing"),
        ("shape=(1, 12) ", "", TextError, "Reshape needs shape"),
        ("{0.0 -1.5 2.0}", "{0.0 -1.5}", TextError, "a constant has 2 elements, not 3"),
        ("{0.0 -1.5 2.0}", "{0.0 -1.5 o}", TextError, "a bad constant"),
        ("[1,12]\n  %y", "[1,13]\n  %y", TextError, "the text says"),
        ("output", "outptu", TextError, "line 9: 'outptu' stands where output should be"),
        ("%f, %f", "%f, %g", GraphError, "before it is written"),
        ("%f, %f)", "%f, %f", TextError, "should be"),
        ("graph net", "graph !", TextError, "cannot read '!"),
    ],
)
def test_errors_say_what_and_where(old: str, new: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_graph(SMALL.replace(old, new))


def test_a_text_that_stops_is_an_error() -> None:
    for end in range(len(SMALL)):
        try:
            parse_graph(SMALL[:end])
        except (TextError, GraphError):
            continue
        assert SMALL[:end].count("\n") >= 8  # only the last words can be left out


def test_comments_and_line_breaks_mean_nothing() -> None:
    text = SMALL.replace(" -> ", "\n\n   -> ").replace("graph net", "# a test\ngraph net # of texts")
    assert_same(parse_graph(text), parse_graph(SMALL))
