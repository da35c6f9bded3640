"""Pools over windows, over the whole image, and means over axes."""

from __future__ import annotations

import math

from dfqgen.frontend.importers.functions import scaled
from dfqgen.frontend.importers.marks import HALVES
from dfqgen.frontend.importers.registry import Length, OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.windows import read_window
from dfqgen.graph.ir import Op
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.movement import Pad
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.windows import NO_PADS, Pads


def _sum(a: Pads, b: Pads) -> Pads:
    return Pads(*(x + y for x, y in zip(a, b, strict=True)))


@importer("AveragePool", batch_first=True)
def average_pool(node: OnnxNode) -> str:
    rank = len(node.shape())
    image = node.to_image(node.tensor())
    height, width = node.shape_of(image)[1:3]
    window = read_window(node, (height, width))
    if window.dilation != (1, 1):
        raise Refused("dilations are not supported")
    pads, counted = window.pads, node.flag("count_include_pad", default=False)
    if counted and pads != NO_PADS and window.extra != NO_PADS:
        # The stated border counts, what ceil_mode adds does not: make the border real first.
        border = Pad((0, pads.top, pads.left, 0), (0, pads.bottom, pads.right, 0))
        image, pads, counted = node.emit(border, image), NO_PADS, False
    pads = _sum(pads, window.extra)
    counted = counted and window.pads != NO_PADS
    halves_up = node.proto.doc_string == HALVES
    pool = AveragePool(window.kernel, window.stride, pads, counted, halves_up)
    return node.from_image(_emit_pool(node, pool, image), rank)


@importer("MaxPool", batch_first=True)
def max_pool(node: OnnxNode) -> str:
    node.needs_single_output()
    rank = len(node.shape())
    image = node.to_image(node.tensor())
    height, width = node.shape_of(image)[1:3]
    window = read_window(node, (height, width))
    pool = MaxPool(window.kernel, window.stride, window.dilation, _sum(window.pads, window.extra))
    return node.from_image(_emit_pool(node, pool, image), rank)


def _emit_pool(node: OnnxNode, pool: AveragePool | MaxPool, image: str) -> str:
    positions = math.prod(pool.infer_shape(node.shape_of(image)))
    node.check_reads(positions * math.prod(pool.kernel))
    return node.emit(pool, image)


@importer("GlobalAveragePool", "GlobalMaxPool", batch_first=True)
def global_pool(node: OnnxNode) -> str:
    axes = tuple(range(2, len(node.shape())))
    return _reduce(node, axes, keep_axes=True)


_NORMS = ("ReduceL1", "ReduceL2", "ReduceSumSquare")


@importer("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")
def reduce(node: OnnxNode) -> str:
    rank = len(node.shape())
    stated = node.optional_integers(1, "axes")
    if not stated and node.flag("noop_with_empty_axes", default=False):
        return node.tensor()
    axes = {node.axis(a, rank) for a in stated} if stated else set(range(node.lead, rank))
    keep_axes = node.flag("keepdims", default=True)
    # A mean, sum, maximum over one sample is that sample; its norm is not.
    if 0 in axes and (not keep_axes or node.op_type in _NORMS or node.builder.model.batch > 1):
        raise along_first_axis(node, "reduces the batch axis")
    if node.lead and node.lead in axes and node.builder.model.batch > 1:
        raise along_first_axis(node, "reduces an axis that the batch may be part of")
    reduced = tuple(sorted(axes - {0}))
    if not reduced:
        return node.tensor()
    return _reduce(node, reduced, keep_axes)


def _reduce(node: OnnxNode, axes: tuple[int, ...], keep_axes: bool) -> str:
    """Over `axes` (never the batch), as a pool whose window is the whole image."""
    kind = node.op_type.removeprefix("Reduce").removeprefix("Global").removesuffix("Pool")
    shape = node.shape()
    kept = tuple(axis for axis in range(1, len(shape)) if axis not in axes)
    x = node.transpose(node.tensor(), (0, *axes, *kept))
    if len(axes) == 2:
        height, width = (shape[axis] for axis in axes)
    else:
        height, width = 1, math.prod([shape[axis] for axis in axes])
    channels = math.prod([shape[axis] for axis in kept])
    image = node.reshape(x, (1, height, width, channels))
    kernel = (height, width)
    if kind == "Min":
        image = scaled(node, image, -1.0)
    elif kind == "L1":
        image = node.emit(Elementwise("abs"), image)
    elif kind in ("L2", "SumSquare"):
        image = node.emit(Elementwise("pow", 2.0), image)
    op: Op = MaxPool(kernel) if kind in ("Max", "Min") else AveragePool(kernel)
    reduced = node.emit(op, image)
    if kind not in ("Mean", "Average", "Max"):
        reduced = scaled(node, reduced, -1.0 if kind == "Min" else float(height * width))
    if kind == "L2":
        reduced = node.emit(Elementwise("sqrt"), reduced)
    result = tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keep_axes or axis not in axes)
    reduced = node.reshape(reduced, result)
    if kind in ("L1", "L2") and keep_axes and len(axes) == 1:
        node.builder.lengths[reduced] = Length(node.tensor(), axes[0], int(kind[1]))
    return reduced
