"""Operators that cut, repeat and rearrange: all become Take, Reshape and Transpose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.frontend.importers.registry import OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.stated import table_of_integers
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.embedding import Embedding
from dfqgen.ops.take import Take


def select(node: OnnxNode, tensor: str, axis: int, positions: Sequence[int]) -> str:
    """Positions along one axis; nothing when they are the axis itself."""
    shape = node.shape_of(tensor)
    if list(positions) == list(range(shape[axis])):
        return tensor
    if axis == 0:
        raise along_first_axis(node, "selects along the batch axis")
    if not len(positions):
        raise Refused("gives an empty tensor")
    return node.emit(Take.along(axis, [int(p) for p in positions], len(shape)), tensor)


@importer("Split")
def split(node: OnnxNode) -> tuple[str, ...]:
    """Sizes are an attribute before opset 13, an input since; equal parts without them."""
    shape = node.shape()
    axis = node.axis(node.integer("axis", 0), len(shape))
    size, count = shape[axis], len(node.proto.output)
    sizes = node.optional_integers(1, "split")
    if sizes is None:
        part = -(-size // count)
        sizes = (*(part,) * (count - 1), size - part * (count - 1))
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise Refused(f"parts {list(sizes)} do not make up {size} in {count} outputs")
    ends = np.cumsum(sizes)
    return tuple(
        select(node, node.tensor(), axis, range(int(end) - part, int(end)))
        for part, end in zip(sizes, ends, strict=True)
    )


@importer("Slice")
def slice_attributes(node: OnnxNode) -> str:
    starts, ends = node.integers("starts"), node.integers("ends")
    if starts is None or ends is None:
        raise Refused("has no starts or ends")
    return _slice(node, starts, ends, node.integers("axes"), None)


@importer("Slice", since=10)
def slice_inputs(node: OnnxNode) -> str:
    starts, ends = (
        tuple(int(v) for v in node.constant(i, what).ravel()) for i, what in ((1, "start"), (2, "end"))
    )
    return _slice(node, starts, ends, node.optional_integers(3, "axes"), node.optional_integers(4, "steps"))


def _slice(
    node: OnnxNode,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> str:
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Refused("starts, ends, axes and steps differ in number")
    tensor = node.tensor()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise Refused("has a step of 0")
        shape = node.shape_of(tensor)
        place = node.axis(axis, len(shape))
        size = node.builder.model.batch if place == 0 and not node.lead else shape[place]
        # Python's slices cut out-of-range ends as ONNX does.
        positions = range(size)[slice(start, None if step < 0 and end < -size else end, step)]
        if size != shape[place]:
            if positions != range(size):
                raise along_first_axis(node, "takes some samples of the batch")
            continue
        tensor = select(node, tensor, place, positions)
    return tensor


@importer("Gather")
def gather(node: OnnxNode) -> str:
    if node.is_constant(0) and node.proto.input[1] in node.builder.codings:
        return table_of_integers(node)
    if not node.is_constant(1):
        return _rows(node)
    shape = node.shape()
    axis = node.axis(node.integer("axis", 0), len(shape))
    indices = node.constant(1, "indices")
    if indices.size and (indices.min() < -shape[axis] or indices.max() >= shape[axis]):
        raise Refused(f"an index leaves an axis of {shape[axis]}")
    taken = select(node, node.tensor(), axis, (indices.ravel() % shape[axis]).tolist())
    return node.reshape(taken, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


def _rows(node: OnnxNode) -> str:
    """Rows of a constant by numbers that come while the network runs."""
    numbers = node.tensor(1)
    if not node.is_constant(0) or not whole_numbers(node, numbers):
        raise Refused(
            "takes its indices from the network's input; constant ones are supported, and for the rows of a "
            "constant also an input's integers and the positions that an ArgMax gives"
        )
    table = node.weight(0, "table")
    if table.ndim < 1 or node.integer("axis", 0) not in (0, -table.ndim):
        raise Refused("picks from a constant along another axis than the first")
    taken = node.emit(Embedding(table.reshape(len(table), -1)), numbers)
    return node.reshape(taken, (*node.shape_of(numbers), *table.shape[1:]))


def whole_numbers(node: OnnxNode, tensor: str) -> bool:
    """Whether the tensor holds positions or an input's integers, perhaps moved about."""
    producers = {made.output: made for made in node.builder.nodes}
    while tensor in producers and producers[tensor].op.keeps_type:
        tensor = producers[tensor].inputs[0]
    if tensor in producers:
        return isinstance(producers[tensor].op, ArgMax)
    return any(node.builder.tensors[name] == tensor for name in node.builder.model.integer_inputs)


