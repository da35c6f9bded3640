"""Operators that do nothing go, two in a row that are one become one."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Node
from dfqgen.graph.rewrite import Result, Row, Rule, Scope, pattern
from dfqgen.ops.affine import Affine
from dfqgen.ops.lookup import Clip
from dfqgen.ops.movement import Reshape, Transpose


def drop_identities(node: Node, scope: Scope) -> Result:
    """A reshape to the same shape, a transpose of nothing, a clip to infinity, an empty border, windows of
    one.
    """
    return node.inputs[0] if node.op.is_identity(scope.shapes[node.inputs[0]]) else None


@pattern(Reshape, Reshape)
def merge_reshapes(row: Row, first: Reshape, second: Reshape) -> Result:
    """Reshape after Reshape is the second alone."""
    return row.becomes(second)


@pattern(Transpose, Transpose)
def merge_transposes(row: Row, first: Transpose, second: Transpose) -> Result:
    """Transpose after Transpose is one."""
    return row.becomes(Transpose(tuple(first.permutation[axis] for axis in second.permutation)))


@pattern(Transpose)
def transpose_to_reshape(row: Row, op: Transpose) -> Result:
    """A transpose that only moves axes of size 1 moves no data."""
    moved = [axis for axis in op.permutation if row.shape[axis] > 1]
    return row.becomes(Reshape(op.infer_shape(row.shape))) if moved == sorted(moved) else None


@pattern(Clip, Clip)
def merge_clips(row: Row, first: Clip, second: Clip) -> Result:
    """Clip after Clip is one."""
    lo, hi = second.lo, second.hi
    return row.becomes(
        Clip(np.minimum(np.maximum(first.lo, lo), hi), np.minimum(np.maximum(first.hi, lo), hi))
    )


@pattern(Affine, Affine)
def merge_affines(row: Row, first: Affine, second: Affine) -> Result:
    """Affine after Affine is one."""
    return row.becomes(Affine(first.scale * second.scale, first.shift * second.scale + second.shift))


MERGE: tuple[Rule, ...] = (drop_identities, merge_reshapes, merge_transposes, merge_clips, merge_affines)
