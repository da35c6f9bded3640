"""What is left of constant arithmetic per channel becomes depthwise convolution."""

from __future__ import annotations

import math

import numpy as np

from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.rewrite import Result, Scope, rewrite
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.movement import Reshape


def affine_to_conv(graph: Graph) -> Graph:
    """The graph where every Affine per channel is a depthwise 1x1 convolution. Same function."""
    return rewrite(graph, _affine_to_conv)


def _affine_to_conv(node: Node, scope: Scope) -> Result:
    op, shape = node.op, scope.shapes[node.inputs[0]]
    if not isinstance(op, Affine) or not op.per_channel:
        return None
    channels = shape[-1]
    scale = np.broadcast_to(op.scale, (channels,)).astype(np.float32)
    shift = np.broadcast_to(op.shift, (channels,)).astype(np.float32)
    conv = Conv2D(scale.reshape(channels, 1, 1, 1), shift, groups=channels)
    image = (1, 1, math.prod(shape[1:-1]), channels)
    before, after = scope.fresh(node.output), scope.fresh(node.output)
    return [
        Node(node.name, Reshape(image), node.inputs, before),
        Node(node.name, conv, (before,), after),
        Node(node.name, Reshape(shape), (after,), node.output),
    ]
