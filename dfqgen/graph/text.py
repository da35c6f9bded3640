"""A float graph as text, and back: one statement a node, in the dialect of `fixedpoint/dialect.py`.

    graph net
      input %in [1,8,8,2] is image axes (0, 2, 3, 1)
      %c = Conv2D(%in) weight=float32[4,3,3,2]{0.5} bias=float32[4]{0.0} stride=(2, 2) -> [1,3,3,4] of conv1
      output %c [1,3,3,4] is result

`is` gives a port's name where it differs from its tensor's, `axes` the permutation from the model's axes,
`whole` says that the model's tensor has no axis for the batch, `holds` which whole numbers an input takes,
`codes` how the model's integers stand for a quantized port's reals, `of` a node's name where it differs from
its output's. `state before = after` ties an input port to an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfqgen.fixedpoint.dialect import (
    Reader,
    fields_text,
    made,
    name_text,
    port_text,
    shape_text,
    statement_text,
    value_text,
)
from dfqgen.fixedpoint.qtype import Coding
from dfqgen.graph.ir import Graph, Node, Op, Port, Shape, State
from dfqgen.ops import float_operators


def graph_text(graph: Graph, *, full: bool = False) -> str:
    """The graph; with `full` it can be parsed, else large constants are summarised."""
    lines = [f"graph {name_text(graph.name)}"]
    lines += [f"  input {_port_text(port)}" for port in graph.inputs]
    lines += [_node_text(node, graph.shapes[node.output], full) for node in graph.nodes]
    lines += [f"  output {_port_text(port)}" for port in graph.outputs]
    lines += [f"  state {name_text(s.input)} = {name_text(s.output)}" for s in graph.states]
    return "\n".join(lines) + "\n"


def _port_text(port: Port) -> str:
    return port_text(port, shape_text(port.shape)) + (" whole" if port.whole else "") + _holds_text(port)


def _holds_text(port: Port) -> str:
    holds = "" if port.holds is None else f" holds {value_text(port.holds, full=True)}"
    return holds if port.coding is None else f"{holds} codes {value_text(port.coding, full=True)}"


def _node_text(node: Node, shape: Shape, full: bool) -> str:
    named = "" if node.name == node.output else f" of {name_text(node.name)}"
    attributes = fields_text(node.op, full=full)
    return statement_text(
        node.output, type(node.op).__name__, node.inputs, attributes, f"-> {shape_text(shape)}{named}"
    )


def parse_graph(text: str) -> Graph:
    """The graph of `graph_text(..., full=True)`, verified.

    Raises TextError where the text is none, GraphError where the graph is not well-formed.
    """
    reader = Reader(text, lambda word, fields: _operator(reader, word, fields))
    reader.take(text="graph")
    name = reader.name()
    ports: dict[str, list[Port]] = {"input": [], "output": []}
    nodes: list[Node] = []
    stated: dict[str, Shape] = {}
    states: list[State] = []
    while not reader.done:
        if reader.sees_kind("tensor"):
            node, shape = _node(reader)
            nodes.append(node)
            stated[node.output] = shape
        elif reader.takes("state"):
            before = reader.name()
            reader.take(text="=")
            states.append(State(before, reader.name()))
        else:
            side = ports["input" if reader.takes("input") else reader.take(text="output")]
            tensor, shape = reader.tensor(), reader.shape()
            name_of_port, permutation = reader.port_end(tensor)
            whole = reader.takes("whole")
            holds = _range(reader) if reader.takes("holds") else None
            coding = _coding(reader) if reader.takes("codes") else None
            side.append(Port(name_of_port, tensor, shape, permutation, whole, holds, coding))
    graph = Graph(name, tuple(ports["input"]), tuple(ports["output"]), tuple(nodes), states=tuple(states))
    graph.verify()
    for tensor, shape in stated.items():
        if graph.shapes[tensor] != shape:
            raise reader.error(f"%{tensor} has shape {graph.shapes[tensor]}, the text says {shape}")
    return graph


def _range(reader: Reader) -> tuple[int, int]:
    ends = reader.items(lambda: int(reader.take("number")))
    if len(ends) != 2:
        raise reader.error("a range has two ends")
    return ends[0], ends[1]


def _coding(reader: Reader) -> Coding:
    reader.take(text=Coding.__name__)
    reader.take(text="{")
    coding = made(reader, Coding, reader.fields(), "a port")
    reader.take(text="}")
    assert isinstance(coding, Coding)
    return coding


def _node(reader: Reader) -> tuple[Node, Shape]:
    output, kind, inputs = reader.statement()
    op = _operator(reader, kind, reader.fields())
    reader.take("arrow")
    shape = reader.shape()
    return Node(reader.name() if reader.takes("of") else output, op, inputs, output), shape


def _operator(reader: Reader, name: str, values: Mapping[str, Any]) -> Op:
    kind = float_operators().get(name)
    if kind is None:
        raise reader.error(f"there is no operator {name}")
    op = made(reader, kind, values, name)
    assert isinstance(op, Op)
    return op
