"""Small rewrites of the float graph, and the engine that applies them.

A rule looks at one node and what gives its inputs, and returns None, nodes to put in its place (the last
gives the node's output), or the name of a tensor that already holds the result. `rewrite` applies rules in
topological order until none fires. Every rewrite here returns a new graph with the same function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Op, Shape
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.windows import NO_PADS

Result = Sequence[Node] | str | None
Rule = Callable[[Node, "Scope"], Result]

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


# --- moving nothing ---


def drop_identities(node: Node, scope: Scope) -> Result:
    """A reshape to the same shape, a transpose of nothing, a clip to infinity, an empty border."""
    return node.inputs[0] if node.op.is_identity(scope.shapes[node.inputs[0]]) else None


def merge_reshapes(node: Node, scope: Scope) -> Result:
    """Reshape after Reshape is the second alone."""
    first = scope.producer(node.inputs[0], Reshape)
    if not isinstance(node.op, Reshape) or first is None:
        return None
    return [replace(node, inputs=first.inputs)]


def merge_transposes(node: Node, scope: Scope) -> Result:
    """Transpose after Transpose is one."""
    first = scope.producer(node.inputs[0], Transpose)
    if not isinstance(node.op, Transpose) or first is None or not isinstance(first.op, Transpose):
        return None
    before = first.op.permutation
    return [
        replace(node, op=Transpose(tuple(before[axis] for axis in node.op.permutation)), inputs=first.inputs)
    ]


def transpose_to_reshape(node: Node, scope: Scope) -> Result:
    """A transpose that only moves axes of size 1 moves no data."""
    if not isinstance(node.op, Transpose):
        return None
    shape = scope.shapes[node.inputs[0]]
    moved = [axis for axis in node.op.permutation if shape[axis] > 1]
    if moved != sorted(moved):
        return None
    return [replace(node, op=Reshape(node.op.infer_shape(shape)))]


# --- element-wise chains ---


def merge_clips(node: Node, scope: Scope) -> Result:
    """Clip after Clip is one."""
    first = scope.producer(node.inputs[0], Clip)
    if not isinstance(node.op, Clip) or first is None or not isinstance(first.op, Clip):
        return None
    lo, hi = node.op.lo, node.op.hi
    merged = Clip(
        np.minimum(np.maximum(first.op.lo, lo), hi),
        np.minimum(np.maximum(first.op.hi, lo), hi),
    )
    return [replace(node, op=merged, inputs=first.inputs)]


def merge_affines(node: Node, scope: Scope) -> Result:
    """Affine after Affine is one."""
    first = scope.producer(node.inputs[0], Affine)
    if not isinstance(node.op, Affine) or first is None or not isinstance(first.op, Affine):
        return None
    scale, shift = node.op.scale, node.op.shift
    merged = Affine(first.op.scale * scale, first.op.shift * scale + shift)
    return [replace(node, op=merged, inputs=first.inputs)]


def fold_affine_into_previous(node: Node, scope: Scope) -> Result:
    """scale * conv(x) + shift is a convolution with other weights, such as a bias added after it.

    The same after BatchNorm: its gamma and beta then describe the new output's statistics.
    """
    if not isinstance(node.op, Affine) or not scope.read_once(node.inputs[0]):
        return None
    first = scope.producers.get(node.inputs[0])
    scale, shift = node.op.scale, node.op.shift
    if first is None:
        return None
    op = first.op
    if isinstance(op, Conv2D):
        scale = np.broadcast_to(scale, op.bias.shape)
        weight = op.weight * scale[:, None, None, None]
        folded: Op = replace(op, weight=_float32(weight), bias=_float32(op.bias * scale + shift))
    elif isinstance(op, BatchNorm):
        folded = replace(op, gamma=_float32(op.gamma * scale), beta=_float32(op.beta * scale + shift))
    else:
        return None
    return [replace(first, op=folded, output=node.output)]


def fold_affine_into_next(node: Node, scope: Scope) -> Result:
    """conv(scale * x + shift) is a convolution with other weights, unless the shift meets padding."""
    op, first = node.op, scope.producer(node.inputs[0], Affine)
    if not isinstance(op, Conv2D) or first is None or not isinstance(first.op, Affine):
        return None
    if op.pads != NO_PADS and np.any(first.op.shift != 0.0):
        return None
    scale = np.broadcast_to(first.op.scale, (op.in_channels,))
    shift = np.broadcast_to(first.op.shift, (op.in_channels,)).astype(np.float64)
    group_in = op.weight.shape[3]
    per_output = np.repeat(scale.reshape(op.groups, group_in), op.out_channels // op.groups, axis=0)
    folded = replace(
        op,
        weight=_float32(op.weight * per_output[:, None, None, :]),
        bias=_float32(op.bias + op.window_sum(shift)),
    )
    return [replace(node, op=folded, inputs=first.inputs)]


def _float32(value: Array) -> Array:
    return np.ascontiguousarray(value, np.float32)


# --- padding ---


def fuse_pad(node: Node, scope: Scope) -> Result:
    """A border around height and width that the next window operator can make itself."""
    pad = scope.producer(node.inputs[0], Pad)
    if pad is None or not isinstance(pad.op, Pad):
        return None
    fused = node.op.padded(pad.op.border, _lower_bound(scope.producers.get(pad.inputs[0])))
    return None if fused is None else [replace(node, op=fused, inputs=pad.inputs)]


def pad_after_move(node: Node, scope: Scope) -> Result:
    """A transpose or reshape of a padded tensor: move the smaller tensor first, then pad.

    That puts the border next to the operator that can take it in (`fuse_pad`).
    """
    pad = scope.producer(node.inputs[0], Pad)
    if pad is None or not isinstance(pad.op, Pad) or not isinstance(node.op, Transpose | Reshape):
        return None
    inside, padded = scope.shapes[pad.inputs[0]], scope.shapes[pad.output]
    after = node.op.infer_shape(padded)
    if isinstance(node.op, Transpose):
        origin: dict[int, int] = dict(enumerate(node.op.permutation))
        first: Op = node.op
    else:
        wide_before = [axis for axis, n in enumerate(padded) if n > 1]
        wide_after = [axis for axis, n in enumerate(after) if n > 1]
        if [padded[axis] for axis in wide_before] != [after[axis] for axis in wide_after]:
            return None
        origin = dict(zip(wide_after, wide_before, strict=True))
        first = Reshape(tuple(inside[origin[axis]] if axis in origin else 1 for axis in range(len(after))))
    border = Pad(
        tuple(pad.op.before[origin[axis]] if axis in origin else 0 for axis in range(len(after))),
        tuple(pad.op.after[origin[axis]] if axis in origin else 0 for axis in range(len(after))),
        pad.op.value,
    )
    inner = scope.fresh(node.output)
    return [Node(node.name, first, pad.inputs, inner), Node(pad.name, border, (inner,), node.output)]


def _lower_bound(node: Node | None) -> float:
    """What no element of the node's output lies under."""
    return float(np.min(node.op.lo)) if node is not None and isinstance(node.op, Clip) else -np.inf


