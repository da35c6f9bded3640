"""Conv, Gemm and MatMul: all become Conv2D."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfqgen.frontend.fold import Grid
from dfqgen.frontend.importers.constants import affine
from dfqgen.frontend.importers.functions import of_one_rank, pairwise, scaled
from dfqgen.frontend.importers.registry import FirstAxisMoved, OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.selection import broadcast_to
from dfqgen.frontend.importers.stated import stated_weight
from dfqgen.frontend.importers.windows import Window, read_window
from dfqgen.graph.ir import Array
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.matmul import MatMul


@importer("Conv", batch_first=True)
def conv(node: OnnxNode) -> str:
    """[N,C,H,W] or [N,C,L]; weight [Cout,C/groups,kh,kw] or [Cout,C/groups,k]."""
    weight = node.weight(1)
    bias = node.bias(2) if node.has_input(2) else np.zeros(weight.shape[:1], np.float32)
    return convolution(node, weight, bias, node.grid(1))


def convolution(node: OnnxNode, weight: Array, bias: Array, grid: Grid | None) -> str:
    """The node's first input with this weight, as ONNX has it, and its grid."""
    rank = len(node.shape())
    if weight.ndim != rank:
        raise Refused(f"its weight has {weight.ndim} axes, its input {rank}")
    image = node.to_image(node.tensor())
    if rank == 3:
        weight = weight[:, :, None, :]
    groups = node.integer("group", 1)
    if groups < 1 or weight.shape[0] % groups or bias.shape != weight.shape[:1]:
        raise Refused(f"weight {weight.shape}, bias {bias.shape} and {groups} groups do not fit together")
    height, width = node.shape_of(image)[1:3]
    window: Window = read_window(node, (height, width), (weight.shape[2], weight.shape[3]))
    op = Conv2D(
        weight=np.ascontiguousarray(weight.transpose(0, 2, 3, 1)),
        bias=bias,
        stride=window.stride,
        dilation=window.dilation,
        pads=window.pads,
        groups=groups,
        **stated_weight(weight, grid),
    )
    node.check_reads(math.prod(op.infer_shape(node.shape_of(image))) * math.prod(op.weight.shape[1:]))
    return node.from_image(node.emit(op, image), rank)


@importer("Gemm")
def gemm(node: OnnxNode) -> str:
    """alpha * x [M,K] @ B [K,N] + beta * C."""
    weight = node.weight(1)
    if weight.ndim != 2 or len(node.shape()) != 2 + node.lead:
        raise Refused(f"takes matrices, not {list(node.shape())} and {list(weight.shape)}")
    x = node.tensor()
    if node.flag("transA", default=False):
        if not node.lead:
            raise along_first_axis(node, "adds along the batch axis")
        x = node.transpose(x, (0, 2, 1))
    alpha, across = np.float32(node.number("alpha", 1.0)), node.flag("transB", default=False)
    stated = node.grid(1)
    stated = None if stated is None or alpha <= 0 else replace(stated, scale=stated.scale * alpha)
    weight = weight * alpha if across else weight.T * alpha
    stated = stated if across or stated is None else replace(stated, scale=stated.scale.T)
    bias = np.zeros(weight.shape[0], np.float32)
    if node.has_input(2) and not node.is_constant(2):
        addend_tensor = scaled(node, node.tensor(2), node.number("beta", 1.0))
        return pairwise(node, Add(), fully_connected(node, x, weight, bias, stated), addend_tensor)
    if node.has_input(2):
        addend = node.bias(2) * np.float32(node.number("beta", 1.0))
        if addend.size not in (1, bias.size) or addend.shape[-1:] not in ((), (1,), bias.shape):
            product = fully_connected(node, x, weight, bias, stated)
            return affine(node, product, np.ones(()), addend.astype(np.float64))
        bias = bias + addend.ravel()
    return fully_connected(node, x, weight, bias, stated)


@importer("MatMul")
def matmul(node: OnnxNode) -> str:
    """x [..., K] @ constant [K, N], constant [M, K] @ x [..., K, N], or x [..., M, K] @ y [..., K, N]."""
    if not node.is_constant(0) and not node.is_constant(1):
        return _of_activations(node)
    if node.is_constant(0):
        left = _matrix(node.weight(0))
        rank = len(node.shape(1))
        if rank < 3:
            raise Refused("a constant times an activation needs one with a batch axis")
        swap = (*range(rank - 2), rank - 1, rank - 2)
        columns = node.transpose(node.tensor(1), swap)
        return node.transpose(fully_connected(node, columns, left, stated=_matrix_grid(node, 0)), swap)
    constant = node.weight(1)
    if constant.ndim == 1:
        result = fully_connected(node, node.tensor(), constant[None, :])
        return node.reshape(result, node.shape_of(result)[:-1])
    stated = _matrix_grid(node, 1)
    stated = None if stated is None else replace(stated, scale=stated.scale.T)
    return fully_connected(node, node.tensor(), _matrix(constant).T, stated=stated)


def _matrix_grid(node: OnnxNode, index: int) -> Grid | None:
    grid = node.grid(index)
    return None if grid is None else replace(grid, scale=_matrix(grid.scale))


def _of_activations(node: OnnxNode) -> str:
    """With numpy's broadcasting of the axes in front."""
    a, b = node.tensor(0), node.tensor(1)
    first, second = node.shape_of(a)[node.lead :], node.shape_of(b)[node.lead :]
    if min(len(first), len(second)) < 2:
        raise Refused(f"multiplies {list(first)} by {list(second)}; both need two axes or more")
    if not node.lead and max(len(first), len(second)) == 2:
        raise FirstAxisMoved("multiplies matrices, whose rows are no batch")
    a, b = of_one_rank(node, [a, b])
    front = np.broadcast_shapes(node.shape_of(a)[:-2], node.shape_of(b)[:-2])
    a, b = (broadcast_to(node, x, (*front, *node.shape_of(x)[-2:])) for x in (a, b))
    rows, depth, columns = *node.shape_of(a)[-2:], node.shape_of(b)[-1]
    node.check_reads(math.prod(front) * rows * depth * columns)
    return node.emit(MatMul(), a, b)


def _matrix(constant: Array) -> Array:
    """A constant of two axes; more are allowed in front when they are 1."""
    if constant.ndim < 2 or any(n != 1 for n in constant.shape[:-2]):
        raise Refused(f"its constant has shape {list(constant.shape)}; one matrix is supported")
    return constant.reshape(constant.shape[-2:])


def fully_connected(
    node: OnnxNode, x: str, weight: Array, bias: Array | None = None, stated: Grid | None = None
) -> str:
    """x [1,...,K] with weight [N,K] and bias [N] -> [1,...,N], as a 1x1 convolution over a row.

    `stated` is the weight's grid.
    """
    shape = node.shape_of(x)
    if len(shape) < 2 or shape[-1] != weight.shape[1]:
        raise Refused(f"an input of shape {list(shape)} meets a weight for {weight.shape[1]} features")
    pixels = math.prod(shape[1:-1])
    node.check_reads(pixels * weight.size)
    row = node.reshape(x, (1, 1, pixels, shape[-1]))
    op = Conv2D(
        weight=np.ascontiguousarray(weight[:, None, None, :], np.float32),
        bias=np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        **stated_weight(weight, stated),
    )
    return node.reshape(node.emit(op, row), (*shape[:-1], weight.shape[0]))
