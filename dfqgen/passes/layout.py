"""Transposes and reshapes sink towards the outputs until they cancel: most of the way to channels last.

The importers put a Transpose before and after every operator that wants channels last. Here they sink
towards the outputs, through whatever does not care, and meet others there. Each operator knows what it
becomes behind a transpose or a reshape (`Op.transposed`, `Op.reshaped`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Op, Shape
from dfqgen.graph.rewrite import ANY, Result, Row, Scope, pattern, rewrite
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.movement import Reshape, Transpose
from dfqgen.ops.take import Take
from dfqgen.passes.merge import MERGE, transpose_to_reshape

Permutation = tuple[int, ...]

CROP = 0.7
"""A selection of at least this part may come after an operator that could have worked on less."""


def sink_transpose(node: Node, scope: Scope) -> Result:
    """op(transpose(x)) becomes transpose(op'(x)), when all inputs are transposed alike."""
    sources = [scope.producer(name, Transpose) for name in node.inputs]
    permutations = {s.op.permutation for s in sources if s is not None and isinstance(s.op, Transpose)}
    if None in sources or len(permutations) != 1:
        return None
    permutation = permutations.pop()
    op = node.op.transposed(permutation)
    if op is None:
        return None
    inner = scope.fresh(node.output)
    inputs = tuple(s.inputs[0] for s in sources if s is not None)
    back = Node(node.name, Transpose(permutation), (inner,), node.output)
    return [replace(node, op=op, inputs=inputs, output=inner), back]


@pattern(Take, ANY)
def sink_crop(row: Row, take: Take, op: Op) -> Result:
    """op(take(x)) becomes take(op(x)) for what folds into a layer, where the selection loses little.

    After a transposed convolution, whose result is cropped: so its normalization reaches the convolution.
    """
    before, after = row.shape, row.scope.shapes[row.first.output]
    if not op.folds_into_layer or take.indices[-1] is not None or math.prod(after) < CROP * math.prod(before):
        return None
    inner = row.scope.fresh(row.last.output)
    return [
        replace(row.last, inputs=row.first.inputs, output=inner),
        Node(row.first.name, take, (inner,), row.last.output),
    ]


def sink_transpose_past_vector(node: Node, scope: Scope) -> Result:
    """op(transpose(x), b) becomes transpose(op(x, b')) when b' is only a reshape of b: scales of channels.

    Squeeze-and-excitation makes b from fully connected layers, without a transpose of its own.
    """
    if not node.op.pointwise or len(node.inputs) != 2:
        return None
    for index, name in enumerate(node.inputs):
        source = scope.producer(name, Transpose)
        other = node.inputs[1 - index]
        if source is None or not isinstance(source.op, Transpose) or scope.producer(other, Transpose):
            continue
        permutation = source.op.permutation
        shape = scope.shapes[other]
        inverse = np.argsort(permutation)
        moved = [axis for axis in inverse if shape[axis] > 1]
        if moved != sorted(moved):
            continue
        vector, inner = scope.fresh(other), scope.fresh(node.output)
        inputs = (source.inputs[0], vector) if index == 0 else (vector, source.inputs[0])
        return [
            Node(node.name, Reshape(tuple(shape[axis] for axis in inverse)), (other,), vector),
            replace(node, inputs=inputs, output=inner),
            Node(node.name, Transpose(permutation), (inner,), node.output),
        ]
    return None


def sink_reshape(node: Node, scope: Scope) -> Result:
    """op(reshape(x)) becomes reshape(op'(x)), when all inputs are reshaped from one shape."""
    sources = [scope.producer(name, Reshape) for name in node.inputs]
    befores = {scope.shapes[s.inputs[0]] for s in sources if s is not None}
    afters = {scope.shapes[name] for name in node.inputs}
    if None in sources or len(befores) != 1 or len(afters) != 1:
        return None
    before, after = befores.pop(), scope.shapes[node.inputs[0]]
    op = node.op.reshaped(before, after)
    if op is None:
        return None
    inner = scope.fresh(node.output)
    inputs = tuple(s.inputs[0] for s in sources if s is not None)
    back = Node(node.name, Reshape(after), (inner,), node.output)
    return [replace(node, op=op, inputs=inputs, output=inner), back]


@pattern(Transpose, Reshape)
def sink_transpose_through_reshape(row: Row, transpose: Transpose, reshape: Reshape) -> Result:
    """reshape(transpose(x)) becomes transpose'(reshape'(x)) when the reshape splits or joins whole axes.

    Such as [1,H,W,C] -> [1,C,H,W] -> [1,C,H*W]: the same as -> [1,H*W,C] -> [1,C,H*W].
    """
    permutation = transpose.permutation
    groups = matching_axes(row.scope.shapes[row.first.output], reshape.shape)
    if groups is None:
        return None
    # Each group of transposed axes must be consecutive axes of x, in order.
    starts = []
    for before, _ in groups:
        origin = [permutation[axis] for axis in before]
        if origin != list(range(origin[0], origin[0] + len(origin))):
            return None
        starts.append(origin[0])
    order = sorted(range(len(groups)), key=lambda g: starts[g])
    shape = tuple(reshape.shape[axis] for g in order for axis in groups[g][1])
    place: dict[int, int] = {}
    for g in order:
        for axis in groups[g][1]:
            place[axis] = len(place)
    after = tuple(place[axis] for axis in range(len(reshape.shape)))
    if after[0] != 0:
        return None
    inner = row.scope.fresh(row.last.output)
    return [
        replace(row.last, op=Reshape(shape), inputs=row.first.inputs, output=inner),
        Node(row.last.name, Transpose(after), (inner,), row.last.output),
    ]


def matching_axes(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Split both shapes into the most groups of axes with equal products, in order.

    [1,6,4] and [1,2,3,4] -> [([0],[0]), ([1],[1,2]), ([2],[3])]. None when axes of size 1 leave a group
    empty on one side.
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        left, right = [i], [j]
        product_left, product_right = before[i], after[j]
        i, j = i + 1, j + 1
        while product_left != product_right:
            if product_left < product_right:
                if i == len(before):
                    return None
                product_left *= before[i]
                left.append(i)
                i += 1
            else:
                if j == len(after):
                    return None
                product_right *= after[j]
                right.append(j)
                j += 1
        groups.append((left, right))
    if not groups:
        return None
    # Axes of size 1 left over belong to the last group.
    groups[-1][0].extend(range(i, len(before)))
    groups[-1][1].extend(range(j, len(after)))
    return groups


@pattern(Transpose, Reshape, Conv2D)
def permute_fully_connected(row: Row, transpose: Transpose, flatten: Reshape, op: Conv2D) -> Result:
    """A flattened transpose in front of a fully connected layer is an order of its weight's columns."""
    node, scope = row.last, row.scope
    shape = scope.shapes[row.first.output]
    features = math.prod(shape)
    if op.weight.shape[1:] != (1, 1, features) or scope.shapes[node.inputs[0]] != (1, 1, 1, features):
        return None
    flat = scope.fresh(node.inputs[0])
    columns = _order_before(shape, transpose.permutation)
    return [
        Node(node.name, Reshape((1, 1, 1, features)), row.first.inputs, flat),
        replace(node, op=replace(op, weight=np.ascontiguousarray(op.weight[..., columns])), inputs=(flat,)),
    ]


@pattern(Transpose, Reshape, ANY)
def permute_flat_parameters(row: Row, transpose: Transpose, flatten: Reshape, op: Op) -> Result:
    """A flattened transpose in front of an operator with a parameter an element is an order of those.

    Such as BatchNorm between Flatten and a fully connected layer: the transpose moves behind it.
    """
    node, scope = row.last, row.scope
    shape, flat_shape = scope.shapes[row.first.output], scope.shapes[node.inputs[0]]
    if not op.folds_into_layer or flat_shape[-1] != math.prod(shape):
        return None
    columns = _order_before(shape, transpose.permutation)
    flat, inner, image, turned = (scope.fresh(node.output) for _ in range(4))
    return [
        Node(node.name, Reshape(flat_shape), row.first.inputs, flat),
        replace(node, op=op.selected(columns), inputs=(flat,), output=inner),
        Node(node.name, Reshape(row.shape), (inner,), image),
        Node(node.name, transpose, (image,), turned),
        Node(node.name, Reshape(flat_shape), (turned,), node.output),
    ]


def _order_before(shape: Shape, permutation: Permutation) -> Array:
    """For each element before the transpose, flattened, its place in the flattened result of this shape."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(np.argsort(permutation)).ravel()


SINKING = (
    *MERGE,
    permute_fully_connected,
    permute_flat_parameters,
    sink_transpose,
    sink_transpose_past_vector,
    sink_crop,
    sink_reshape,
    sink_transpose_through_reshape,
)


def sink(graph: Graph) -> Graph:
    """Move transposes and reshapes towards the outputs and cancel them; ports stay as they are.

    Transposes that move no data become reshapes only after the others had the chance to meet them.
    """
    return rewrite(rewrite(graph, *SINKING), *SINKING, transpose_to_reshape)
