"""Weights that the model states in more than eight bits: asymmetric ones, less their zero point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.graph.rewrite import Result, Row, pattern, rewrite
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.take import Take


def split_wide_weights(graph: Graph) -> Graph:
    """Every stated weight fits int8: wider ones become the sum of several on the same inputs. Exact."""
    return rewrite(graph, _split)


@pattern(Conv2D)
def _split(row: Row, conv: Conv2D) -> Result:
    """w x is w1 x + w2 x: inputs that need it are read twice, in front of the layer copied once."""
    integers = conv.stated_integers
    if integers is None or conv.weight_scale is None:
        return None
    lo, hi = IntType.INT8.minimum, IntType.INT8.maximum
    if integers.min() >= lo and integers.max() <= hi:
        return None
    parts: list[Array] = []
    while np.any(integers):
        parts.append(np.clip(integers, lo, hi))
        integers = integers - parts[-1]
    group_in = conv.weight.shape[3]
    # Of one group, the input channels whose weights have more to them; all of them where there are several.
    wanted = [np.arange(group_in)]
    for part in parts[1:]:
        needed = part.any(axis=(0, 1, 2)) if conv.groups == 1 else np.ones(group_in, bool)
        wanted.append(np.flatnonzero(needed))
    weight = np.concatenate([p[..., channels] for p, channels in zip(parts, wanted, strict=True)], axis=3)
    inside = np.concatenate(wanted)
    places = (np.arange(conv.groups)[:, None] * group_in + inside).ravel()
    node, copied = row.last, row.scope.fresh(f"{row.last.inputs[0]}/repeated")
    scale = conv.weight_scale[:, None, None, None]
    return [
        Node(node.name, Take.along(3, places.tolist(), 4), node.inputs, copied),
        replace(
            node,
            op=replace(conv, weight=(weight * scale).astype(np.float32), weight_type=IntType.INT8),
            inputs=(copied,),
        ),
    ]
