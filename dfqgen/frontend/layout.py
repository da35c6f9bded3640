"""From ONNX's channels-first axes to channels-last, by moving transposes until they cancel.

The importers put a Transpose before and after every operator that wants channels last. Here they sink
towards the outputs, through whatever does not care, and meet others there. Each operator knows what it
becomes behind a transpose or a reshape (`Op.transposed`, `Op.reshaped`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Port, Shape
from dfqgen.graph.rewrite import MERGE, Result, Scope, rewrite, transpose_to_reshape
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.take import Take

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


def sink_crop(node: Node, scope: Scope) -> Result:
    """op(take(x)) becomes take(op(x)) for what folds into a layer, where the selection loses little.

    After a transposed convolution, whose result is cropped: so its normalization reaches the convolution.
    """
    source = scope.producer(node.inputs[0], Take)
    if not node.op.folds_into_layer or source is None or not isinstance(source.op, Take):
        return None
    before, after = scope.shapes[source.inputs[0]], scope.shapes[source.output]
    if source.op.indices[-1] is not None or math.prod(after) < CROP * math.prod(before):
        return None
    inner = scope.fresh(node.output)
    return [
        replace(node, inputs=source.inputs, output=inner),
        Node(source.name, source.op, (inner,), node.output),
    ]


def sink_transpose_past_vector(node: Node, scope: Scope) -> Result:
    """op(transpose(x), b) becomes transpose(op(x, b')) when b' is only a reshape of b: scales of channels.

    Squeeze-and-excitation makes b from fully connected layers, without a transpose of its own.
    """
    if not isinstance(node.op, Add | Mul | Maximum) or len(node.inputs) != 2:
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


def sink_transpose_through_reshape(node: Node, scope: Scope) -> Result:
    """reshape(transpose(x)) becomes transpose'(reshape'(x)) when the reshape splits or joins whole axes.

    Such as [1,H,W,C] -> [1,C,H,W] -> [1,C,H*W]: the same as -> [1,H*W,C] -> [1,C,H*W].
    """
    source = scope.producer(node.inputs[0], Transpose)
    if not isinstance(node.op, Reshape) or source is None or not isinstance(source.op, Transpose):
        return None
    permutation = source.op.permutation
    groups = matching_axes(scope.shapes[source.output], node.op.shape)
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
    shape = tuple(node.op.shape[axis] for g in order for axis in groups[g][1])
    place: dict[int, int] = {}
    for g in order:
        for axis in groups[g][1]:
            place[axis] = len(place)
    after = tuple(place[axis] for axis in range(len(node.op.shape)))
    if after[0] != 0:
        return None
    inner = scope.fresh(node.output)
    return [
        replace(node, op=Reshape(shape), inputs=source.inputs, output=inner),
        Node(node.name, Transpose(after), (inner,), node.output),
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


def permute_fully_connected(node: Node, scope: Scope) -> Result:
    """A flattened transpose in front of a fully connected layer is an order of its weight's columns."""
    op = node.op
    reshape = scope.producer(node.inputs[0], Reshape)
    source = scope.producer(reshape.inputs[0], Transpose) if reshape is not None else None
    if not isinstance(op, Conv2D) or source is None or not isinstance(source.op, Transpose):
        return None
    shape = scope.shapes[source.output]
    features = math.prod(shape)
    if op.weight.shape[1:] != (1, 1, features) or scope.shapes[node.inputs[0]] != (1, 1, 1, features):
        return None
    flat = scope.fresh(node.inputs[0])
    columns = _order_before(shape, source.op.permutation)
    return [
        Node(node.name, Reshape((1, 1, 1, features)), source.inputs, flat),
        replace(node, op=replace(op, weight=np.ascontiguousarray(op.weight[..., columns])), inputs=(flat,)),
    ]


def permute_flat_parameters(node: Node, scope: Scope) -> Result:
    """A flattened transpose in front of an operator with a parameter an element is an order of those.

    Such as BatchNorm between Flatten and a fully connected layer: the transpose moves behind it.
    """
    op = node.op
    reshape = scope.producer(node.inputs[0], Reshape)
    source = scope.producer(reshape.inputs[0], Transpose) if reshape is not None else None
    if source is None or not isinstance(source.op, Transpose):
        return None
    if not op.folds_into_layer:
        return None
    shape, flat_shape = scope.shapes[source.output], scope.shapes[node.inputs[0]]
    features = math.prod(shape)
    if flat_shape[-1] != features:
        return None
    columns = _order_before(shape, source.op.permutation)
    flat, inner, image, turned = (scope.fresh(node.output) for _ in range(4))
    return [
        Node(node.name, Reshape(flat_shape), source.inputs, flat),
        replace(node, op=op.selected(columns), inputs=(flat,), output=inner),
        Node(node.name, Reshape(scope.shapes[source.inputs[0]]), (inner,), image),
        Node(node.name, source.op, (image,), turned),
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


def to_channels_last(graph: Graph, io_layout: str = "nhwc") -> Graph:
    """The graph with as few transposes as the rules find.

    With io_layout "nhwc" inputs and outputs change their axes where that saves transposes (Port.permutation
    says how); with "nchw" they keep the model's axes, and the transposes at the ends stay.
    """
    graph = sink(graph)
    if io_layout != "nhwc":
        return graph
    for index, port in enumerate(graph.inputs):
        if len(port.shape) < 3:
            continue
        candidate = _channels_last_outputs(sink(_channels_last_input(graph, index)))
        if _cost(candidate) < _cost(_channels_last_outputs(graph)):
            graph = sink(_channels_last_input(graph, index))
    return _channels_last_outputs(graph)


def _cost(graph: Graph) -> tuple[int, int]:
    """Elements that transposes move, then nodes."""
    moved = sum(
        math.prod(graph.shapes[node.output]) for node in graph.nodes if isinstance(node.op, Transpose)
    )
    return moved, len(graph.nodes)


def _last(rank: int) -> Permutation:
    return (0, *range(2, rank), 1)


def _channels_last_input(graph: Graph, index: int) -> Graph:
    """The graph taking this input channels last, and transposing it back for everything inside."""
    port = graph.inputs[index]
    permutation = _last(len(port.shape))
    tensor = f"{port.tensor}#1"
    new = Port(port.name, tensor, tuple(port.shape[axis] for axis in permutation), permutation)
    inverse = Transpose(tuple(int(a) for a in np.argsort(permutation)))
    back = Node(f"{port.name}/layout", inverse, (tensor,), port.tensor)
    return replace(
        graph,
        inputs=(*graph.inputs[:index], new, *graph.inputs[index + 1 :]),
        nodes=(back, *graph.nodes),
    )


def _channels_last_outputs(graph: Graph) -> Graph:
    """The graph whose outputs are the tensors in front of final transposes from channels last."""

    def absorbed(port: Port) -> Port:
        node = graph.producers.get(port.tensor)
        if node is None or not isinstance(node.op, Transpose):
            return port
        inverse = tuple(int(a) for a in np.argsort(node.op.permutation))
        if inverse != _last(len(port.shape)):
            return port
        source = node.inputs[0]
        return Port(port.name, source, graph.shapes[source], inverse)

    return replace(graph, outputs=tuple(absorbed(port) for port in graph.outputs)).without_dead_nodes()
