"""Products of integers: ConvInteger, MatMulInteger."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.fold import Grid
from dfqgen.frontend.importers.convolution import convolution, fully_connected
from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.graph.ir import Array


@importer("MatMulInteger")
def matmul_integer(node: OnnxNode) -> str:
    """(a - a_zero_point) @ (b - b_zero_point), whole numbers, with constant b [K, N]."""
    weight, grid = _weight(node, axis=1)
    if weight.ndim != 2:
        raise Refused(f"its constant has shape {list(weight.shape)}; a matrix is supported")
    return fully_connected(node, node.tensor(), weight.T, stated=Grid(grid.scale.T, grid.bits))


@importer("ConvInteger", batch_first=True)
def conv_integer(node: OnnxNode) -> str:
    """The convolution of integers less their zero points, whole numbers."""
    weight, grid = _weight(node, axis=0)
    return convolution(node, weight, np.zeros(weight.shape[:1], np.float32), grid)


def _weight(node: OnnxNode, axis: int) -> tuple[Array, Grid]:
    """The weight that gives these whole numbers from the reals that ours hold, zero points along `axis`."""
    coding = node.builder.codings.get(node.proto.input[0])
    if coding is None:
        raise Refused("reads integers that are not from a QuantizeLinear")
    if node.has_input(2) and np.any(node.constant(2, "zero point") != coding.zero_point):
        raise Refused("has another zero point than the QuantizeLinear before it")
    integers = node.constant(1, "weight").astype(np.int64)
    if node.has_input(3):
        zero_point = node.constant(3, "zero point").astype(np.int64)
        along = [1] * integers.ndim
        along[axis] = -1
        integers = integers - zero_point.reshape(along if zero_point.size > 1 else ())
    step = 1.0 / coding.scale
    return (integers * step).astype(np.float32), Grid(np.broadcast_to(step, integers.shape), 8)
