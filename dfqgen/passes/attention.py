"""What stands around products of activations and normalizations goes into them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Node
from dfqgen.graph.rewrite import Result, Row, Scope, pattern
from dfqgen.ops.affine import Affine
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.movement import Reshape, Transpose
from dfqgen.ops.standardize import Standardize


@pattern(MatMul, Affine, read_once=True)
def scale_after_product(row: Row, product: MatMul, affine: Affine) -> Result:
    """A positive number times a product is its factor: scores over the root of their depth."""
    factor = _number(affine)
    if factor is None:
        return None
    return [replace(row.first, op=replace(product, factor=product.factor * factor), output=row.last.output)]


def scale_before_product(node: Node, scope: Scope) -> Result:
    """A product with a number times an operand is a number times the product."""
    if not isinstance(node.op, MatMul):
        return None
    for index, name in enumerate(node.inputs):
        source = scope.producer(name, Affine)
        if source is None or not isinstance(source.op, Affine):
            continue
        factor = _number(source.op)
        if factor is not None:
            inputs = [*node.inputs]
            inputs[index] = source.inputs[0]
            return [replace(node, op=replace(node.op, factor=node.op.factor * factor), inputs=tuple(inputs))]
    return None


def _number(affine: Affine) -> float | None:
    """A positive factor for all channels, without a shift."""
    plain = affine.scale.size == 1 and not np.any(affine.shift) and affine.scale[0] > 0
    return float(affine.scale[0]) if plain else None


def columns_as_rows(node: Node, scope: Scope) -> Result:
    """a @ transpose(b) that brings the last axis forward reads rows of b: fewer elements move, or none."""
    if not isinstance(node.op, MatMul) or node.op.transpose_b:
        return None
    source = scope.producer(node.inputs[1], Transpose)
    if source is None or not isinstance(source.op, Transpose):
        return None
    *front, k, p = source.op.permutation
    if k != len(front) + 1:
        return None
    rows = scope.fresh(node.inputs[1])
    return [
        Node(source.name, Transpose((*front, p, k)), source.inputs, rows),
        replace(node, op=replace(node.op, transpose_b=True), inputs=(node.inputs[0], rows)),
    ]


@pattern(Standardize, Affine, read_once=True)
def scale_normalized(row: Row, norm: Standardize, affine: Affine) -> Result:
    """The scale and shift that follow a normalization are its own."""
    gamma, beta = norm.gamma * affine.scale, norm.beta * affine.scale + affine.shift
    scaled = replace(norm, gamma=_float32(gamma), beta=_float32(beta))
    return [replace(row.first, op=scaled, output=row.last.output)]


@pattern(Reshape, Standardize, Reshape)
def groups_of_channels(row: Row, split: Reshape, norm: Standardize, join: Reshape) -> Result:
    """[1,C,...] in rows of whole channels, each normalized by itself: groups, or instances, channels last."""
    shape, rows = row.shape, split.shape
    alike = norm.gamma.size == norm.beta.size == norm.groups == 1
    if not alike or len(shape) < 3 or join.shape != shape or len(rows) != 3 or norm.axis != 2:
        return None
    channels, groups = shape[1], rows[1]
    if channels % groups:
        return None
    last = (0, *range(2, len(shape)), 1)
    first = (0, len(shape) - 1, *range(1, len(shape) - 1))
    before, after = row.scope.fresh(row.last.output), row.scope.fresh(row.last.output)
    return [
        Node(row.first.name, Transpose(last), row.first.inputs, before),
        Node(row.nodes[1].name, replace(norm, axis=1, groups=groups), (before,), after),
        Node(row.last.name, Transpose(first), (after,), row.last.output),
    ]


def _float32(value: Array) -> Array:
    return np.ascontiguousarray(value, np.float32)
