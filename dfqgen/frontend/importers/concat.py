"""Concat: of activations, and of constants, which become a border of their neighbour."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.importers.constants import affine
from dfqgen.frontend.importers.registry import OnnxNode, Refused, along_first_axis, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.concat import Concat
from dfqgen.ops.movement import Pad

LARGEST_CONCAT = 8
"""Inputs of one concatenation kernel; more become a tree."""


@importer("Concat")
def concat(node: OnnxNode) -> str:
    """Along any axis but the batch."""
    places = range(len(node.proto.input))
    activations = [i for i in places if not node.is_constant(i)]
    shape = node.shape(activations[0])
    axis = node.axis(node.integer("axis", 1), len(shape))
    if axis == 0 and len(places) > 1:
        raise along_first_axis(node, "joins along the batch axis")
    constants = {i: node.behind_lead(node.weight(i, "constant")) for i in places if node.is_constant(i)}
    for constant in constants.values():
        sizes = [n for a, n in enumerate(constant.shape) if a != axis]
        if constant.ndim != len(shape) or sizes != [n for a, n in enumerate(shape) if a != axis]:
            raise Refused(f"joins a constant of shape {list(constant.shape)} with {list(shape)}")
    fill = _shared_value(list(constants.values()))
    joined = join(node, axis, _with_borders(node, axis, constants, 0.0 if fill is None else fill))
    if fill is not None or not constants:
        return joined
    parts = [constants[i].astype(np.float64) if i in constants else np.zeros(node.shape(i)) for i in places]
    addend = np.concatenate(parts, axis)
    return affine(node, joined, np.ones(()), addend.reshape(addend.shape[node.lead :]))


def _shared_value(constants: list[Array]) -> float | None:
    """The one value that all elements have, None where they differ."""
    filled = [constant for constant in constants if constant.size]
    if not filled:
        return None
    first = float(filled[0].flat[0])
    return first if all(bool(np.all(constant == first)) for constant in filled) else None


def _with_borders(node: OnnxNode, axis: int, constants: dict[int, Array], value: float) -> list[str]:
    """The activations, each with the border that the constants beside it are."""
    borders: list[tuple[str, list[int]]] = []
    before = 0
    for i in range(len(node.proto.input)):
        if i not in constants:
            borders.append((node.tensor(i), [before, 0]))
            before = 0
        elif borders:
            borders[-1][1][1] += constants[i].shape[axis]
        else:
            before += constants[i].shape[axis]
    return [_padded(node, tensor, axis, ends, value) for tensor, ends in borders]


def _padded(node: OnnxNode, tensor: str, axis: int, ends: list[int], value: float) -> str:
    if not any(ends):
        return tensor
    rank = len(node.shape_of(tensor))
    before, after = (tuple(end if a == axis else 0 for a in range(rank)) for end in ends)
    return node.emit(Pad(before, after, value), tensor)


def join(node: OnnxNode, axis: int, tensors: list[str]) -> str:
    """The tensors one after the other."""
    while len(tensors) > 1:
        groups = [tensors[i : i + LARGEST_CONCAT] for i in range(0, len(tensors), LARGEST_CONCAT)]
        tensors = [node.emit(Concat(axis), *group) if len(group) > 1 else group[0] for group in groups]
    return tensors[0]
