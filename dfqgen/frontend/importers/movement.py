"""Operators that move elements or change shapes only."""

from __future__ import annotations

import math

import numpy as np

from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
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
    if node.integer("to", 1) != 1:  # TensorProto.FLOAT
        raise Refused("converts an activation to another type than float32")
    return node.tensor()


@importer("Flatten")
def flatten(node: OnnxNode) -> str:
    shape = node.shape()
    axis = node.integer("axis", 1)
    axis = axis if axis == len(shape) else node.axis(axis, len(shape))
    return node.reshape(node.tensor(), (math.prod(shape[:axis]), math.prod(shape[axis:])))


@importer("Reshape")
def reshape(node: OnnxNode) -> str:
    """0 copies an axis (unless allowzero), -1 takes what is left."""
    shape = node.shape()
    target = list(node.list_input(1, "shape"))
    if not node.integer("allowzero", 0):
        target = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(target)]
    if target.count(-1) == 1:
        rest = math.prod([n for n in target if n != -1])
        target[target.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(target) != math.prod(shape) or min(target, default=1) < 1:
        raise Refused(f"{list(shape)} cannot become {target}")
    return node.reshape(node.tensor(), tuple(target))


@importer("Squeeze")
def squeeze(node: OnnxNode) -> str:
    shape = node.shape()
    stated = node.optional_integers(1, "axes")
    if stated is None:
        axes = {axis for axis, n in enumerate(shape) if n == 1}
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
    permutation = list(node.integers("perm") or reversed(range(len(shape))))
    if sorted(permutation) != list(range(len(shape))):
        raise Refused(f"perm {permutation} does not order {len(shape)} axes")
    first = permutation[0]
    if first != 0:
        if shape[first] != 1:
            raise Refused("moves the batch axis from the front")
        # Two axes of size 1 change places: no data moves, so let the batch stay in front.
        permutation[permutation.index(0)] = first
        permutation[0] = 0
    return node.transpose(node.tensor(), tuple(permutation))


@importer("Pad")
def pad(node: OnnxNode) -> str:
    """A constant border; `pads` and `value` are attributes before opset 11, inputs since; `axes` since 18."""
    mode = node.text("mode", "constant")
    if mode != "constant":
        raise Refused(f"mode {mode!r} is not supported; constant is")
    rank = len(node.shape())
    pads = node.optional_integers(1, "pads") or ()
    value = node.number("value", 0.0)
    if node.has_input(2):
        value = float(node.constant(2, "value").reshape(()))
    axes = tuple(range(rank))
    if node.has_input(3):
        axes = tuple(node.axis(a, rank) for a in node.list_input(3, "axes"))
    if len(pads) != 2 * len(axes):
        raise Refused(f"{len(pads)} pads do not fit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    if min(pads, default=0) < 0:
        raise Refused("negative pads (a crop) are not supported")
    if before[0] or after[0]:
        raise Refused("pads the batch axis")
    if np.isnan(value):
        raise Refused("pads with NaN")
    if not any(pads):
        return node.tensor()
    return node.emit(Pad(tuple(before), tuple(after), value), node.tensor())
