"""Operators that move elements or change shapes only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx

from dfqgen.frontend.importers.comparisons import is_true
from dfqgen.frontend.importers.registry import FirstAxisMoved, OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.selection import select, whole_numbers
from dfqgen.ops.movement import Pad


@importer("Identity")
def identity(node: OnnxNode) -> str:
    return node.tensor()


@importer("Dropout")
def dropout(node: OnnxNode) -> str:
    node.needs_single_output()
    if node.has_input(2) and bool(np.any(node.constant(2, "training_mode"))):
        raise Refused("is in training mode; export the model for inference (model.eval())")
    return node.tensor()


@importer("Cast")
def cast(node: OnnxNode) -> str:
    """To float32, or of whole numbers to any type: of a class map, an input of integers, truths (0 and 1)."""
    coding = node.builder.codings.get(node.proto.input[0])
    if coding is not None and node.integer("to", 1) in (1, 10, 11, 16):
        raise Refused("takes quantized integers for reals; put a DequantizeLinear in its place")
    if coding is not None:
        return node.tensor()
    if node.integer("to", 1) == onnx.TensorProto.BOOL:
        return is_true(node, node.tensor())
    if node.integer("to", 1) != 1 and not whole_numbers(node, node.tensor()):  # 1 is TensorProto.FLOAT
        raise Refused("converts an activation to another type than float32")
    return node.tensor()


@importer("Flatten")
def flatten(node: OnnxNode) -> str:
    shape = node.shape()
    axis = node.integer("axis", 1)
    if axis < 0 and node.opset < 11:
        raise Refused(f"has axis {axis}; negative ones came with opset 11, the file's is {node.opset}")
    axis = len(shape) if axis == len(shape) - node.lead else node.axis(axis, len(shape))
    if axis == 0 and not node.lead and node.builder.model.batch > 1:
        raise along_first_axis(node, "makes one row of the first axis")
    matrix = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    return node.reshape(node.tensor(), (1,) * node.lead + matrix)


@importer("Reshape")
def reshape(node: OnnxNode) -> str:
    """0 copies an axis (unless allowzero), -1 takes what is left."""
    shape = node.shape()[node.lead :]
    target = list(node.folded_batch(node.list_input(1, "shape")))
    if not node.flag("allowzero", default=False):
        target = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(target)]
    if target.count(-1) == 1:
        rest = math.prod([n for n in target if n != -1])
        target[target.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(target) != math.prod(shape) or min(target, default=1) < 1:
        raise Refused(f"{list(shape)} cannot become {target}")
    return node.reshape(node.tensor(), (1,) * node.lead + tuple(target))


@importer("Squeeze")
def squeeze(node: OnnxNode) -> str:
    shape = node.shape()
    stated = node.optional_integers(1, "axes")
    if stated is None:
        axes = {axis for axis, n in enumerate(shape) if n == 1 and axis >= node.lead}
    else:
        axes = {node.axis(a, len(shape)) for a in stated}
    return node.reshape(node.tensor(), tuple(n for axis, n in enumerate(shape) if axis not in axes))


@importer("Unsqueeze")
def unsqueeze(node: OnnxNode) -> str:
    shape = node.shape()
    stated = node.optional_integers(1, "axes") or ()
    rank = len(shape) + len(stated)
    axes = {node.axis(a, rank) for a in stated}
    rest = iter(shape)
    return node.reshape(node.tensor(), tuple(1 if axis in axes else next(rest) for axis in range(rank)))


@importer("Transpose")
def transpose(node: OnnxNode) -> str:
    shape = node.shape()
    stated = node.integers("perm") or tuple(reversed(range(len(shape) - node.lead)))
    permutation = [*range(node.lead), *(axis + node.lead for axis in stated)]
    if sorted(permutation) != list(range(len(shape))):
        raise Refused(f"perm {permutation} does not order {len(shape)} axes")
    first = permutation[0]
    if first != 0:
        if shape[first] != 1:
            raise FirstAxisMoved("moves the batch axis from the front")
        if node.builder.model.batch > 1:
            raise along_first_axis(node, "moves the batch axis behind one of size 1")
        # Two axes of size 1 change places: no data moves, so let the batch stay in front.
        permutation[permutation.index(0)] = first
        permutation[0] = 0
    return node.transpose(node.tensor(), tuple(permutation))


@importer("Pad")
def pad(node: OnnxNode) -> str:
    """`pads`, `value` are attributes before opset 11, inputs since; `axes` since 18. Negative pads crop."""
    mode = node.text("mode", "constant")
    if mode not in ("constant", *BORDERS):
        raise Refused(f"mode {mode!r} is unknown")
    rank = len(node.shape())
    pads = node.optional_integers(1, "pads") or ()
    value = node.number("value", 0.0)
    if node.has_input(2):
        value = float(node.constant(2, "value").reshape(()))
    axes = tuple(range(node.lead, rank))
    if node.has_input(3):
        axes = tuple(node.axis(a, rank) for a in node.list_input(3, "axes"))
    if len(pads) != 2 * len(axes):
        raise Refused(f"{len(pads)} pads do not fit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    if before[0] or after[0]:
        raise along_first_axis(node, "pads the batch axis")
    if np.isnan(value):
        raise Refused("pads with NaN")
    tensor = node.tensor()
    if mode != "constant":
        for axis in axes:
            tensor = select(
                node, tensor, axis, BORDERS[mode](node.shape_of(tensor)[axis], before[axis], after[axis])
            )
        return tensor
    for axis, size in enumerate(node.shape()):
        tensor = select(node, tensor, axis, range(max(0, -before[axis]), size - max(0, -after[axis])))
    before, after = ([max(0, n) for n in ends] for ends in (before, after))
    return node.emit(Pad(tuple(before), tuple(after), value), tensor) if any(before + after) else tensor


def _border(size: int, before: int, after: int, period: int, mirror: bool) -> list[int]:
    """Positions -before .. size + after - 1 of an axis continued with this period."""
    if size < 1 or period < 1:
        raise Refused(f"an axis of {size} cannot be continued so")
    positions = np.arange(-before, size + after) % period
    return (np.minimum(positions, period - positions) if mirror else positions).tolist()


BORDERS: Mapping[str, Callable[[int, int, int], list[int]]] = {
    "reflect": lambda n, before, after: _border(n, before, after, max(1, 2 * n - 2), True),
    "wrap": lambda n, before, after: _border(n, before, after, n, False),
    "edge": lambda n, before, after: np.clip(np.arange(-before, n + after), 0, n - 1).tolist(),
}