@importer("ReverseSequence", since=10)
def reverse_sequence(node: OnnxNode) -> str:
    """The first steps of each sample in the opposite order."""
    shape = node.shape()
    batch, time = (
        node.axis(node.integer(*each), len(shape)) for each in (("batch_axis", 1), ("time_axis", 0))
    )
    lengths = set(node.list_input(1, "sequence_lens"))
    if len(lengths) != 1 or batch == time or not 0 < max(lengths) <= shape[time]:
        raise Refused("reverses sequences of several lengths")
    length = max(lengths)
    return select(node, node.tensor(), time, [*range(length - 1, -1, -1), *range(length, shape[time])])


@importer("Expand")
def expand(node: OnnxNode) -> str:
    target = (1,) * node.lead + node.folded_batch(node.list_input(1, "shape"))
    return broadcast_to(node, node.tensor(), np.broadcast_shapes(node.shape(), target))


def broadcast_to(node: OnnxNode, tensor: str, shape: tuple[int, ...]) -> str:
    """The tensor repeated to a larger shape, as numpy broadcasts."""
    own = node.shape_of(tensor)
    tensor = node.reshape(tensor, (1,) * (len(shape) - len(own)) + own)
    for axis, size in enumerate(shape):
        if node.shape_of(tensor)[axis] != size:
            tensor = select(node, tensor, axis, [0] * size)
    return tensor


@importer("Tile")
def tile(node: OnnxNode) -> str:
    repeats = [1] * node.lead + [int(n) for n in node.constant(1, "repeats").ravel()]
    tensor = node.tensor()
    if len(repeats) != len(node.shape()):
        raise Refused(f"{len(repeats)} repeats do not fit {len(node.shape())} axes")
    for axis, times in enumerate(repeats):
        tensor = select(node, tensor, axis, list(range(node.shape_of(tensor)[axis])) * times)
    return tensor


def _blocks(node: OnnxNode) -> int:
    size = node.integer("blocksize", 0)
    if size < 1 or len(node.shape()) != 4:
        raise Refused("needs an image and a blocksize of at least 1")
    return size


@importer("DepthToSpace", batch_first=True)
def depth_to_space(node: OnnxNode) -> str:
    size = _blocks(node)
    image = node.to_channels_last(node.tensor())
    _, height, width, channels = node.shape_of(image)
    if channels % (size * size):
        raise Refused(f"{channels} channels do not fill blocks of {size}x{size}")
    depth = channels // (size * size)
    mode = node.text("mode", "DCR")
    if mode == "DCR":
        blocks = node.transpose(
            node.reshape(image, (1, height, width, size, size, depth)), (0, 1, 3, 2, 4, 5)
        )
    elif mode == "CRD":
        blocks = node.transpose(
            node.reshape(image, (1, height, width, depth, size, size)), (0, 1, 4, 2, 5, 3)
        )
    else:
        raise Refused(f"mode {mode!r} is unknown")
    return node.to_channels_first(node.reshape(blocks, (1, height * size, width * size, depth)))


@importer("SpaceToDepth", batch_first=True)
def space_to_depth(node: OnnxNode) -> str:
    size = _blocks(node)
    image = node.to_channels_last(node.tensor())
    _, height, width, channels = node.shape_of(image)
    if height % size or width % size:
        raise Refused(f"an image of {height}x{width} has no whole blocks of {size}x{size}")
    mode = node.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise Refused(f"mode {mode!r} is unknown")
    parts = node.reshape(image, (1, height // size, size, width // size, size, channels))
    blocks = node.transpose(parts, (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    result = (1, height // size, width // size, size * size * channels)
    return node.to_channels_first(node.reshape(blocks, result))
