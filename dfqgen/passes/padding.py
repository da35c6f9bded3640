"""Borders move next to the operators that can make them themselves, and into them."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Node, Op
from dfqgen.graph.rewrite import ANY, Result, Row, pattern
from dfqgen.ops.lookup import Clip
from dfqgen.ops.movement import Pad, Reshape, Transpose


@pattern(Pad, ANY)
def fuse_pad(row: Row, pad: Pad, op: Op) -> Result:
    """A border around height and width that the next operator can make itself (`Op.padded`)."""
    source = row.scope.producers.get(row.first.inputs[0])
    lower_bound = float(np.min(source.op.lo)) if source and isinstance(source.op, Clip) else -np.inf
    fused = op.padded(pad.border, lower_bound)
    return None if fused is None else row.becomes(fused)


@pattern(Pad, Transpose)
def pad_after_transpose(row: Row, pad: Pad, transpose: Transpose) -> Result:
    """A transpose of a padded tensor: move the smaller tensor first, then pad."""
    return _pad_behind(row, pad, transpose, dict(enumerate(transpose.permutation)), len(row.shape))


@pattern(Pad, Reshape)
def pad_after_reshape(row: Row, pad: Pad, reshape: Reshape) -> Result:
    """A reshape of a padded tensor that only adds or drops axes of 1: pad behind it.

    That puts the border next to the operator that can take it in.
    """
    inside, padded, after = row.shape, row.scope.shapes[row.first.output], reshape.shape
    wide_before = [axis for axis, n in enumerate(padded) if n > 1]
    wide_after = [axis for axis, n in enumerate(after) if n > 1]
    if [padded[axis] for axis in wide_before] != [after[axis] for axis in wide_after]:
        return None
    origin = dict(zip(wide_after, wide_before, strict=True))
    first = Reshape(tuple(inside[origin[axis]] if axis in origin else 1 for axis in range(len(after))))
    return _pad_behind(row, pad, first, origin, len(after))


def _pad_behind(row: Row, pad: Pad, move: Op, origin: dict[int, int], rank: int) -> list[Node]:
    """The move, then the border: axis by axis that of the axis it came from, none on new ones."""
    before, after = (
        tuple(sizes[origin[axis]] if axis in origin else 0 for axis in range(rank))
        for sizes in (pad.before, pad.after)
    )
    inner = row.scope.fresh(row.last.output)
    return [
        Node(row.last.name, move, row.first.inputs, inner),
        Node(row.first.name, Pad(before, after, pad.value), (inner,), row.last.output),
    ]
