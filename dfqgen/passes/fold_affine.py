"""Constant arithmetic on channels: into the layer beside it, else a layer of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.graph.rewrite import Result, Row, pattern, rewrite
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.movement import Reshape
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.windows import NO_PADS


@pattern(Conv2D, Affine, read_once=True)
def fold_affine_into_convolution(row: Row, conv: Conv2D, affine: Affine) -> Result:
    """scale * conv(x) + shift is a convolution with other weights, such as a bias added after it."""
    scale = np.broadcast_to(affine.scale, conv.bias.shape)
    folded = conv.with_scaled_outputs(scale, np.asarray(affine.shift))
    folded = replace(folded, weight=_float32(folded.weight), bias=_float32(folded.bias))
    return [replace(row.first, op=folded, output=row.last.output)]


@pattern(BatchNorm, Affine, read_once=True)
def fold_affine_into_batch_norm(row: Row, norm: BatchNorm, affine: Affine) -> Result:
    """Its gamma and beta then describe the new output's statistics."""
    gamma, beta = norm.gamma * affine.scale, norm.beta * affine.scale + affine.shift
    folded = replace(norm, gamma=_float32(gamma), beta=_float32(beta))
    return [replace(row.first, op=folded, output=row.last.output)]


@pattern(Affine, Conv2D)
def fold_affine_into_next(row: Row, affine: Affine, conv: Conv2D) -> Result:
    """conv(scale * x + shift) is a convolution with other weights, unless the shift meets padding.

    Weights that the model states as integers stay so only if all are scaled alike.
    """
    factor = affine.scale.flat[0]
    if conv.weight_scale is not None and (factor == 0.0 or np.any(affine.scale != factor)):
        return None
    if conv.pads != NO_PADS and np.any(affine.shift != 0.0):
        return None
    scale = np.broadcast_to(affine.scale, (conv.in_channels,))
    shift = np.broadcast_to(affine.shift, (conv.in_channels,)).astype(np.float64)
    group_in = conv.weight.shape[3]
    per_output = np.repeat(scale.reshape(conv.groups, group_in), conv.out_channels // conv.groups, axis=0)
    return row.becomes(
        replace(
            conv,
            weight=_float32(conv.weight * per_output[:, None, None, :]),
            bias=_float32(conv.bias + conv.window_sum(shift)),
            weight_scale=None if conv.weight_scale is None else conv.weight_scale * abs(factor),
        )
    )


def _float32(value: Array) -> Array:
    return np.ascontiguousarray(value, np.float32)


def affine_to_conv(graph: Graph) -> Graph:
    """The graph where every Affine per channel is a depthwise 1x1 convolution. Same function."""
    return rewrite(graph, _affine_to_conv)


@pattern(Affine)
def _affine_to_conv(row: Row, op: Affine) -> Result:
    if not op.per_channel:
        return None
    node, shape, channels = row.last, row.shape, row.shape[-1]
    scale = np.broadcast_to(op.scale, (channels,)).astype(np.float32)
    shift = np.broadcast_to(op.shift, (channels,)).astype(np.float32)
    conv = Conv2D(scale.reshape(channels, 1, 1, 1), shift, groups=channels)
    image = (1, 1, math.prod(shape[1:-1]), channels)
    before, after = row.scope.fresh(node.output), row.scope.fresh(node.output)
    return [
        Node(node.name, Reshape(image), node.inputs, before),
        Node(node.name, conv, (before,), after),
        Node(node.name, Reshape(shape), (after,), node.output),
    ]
