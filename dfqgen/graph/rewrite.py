"""The engine that applies rewrite rules to the float graph, and how rules are written.

A rule looks at one node and what gives its inputs, and returns None, nodes to put in its place (the last
gives the node's output), or the name of a tensor that already holds the result. `rewrite` applies rules in
topological order until none fires. Most rules look for operators in a row: `pattern` says which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TypeVar, overload

from dfqgen.graph.ir import Graph, Node, Op, Shape

Result = Sequence[Node] | str | None
Rule = Callable[[Node, "Scope"], Result]

A = TypeVar("A", bound=Op)
B = TypeVar("B", bound=Op)
C = TypeVar("C", bound=Op)

ANY: type[Op] = Op  # type: ignore[type-abstract]
"""Any operator, in a pattern."""

# Every rule makes progress, so a graph settles soon; these only turn a bug into an error.
MAX_SWEEPS = 200
MAX_STEPS_PER_NODE = 1000


class Scope:
    """What a rule may know: the nodes before this one, all shapes so far, fresh names."""

    def __init__(self, graph: Graph) -> None:
        self.shapes: dict[str, Shape] = {port.tensor: port.shape for port in graph.inputs}
        self.producers: dict[str, Node] = {}
        self._readers = {name: len(nodes) for name, nodes in graph.consumers.items()}
        self._outputs = graph.output_tensors
        self._names = set(graph.consumers) | {port.name for port in graph.outputs}

    def producer(self, tensor: str, kind: type[Op]) -> Node | None:
        """The node that gives `tensor` when its operator is of this kind."""
        node = self.producers.get(tensor)
        return node if node is not None and isinstance(node.op, kind) else None

    def read_once(self, tensor: str) -> bool:
        """One node reads the tensor, and it is no output (as the graph was before this sweep)."""
        return self._readers.get(tensor, 0) == 1 and tensor not in self._outputs

    def fresh(self, tensor: str) -> str:
        """A new tensor name made from an old one."""
        return fresh_name(tensor, self._names)

    def add(self, node: Node) -> None:
        self.shapes[node.output] = node.op.infer_shape(*(self.shapes[name] for name in node.inputs))
        self.producers[node.output] = node


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Nodes in a row, each the first input of the next, as a pattern found them."""

    nodes: tuple[Node, ...]
    scope: Scope

    @property
    def first(self) -> Node:
        return self.nodes[0]

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    @property
    def shape(self) -> Shape:
        """Of the first input of the row."""
        return self.scope.shapes[self.first.inputs[0]]

    def becomes(self, op: Op) -> list[Node]:
        """One node of this operator in place of the whole row."""
        return [replace(self.last, op=op, inputs=self.first.inputs)]


def matched(node: Node, scope: Scope, kinds: Sequence[type[Op]], *, read_once: bool = False) -> Row | None:
    """The row of these kinds of operators that ends with `node`; None when it is another.

    With `read_once` nothing else may see the tensors inside the row.
    """
    row: list[Node] = []
    current: Node | None = node
    for kind in reversed(kinds):
        if current is None or not isinstance(current.op, kind):
            return None
        if row and read_once and not scope.read_once(current.output):
            return None
        row.insert(0, current)
        current = scope.producers.get(current.inputs[0])
    return Row(tuple(row), scope)


@overload
def pattern(a: type[A], /, *, read_once: bool = ...) -> Callable[[Callable[[Row, A], Result]], Rule]: ...
@overload
def pattern(
    a: type[A], b: type[B], /, *, read_once: bool = ...
) -> Callable[[Callable[[Row, A, B], Result]], Rule]: ...
@overload
def pattern(
    a: type[A], b: type[B], c: type[C], /, *, read_once: bool = ...
) -> Callable[[Callable[[Row, A, B, C], Result]], Rule]: ...


def pattern(*kinds: type[Op], read_once: bool = False) -> Callable[[Callable[..., Result]], Rule]:
    """A rule from a function of a row and its operators, in the order data flows through them.

    The function is called where these kinds of operators follow each other (see `matched`).
    """

    def decorate(function: Callable[..., Result]) -> Rule:
        @wraps(function)
        def rule(node: Node, scope: Scope) -> Result:
            row = matched(node, scope, kinds, read_once=read_once)
            return None if row is None else function(row, *(member.op for member in row.nodes))

        return rule

    return decorate


def fresh_name(name: str, taken: set[str]) -> str:
    """`name`, or its base with `#2`, `#3` ... when taken; the result is taken from now on."""
    base = base_name(name)
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{base}#{count}"
    taken.add(result)
    return result


def base_name(name: str) -> str:
    """The name without the number `fresh_name` gave it."""
    return re.sub(r"#\d+\Z", "", name)


def rewrite(graph: Graph, *rules: Rule) -> Graph:
    """Apply the rules wherever they fit until none does, then drop what nothing reads."""
    for _ in range(MAX_SWEEPS):
        graph, changed = _sweep(graph, rules)
        graph = graph.without_dead_nodes()
        if not changed:
            return graph
    raise _endless(rules)


def _endless(rules: tuple[Rule, ...]) -> AssertionError:
    return AssertionError(f"the rewrites {[rule.__name__ for rule in rules]} do not come to an end")


def _sweep(graph: Graph, rules: tuple[Rule, ...]) -> tuple[Graph, bool]:
    scope = Scope(graph)
    rename: dict[str, str] = {}
    done: list[Node] = []
    changed = False
    pending = list(reversed(graph.nodes))
    steps = MAX_STEPS_PER_NODE * len(pending)
    while pending:
        steps -= 1
        if steps < 0:
            raise _endless(rules)
        node = pending.pop()
        node = replace(node, inputs=tuple(rename.get(name, name) for name in node.inputs))
        result = _first_result(node, scope, rules)
        if result is None:
            scope.add(node)
            done.append(node)
            continue
        changed = True
        if isinstance(result, str):
            rename[node.output] = rename.get(result, result)
        else:
            pending.extend(reversed(result))
    return graph.with_nodes(done).rename_tensors(rename), changed


def _first_result(node: Node, scope: Scope, rules: tuple[Rule, ...]) -> Result:
    for rule in rules:
        result = rule(node, scope)
        if result is not None:
            return result
    return None