# --- whole-graph clean-up ---


def common_subexpressions(graph: Graph) -> Graph:
    """The graph where equal operators on equal inputs are computed once."""
    seen: dict[tuple[Any, ...], str] = {}
    rename: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(rename.get(name, name) for name in node.inputs)
        key = (*_op_key(node.op), *inputs)
        if key in seen:
            rename[node.output] = seen[key]
        else:
            seen[key] = node.output
            kept.append(replace(node, inputs=inputs))
    return graph.with_nodes(kept).rename_tensors(rename)


def _op_key(op: Op) -> tuple[Any, ...]:
    def freeze(value: Any) -> Any:
        return (value.shape, value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value

    return (type(op), *(freeze(getattr(op, field.name)) for field in fields(op)))  # type: ignore[arg-type]


def tidy_names(graph: Graph) -> Graph:
    """The graph with the model's own tensor names where they are free, and unique node names.

    A tensor that an output port shows has the first claim on a name, then a computed tensor, then one
    that was only moved.
    """
    outputs = {port.tensor: port.name for port in graph.outputs}
    taken: set[str] = set()
    names = {port.tensor: fresh_name(port.name, taken) for port in graph.inputs}

    def rank(node: Node) -> int:
        if outputs.get(node.output) == base_name(node.output):
            return 0
        return 2 if isinstance(node.op, Reshape | Transpose | Pad) else 1

    for node in sorted(graph.nodes, key=rank):
        names[node.output] = fresh_name(base_name(node.output), taken)
    node_names: set[str] = set()
    return replace(
        graph,
        nodes=tuple(
            Node(
                fresh_name(node.name, node_names),
                node.op,
                tuple(names[name] for name in node.inputs),
                names[node.output],
            )
            for node in graph.nodes
        ),
        inputs=tuple(replace(port, tensor=names[port.tensor]) for port in graph.inputs),
        outputs=tuple(replace(port, tensor=names[port.tensor]) for port in graph.outputs),
    )


MERGE: tuple[Rule, ...] = (drop_identities, merge_reshapes, merge_transposes, merge_clips, merge_affines)


def simplify(graph: Graph) -> Graph:
    """All rewrites of this module that need no layout knowledge, until nothing changes."""
    while True:
        before = [(node.op, node.inputs) for node in graph.nodes]
        graph = rewrite(graph, *MERGE, transpose_to_reshape)
        graph = rewrite(graph, pad_after_move)
        graph = rewrite(graph, fuse_pad)
        graph = rewrite(graph, fold_affine_into_previous)
        graph = rewrite(graph, fold_affine_into_next)
        graph = common_subexpressions(graph)
        if [(node.op, node.inputs) for node in graph.nodes] == before:
            return graph
