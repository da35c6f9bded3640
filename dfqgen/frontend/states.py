"""Which inputs and outputs are the state of a network that runs step by step.

Users say it, or names do: exporters call both ends of a state alike but for words such as "in" and "out".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Node, Port, State
from dfqgen.graph.rewrite import fresh_name
from dfqgen.ops.movement import Reshape

BEFORE = frozenset(["in", "input", "prev", "previous", "past", "old", "init", "initial"])
AFTER = frozenset(["out", "output", "next", "new", "present", "updated", "final"])
"""Words that tell the ends of a state apart."""
SHORT = {"h0": "h", "hn": "h", "hx": "h", "c0": "c", "cn": "c", "cx": "c", "state_n": "state"}
"""What torch and its documentation call states."""
KEPT = re.compile("state|hidden|cache|memory|past|prev|^[hc]([0nx_]|$)")
"""What the input's name has in it."""

_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")


def tie_states(graph: Graph, stated: Mapping[str, str] | None) -> Graph:
    """The graph with its states: those `stated` (output by input), None: those that names show.

    Raises UserError for names that are no ports, and ports that do not fit.
    """
    if stated is None:
        return _tied_by_name(graph)
    inputs = {port.name: port for port in graph.inputs}
    outputs = {port.name: port for port in graph.outputs}
    for before, after in stated.items():
        _check_port(before, "input", inputs)
        _check_port(after, "output", outputs)
        if not _alike(inputs[before], outputs[after]):
            raise UserError(
                f"--state {before}={after}: the input is {_text(inputs[before])}, "
                f"the output {_text(outputs[after])}",
                "A state comes in as it was given in the step before.",
            )
        if inputs[before].holds is not None:
            raise UserError(f"--state {before}={after}: the input is of integers, which no output gives")
    if len(set(stated.values())) != len(stated):
        raise UserError("--state: one output is the state of two inputs", "Name each output once.")
    tied = _tied(graph, [State(name, stated[name]) for name in inputs if name in stated])
    if not tied.fed or not tied.given:
        raise UserError(f"--state: every {'output' if tied.fed else 'input'} is a state", "Leave one out.")
    return tied


def _check_port(name: str, use: str, ports: Mapping[str, Port]) -> None:
    if name not in ports:
        raise UserError(
            f"--state: the model has no {use} {name!r} that it computes with",
            f"Its {use}s: {', '.join(ports)}",
        )


def _alike(before: Port, after: Port) -> bool:
    """Whether one has the other's elements in the other's order, axes of one element aside."""
    sizes = [[size for size in port.shape if size != 1] for port in (before, after)]
    return sizes[0] == sizes[1]


def _tied(graph: Graph, states: Sequence[State]) -> Graph:
    """The graph with these states; an output gets the axes of the input."""
    outputs = {port.name: port for port in graph.outputs}
    names = set(graph.consumers)
    nodes = list(graph.nodes)
    for before, after in replace(graph, states=tuple(states)).kept:
        if before.shape == after.shape:
            continue
        tensor = fresh_name(after.tensor, names)
        nodes.append(Node(after.name, Reshape(before.shape), (after.tensor,), tensor))
        outputs[after.name] = replace(after, tensor=tensor, shape=before.shape)
    return replace(graph, states=tuple(states), nodes=tuple(nodes), outputs=tuple(outputs.values()))


def _text(port: Port) -> str:
    return "x".join(map(str, port.shape))


def _tied_by_name(graph: Graph) -> Graph:
    """With a remark on each state, and on what might be one."""
    outputs: dict[str, list[Port]] = {}
    for port in graph.outputs:
        outputs.setdefault(_stem(port.name, AFTER), []).append(port)
    states: list[State] = []
    remarks: list[str] = []
    for port in graph.inputs:
        stem = _stem(port.name, BEFORE)
        ends = [after for after in outputs.get(stem, []) if _alike(port, after)]
        if len(ends) != 1 or port.holds is not None or not KEPT.search(port.name.lower()):
            continue
        (after,) = ends
        if port.name == after.name or after.name in {state.output for state in states}:
            continue
        states.append(State(port.name, after.name))
        remarks.append(
            f"the input {port.name!r} is taken as the state that the output {after.name!r} gives in the step "
            "before, and lives in the network; --state none keeps both as they are"
        )
    tied = replace(_tied(graph, states), remarks=(*graph.remarks, *remarks))
    return tied if tied.fed and tied.given else graph


def _stem(name: str, ends: frozenset[str]) -> str:
    """The words of a port's name but for those that tell the ends of a state apart."""
    words = [word.lower() for word in _WORDS.split(name) if word]
    stem = "_".join(word for word in words if word not in ends)
    return SHORT.get(stem, stem)
