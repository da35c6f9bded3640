"""Exporters' idioms, turned back into what they stand for. Each rule keeps the function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.graph.rewrite import Result, Row, Scope, pattern, rewrite
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.movement import Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.take import Take
from dfqgen.passes.attention import groups_of_channels

LARGEST_SHUFFLE = 1 << 22


@pattern(Conv2D)
def recover_dilation(row: Row, op: Conv2D) -> Result:
    """A kernel stuffed with zeros is a smaller one with dilation (exporters of SpaceToBatch make them)."""
    steps = tuple(_zero_step(op.weight, axis) for axis in (1, 2))
    if steps == (1, 1):
        return None
    dilation = (op.dilation[0] * steps[0], op.dilation[1] * steps[1])
    weight = np.ascontiguousarray(op.weight[:, :: steps[0], :: steps[1]])
    return row.becomes(replace(op, weight=weight, dilation=dilation))


def _zero_step(weight: Array, axis: int) -> int:
    """The largest step such that all weights off it, along one axis, are zero; both ends stay."""
    size = weight.shape[axis]
    used = np.any(weight != 0, axis=tuple(a for a in range(weight.ndim) if a != axis))
    for step in range(size - 1, 1, -1):
        on_step = np.arange(size) % step == 0
        if (size - 1) % step == 0 and not np.any(used & ~on_step):
            return step
    return 1


@pattern(Reshape, Transpose, Reshape)
def shuffle_to_take(row: Row, split: Reshape, transpose: Transpose, join: Reshape) -> Result:
    """Reshape, Transpose, Reshape back to the first shape that only reorders one axis: a channel shuffle."""
    shape = row.shape
    elements = int(np.prod(shape))
    if join.shape != shape or elements > LARGEST_SHUFFLE:
        return None
    places = np.arange(elements).reshape(shape)
    moved = join.evaluate(transpose.evaluate(split.evaluate(places)))
    for axis in range(1, len(shape)):
        pitch = int(np.prod(shape[axis + 1 :]))
        first = moved[tuple(slice(None) if a == axis else slice(0, 1) for a in range(len(shape)))].ravel()
        positions = first // pitch
        if np.all(positions < shape[axis]) and np.array_equal(moved, np.take(places, positions, axis=axis)):
            return row.becomes(Take.along(axis, positions.tolist(), len(shape)))
    return None


def roots_to_magnitudes(node: Node, scope: Scope) -> Result:
    """sqrt(a^2 + b^2), as spectrograms spell it, squares being powers or products."""
    if not (isinstance(node.op, Elementwise) and node.op.function == "sqrt"):
        return None
    total = scope.producer(node.inputs[0], Add)
    if total is None or not scope.read_once(total.output):
        return None
    a, b = (_squared(name, scope) for name in total.inputs)
    return None if a is None or b is None else [replace(node, op=Magnitude(), inputs=(a, b))]


def _squared(tensor: str, scope: Scope) -> str | None:
    """What this is the square of, where nothing else reads it."""
    node = scope.producers.get(tensor)
    if node is None or not scope.read_once(tensor):
        return None
    power = isinstance(node.op, Elementwise) and (node.op.function, node.op.parameter) == ("pow", 2.0)
    product = isinstance(node.op, Mul) and node.inputs[0] == node.inputs[1]
    return node.inputs[0] if power or product else None


def recognise(graph: Graph) -> Graph:
    """The graph with all idioms of this module recognised; layouts are still the model's."""
    return rewrite(graph, shuffle_to_take, recover_dilation, groups_of_channels, roots_to_magnitudes)
