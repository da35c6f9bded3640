"""Loop around one step of a sequence, as Keras 3 through tf2onnx writes recurrent layers: written as Scan.

A Scan says what a Loop leaves open: how often it runs, and which tensor it reads step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dfqgen.frontend.fused import Expansion, NotPlain
from dfqgen.graph.ir import Array, Shape

MOST_STEPS = 1 << 14
"""A recurrent layer of more is a mistake, or an attack."""
NOT_PLAIN = "control flow is not supported but around one step of a sequence; export the model by tracing"


@dataclass(frozen=True, eq=False)
class _Loop:
    """A Loop and its body by names. `carried` are what the body gets from the step before, in order."""

    node: onnx.NodeProto
    body: onnx.GraphProto
    constants: Mapping[str, Array]

    @property
    def carried(self) -> list[str]:
        return [value.name for value in self.body.input[2:]]

    def source(self, name: str) -> str:
        """The tensor behind Identity."""
        makers = {made: node for node in self.body.node for made in node.output}
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        return name

    def after(self, i: int) -> str:
        """What the step makes of the i-th carried tensor."""
        return self.source(self.body.output[1 + i].name)

    def first(self, i: int) -> Array | None:
        """The i-th carried tensor before the first step, where it is a constant."""
        return self.constants.get(self.node.input[2 + i])

    def constant(self, name: str) -> Array | None:
        own = {tensor.name: tensor for tensor in self.body.initializer}
        return numpy_helper.to_array(own[name]) if name in own else self.constants.get(name)

    def counts(self, i: int) -> bool:
        """Whether it is the number of the step."""
        start = self.first(i)
        if start is None or start.size != 1 or start.dtype.kind not in "iu":
            return False
        for node in self.body.node:
            if self.after(i) in node.output and node.op_type == "Add" and self.carried[i] in node.input:
                (other,) = [name for name in node.input if name != self.carried[i]] or [self.carried[i]]
                step = self.constant(other)
                return (
                    int(start.reshape(())) == 0
                    and step is not None
                    and step.size == 1
                    and int(step.max()) == 1
                )
        return False


def loop_as_scan(
    node: onnx.NodeProto, constants: Mapping[str, Array], shapes: Mapping[str, Shape]
) -> Expansion | None:
    """The Scan that a Loop is, its results under the Loop's names. Raises NotPlain where it is none."""
    body = next((a.g for a in node.attribute if a.name == "body" and a.HasField("g")), None)
    if body is None or len(body.input) != len(node.input) or len(body.input) < 2:
        raise NotPlain("has no body that fits it; the file is damaged")
    loop = _Loop(node, body, constants)
    carried = loop.carried
    same = {i for i in range(len(carried)) if loop.after(i) == carried[i]}
    counters = {i for i in range(len(carried)) if i not in same and loop.counts(i)}
    states = [i for i in range(len(carried)) if i not in same | counters]
    steps = _steps(loop, counters)
    numbers = {body.input[0].name, *(carried[i] for i in counters)}
    rename = {carried[i]: node.input[2 + i] for i in same}
    scanned: dict[str, str] = {}
    inner = {name for each in body.node for name in each.output}
    kept = []
    for each in body.node:
        if each.op_type == "Gather" and loop.source(each.input[1]) in numbers and each.input[0] not in inner:
            axis = next((a.i for a in each.attribute if a.name == "axis"), 0)
            if axis != 0 or shapes.get(each.input[0], (0,))[0] != steps:
                raise NotPlain(NOT_PLAIN)
            scanned[each.output[0]] = each.input[0]
        else:
            kept.append(each)
    if len(scanned) != 1:
        raise NotPlain(NOT_PLAIN)
    wanted = [
        *(loop.after(i) for i in states),
        *(loop.source(v.name) for v in body.output[1 + len(carried) :]),
    ]
    nodes = _needed(kept, set(wanted))
    for each in nodes:
        each.input[:] = [rename.get(name, name) for name in each.input]
    graph = helper.make_graph(
        nodes,
        "step",
        [onnx.ValueInfoProto(name=name) for name in (*(carried[i] for i in states), *scanned)],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        list(body.initializer),
    )
    outputs = [*(node.output[i] for i in states), *node.output[len(carried) :]]
    inputs = [*(node.input[2 + i] for i in states), *scanned.values()]
    scan = helper.make_node("Scan", inputs, outputs, node.name, body=graph, num_scan_inputs=1)
    others = [
        helper.make_node("Identity", [node.input[2 + i]], [node.output[i]]) for i in same if node.output[i]
    ]
    return Expansion((scan, *others), {node.output[i]: np.asarray(steps) for i in counters if node.output[i]})


def _needed(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Copies of the nodes that these tensors depend on."""
    found = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(onnx.NodeProto.FromString(node.SerializeToString()))
            wanted.update(node.input)
    return found[::-1]


def _steps(loop: _Loop, counters: set[int]) -> int:
    """How often the loop runs: what its bound and its condition say."""
    bound, going = (loop.constants.get(name) if name else None for name in loop.node.input[:2])
    most = MOST_STEPS + 1 if bound is None else int(bound.reshape(()))
    if (loop.node.input[0] and bound is None) or (loop.node.input[1] and (going is None or not going.all())):
        raise NotPlain(NOT_PLAIN)
    numbers = {loop.body.input[0].name: np.dtype(np.int64)}
    numbers |= {loop.carried[i]: start.dtype for i in counters if (start := loop.first(i)) is not None}
    condition = loop.body.output[0].name
    nodes = _needed(list(loop.body.node), {condition})
    read = {name for node in nodes for name in node.input} | {condition}
    values = [onnx.ValueInfoProto(name=name) for name in (*numbers, loop.body.input[1].name)]
    known = [t for t in loop.body.initializer if t.name in read]
    known += [numpy_helper.from_array(loop.constants[n], n) for n in read if n in loop.constants]
    graph = helper.make_graph(nodes, "condition", values, [onnx.ValueInfoProto(name=condition)], known)
    try:
        run = ReferenceEvaluator(helper.make_model(graph))
        for step in range(1, min(most, MOST_STEPS + 1)):
            feeds = {name: np.asarray(step - 1, dtype) for name, dtype in numbers.items()}
            (more,) = run.run(None, {**feeds, loop.body.input[1].name: np.asarray(True)})
            if not np.all(more):
                return step
    except Exception:  # whatever the library raises: the condition depends on more than the step
        raise NotPlain(NOT_PLAIN) from None
    if not 0 < most <= MOST_STEPS:
        raise NotPlain(NOT_PLAIN)
    return most


def scan_shapes(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of what a Scan gives, of those that are states, or a state of every step."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    body, scanned = attributes.get("body"), attributes.get("num_scan_inputs", 0)
    if not isinstance(body, onnx.GraphProto) or not isinstance(scanned, int):
        return {}
    states = len(node.input) - scanned
    sequence = shapes.get(node.input[-1], ()) if node.input else ()
    if not 0 < states < len(node.input) or not sequence:
        return {}
    steps = sequence[0]
    loop = _Loop(node, body, {})
    after: dict[str, Shape] = {}
    found: dict[str, Shape] = {}
    for i, (name, value) in enumerate(zip(node.output, body.output, strict=False)):
        source = loop.source(value.name)
        if i < states and node.input[i] in shapes:
            after[source] = found[name] = shapes[node.input[i]]
        elif source in after:
            found[name] = (steps, *after[source])
    return found
