"""A Graph as text, one line a node: `%y = conv2d(%x) 3x3 s1 p1 [1,32,32,16]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Op, Port, Shape
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.pointwise import Pointwise, Step
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.take import Take


def format_graph(graph: Graph) -> str:
    """The graph, its ports first and last. Names are escaped, so each line is one fact."""
    lines = [f"graph {printable(graph.name)}"]
    lines += [f"  input {_port(port)}" for port in graph.inputs]
    lines += [f"  {format_node(node, graph.shapes[node.output])}" for node in graph.nodes]
    lines += [f"  output {_port(port)}" for port in graph.outputs]
    return "\n".join(lines) + "\n"


def format_node(node: Node, shape: Shape) -> str:
    """One line: output, operator, inputs, attributes, output shape."""
    inputs = ", ".join("%" + printable(name) for name in node.inputs)
    attributes = _attributes(node.op)
    words = [f"%{printable(node.output)} = {_kind(node.op)}({inputs})", *attributes, _shape(shape)]
    return " ".join(word for word in words if word)


def printable(name: str) -> str:
    """The name without characters that could break a line or a terminal."""
    return "".join(c if c.isprintable() and c != " " else c.encode("unicode_escape").decode() for c in name)


def _kind(op: Op) -> str:
    """Conv2D -> conv2d, AveragePool -> average_pool."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(op).__name__).lower()


def _port(port: Port) -> str:
    text = f"%{printable(port.tensor)} {_shape(port.shape)}"
    if port.name != port.tensor:
        text += f" is {printable(port.name)}"
    return text if port.permutation is None else f"{text} axes {_list(port.permutation)} of the model's"


def _list(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _shape(shape: Shape) -> str:
    return f"[{_list(shape)}]"


def _window(op: Any) -> list[str]:
    """3x3 s2 d2 p1, or p0,1,0,1 as top, left, bottom, right; what is the default is left out."""

    def short(values: tuple[int, ...]) -> str:
        return str(values[0]) if len(set(values)) == 1 else _list(values)

    words = ["{}x{}".format(*op.kernel), f"s{short(op.stride)}"]
    dilation = getattr(op, "dilation", (1, 1))
    if dilation != (1, 1):
        words.append(f"d{short(dilation)}")
    return [*words, f"p{short(op.pads)}"]


def _conv(op: Conv2D) -> list[str]:
    groups = ["depthwise"] if op.depthwise else [f"groups={op.groups}"] if op.groups > 1 else []
    return [*_window(op), *groups]


def _numbers(value: Array) -> str:
    return f"{float(value[0]):.6g}" if value.size == 1 else f"[{value.size}]"


def _pad(op: Pad) -> list[str]:
    border = ";".join(f"{b},{a}" for b, a in zip(op.before, op.after, strict=True))
    return [border, f"value={op.value:.6g}"]


_ATTRIBUTES: Mapping[type[Op], Callable[[Any], list[str]]] = {
    Add: lambda op: [] if op.sign > 0 else ["sign=-1"],
    Affine: lambda op: [f"*{_numbers(op.scale)}", f"+{_numbers(op.shift)}"],
    AveragePool: lambda op: [*_window(op), "counts_pads" if op.count_include_pad else ""],
    BatchNorm: lambda op: [f"epsilon={op.epsilon:.3g}"],
    Clip: lambda op: [f"{_numbers(op.lo)}..{_numbers(op.hi)}"],
    Conv2D: _conv,
    Elementwise: lambda op: [op.function, f"{op.parameter:.6g}" if op.parameter else ""],
    MaxPool: _window,
    Pad: _pad,
    Reshape: lambda op: [],
    Pointwise: lambda op: [";".join(_step(step) for step in op.steps)],
    Take: lambda op: [";".join("all" if i is None else _positions(i) for i in op.indices)],
    Transpose: lambda op: [_list(op.permutation)],
}


def _step(step: Step) -> str:
    """One line's worth of a fused function: its operator, and which results it reads (0 is the input)."""
    words = [_kind(step.op), *_attributes(step.op), f"({_list(step.inputs)})"]
    return ",".join(word for word in words if word)


def _positions(values: tuple[int, ...]) -> str:
    """start:stop:step where that says it, else how many."""
    steps = {b - a for a, b in pairwise(values)} or {1}
    if len(steps) > 1:
        return f"{len(values)} positions"
    step = steps.pop()
    return f"{values[0]}:{values[-1] + (1 if step >= 0 else -1)}:{step}"


def _attributes(op: Op) -> list[str]:
    describe = _ATTRIBUTES.get(type(op))
    if describe is not None:
        return describe(op)
    values = ((field.name, getattr(op, field.name)) for field in fields(op))  # type: ignore[arg-type]
    return [f"{name}={value}" for name, value in values if not isinstance(value, np.ndarray)]
