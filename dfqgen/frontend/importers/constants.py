"""Constants of any shape beside an activation: they become parameters along the last axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dfqgen.frontend.importers.registry import OnnxNode
from dfqgen.frontend.importers.selection import broadcast_to
from dfqgen.graph.ir import Array
from dfqgen.ops.affine import Affine

Way = Callable[[str], str]


def along_last_axis(node: OnnxNode, x: str, *constants: Array) -> tuple[str, tuple[Array, ...], Way]:
    """x with axes such that the constants, broadcast to it, vary along the last one alone, [C] or [1] each.

    The last result brings a tensor of that shape back to x's axes. Constants that are larger than x enlarge
    it. One varying axis is moved to the end; of several, all from the first on are taken as one, with a
    parameter for each element.
    """
    values = np.broadcast_arrays(*(node.behind_lead(constant) for constant in constants))
    common = np.broadcast_shapes(node.shape_of(x), values[0].shape)
    x = broadcast_to(node, x, common)
    rank = len(common)
    varying = [rank - values[0].ndim + axis for axis, n in enumerate(values[0].shape) if n > 1]
    if not varying:
        return x, tuple(value.ravel() for value in values), lambda result: result
    if len(varying) == 1:
        to_last = (*(a for a in range(rank) if a != varying[0]), varying[0])
        back = tuple(int(a) for a in np.argsort(to_last))
        moved = node.transpose(x, to_last)
        return moved, tuple(value.ravel() for value in values), lambda result: node.transpose(result, back)
    first = varying[0]
    together = common[first:]
    flat = node.reshape(x, (*common[:first], math.prod(together)))
    written_out = tuple(
        np.broadcast_to(value.reshape(value.shape[-len(together) :]), together).ravel() for value in values
    )
    return flat, written_out, lambda result: node.reshape(result, common)


def affine(node: OnnxNode, x: str, scale: Array, shift: Array) -> str:
    """scale * x + shift with constants that broadcast with each other and with x."""
    x, (scale, shift), back = along_last_axis(node, x, scale, shift)
    return back(node.emit(Affine(scale, shift), x))
