"""Resize and Upsample: nearest is a selection, linear an interpolation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.frontend.importers.selection import select
from dfqgen.frontend.limits import LARGEST_AXIS
from dfqgen.graph.ir import Array
from dfqgen.ops.resize import Interpolation, ResizeLinear

NEAREST: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def source_positions(transformation: str, size: int, result: int, scale: float) -> Array:
    """Where output positions 0 .. result-1 lie on an axis of `size`, as ONNX's Resize defines it."""
    x = np.arange(result, dtype=np.float64)
    if transformation == "asymmetric":
        return x / scale
    if transformation == "align_corners":
        return x * (size - 1) / (result - 1) if result > 1 else 0 * x
    if transformation == "half_pixel" or (transformation == "pytorch_half_pixel" and result > 1):
        return (x + 0.5) / scale - 0.5
    if transformation == "pytorch_half_pixel":
        return 0 * x
    if transformation == "half_pixel_symmetric":
        centre, adjustment = size / 2, result / (size * scale)
        return centre * (1 - adjustment) + (x + 0.5) / scale - 0.5
    if transformation == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    raise Refused(f"coordinate_transformation_mode {transformation!r} is not supported")


@importer("Upsample", batch_first=True)
def upsample_attribute(node: OnnxNode) -> str:
    return _resize(node, list(node.numbers("scales") or ()), None, "asymmetric", "floor")


@importer("Upsample", since=9, batch_first=True)
def upsample_input(node: OnnxNode) -> str:
    return _resize(node, _floats(node, 1), None, "asymmetric", "floor")


@importer("Resize", since=10, batch_first=True)
def resize_scales(node: OnnxNode) -> str:
    return _resize(node, _floats(node, 1), None, "asymmetric", "floor")


@importer("Resize", since=11, batch_first=True)
def resize(node: OnnxNode) -> str:
    if node.flag("antialias", default=False):
        raise Refused("antialias is not supported; export the model without it")
    rank = len(node.shape())
    axes = tuple(node.axis(a, rank) for a in node.integers("axes") or range(rank))
    scales = _floats(node, 2) if node.has_input(2) and node.constant(2, "scales").size else None
    sizes = None
    if scales is None:
        if not node.has_input(3):
            raise Refused("has neither scales nor sizes")
        if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise Refused("keep_aspect_ratio_policy other than stretch is not supported")
        sizes = [int(n) for n in node.constant(3, "sizes").ravel()]
    return _resize(
        node,
        scales,
        sizes,
        node.text("coordinate_transformation_mode", "half_pixel"),
        node.text("nearest_mode", "round_prefer_floor"),
        axes,
    )


def _floats(node: OnnxNode, index: int) -> list[float]:
    return [float(v) for v in node.constant(index, "scales").ravel()]


def _resize(
    node: OnnxNode,
    scales: list[float] | None,
    sizes: list[int] | None,
    transformation: str,
    nearest: str,
    axes: tuple[int, ...] | None = None,
) -> str:
    """`scales` or `sizes` of `axes` (all when None)."""
    shape = node.shape()
    axes = tuple(range(len(shape))) if axes is None else axes
    given = sizes if scales is None else scales
    assert given is not None
    if len(given) != len(axes) or min(given, default=0) <= 0 or not np.all(np.isfinite(given)):
        raise Refused(f"{given} does not resize {len(axes)} axes")
    positions: dict[int, Array] = {}
    results = dict(enumerate(shape))
    for axis, value in zip(axes, given, strict=True):
        size = shape[axis]
        result = int(value) if scales is None else int(np.floor(size * np.float32(value)))
        scale = result / size if scales is None else float(np.float32(value))
        if result < 1 or result > LARGEST_AXIS:
            raise Refused(f"resizes an axis of {size} to {result}")
        results[axis] = result
        at = source_positions(transformation, size, result, scale)
        if result != size or not np.array_equal(np.clip(at, 0, size - 1), np.arange(size)):
            positions[axis] = at
    mode = node.text("mode", "nearest")
    if tuple(results.values()) == shape:
        positions = {}  # as onnxruntime does: where no size changes, a scale of 1.1 copies
    if 0 in positions:
        raise Refused("resizes the batch axis")
    if mode == "nearest":
        if nearest not in NEAREST:
            raise Refused(f"nearest_mode {nearest!r} is unknown")
        tensor = node.tensor()
        for axis, at in positions.items():
            # Positions that are whole but for rounding errors of the scale stay whole.
            whole = np.round(at)
            at = np.where(np.abs(at - whole) < 1e-6 * (1 + np.abs(at)), whole, at)
            rounded = np.clip(NEAREST[nearest](at), 0, shape[axis] - 1)
            tensor = select(node, tensor, axis, rounded.astype(np.int64).tolist())
        return tensor
    if mode in ("linear", "bilinear"):
        return _linear(node, positions)
    raise Refused(f"mode {mode!r} is not supported; nearest and linear are")


def _linear(node: OnnxNode, positions: Mapping[int, Array]) -> str:
    """Interpolation along up to two axes, whatever they are."""
    shape, tensor = node.shape(), node.tensor()
    ways = {axis: Interpolation.at(at, shape[axis]) for axis, at in positions.items()}
    for axis in [axis for axis, way in ways.items() if not any(way.fraction)]:
        tensor = select(node, tensor, axis, ways.pop(axis).low)
    shape = node.shape_of(tensor)
    if not ways:
        return tensor
    if len(ways) > 2:
        raise Refused(f"interpolates along {len(ways)} axes; up to 2 are supported")
    changed = sorted(ways)
    rest = [axis for axis in range(1, len(shape)) if axis not in changed]
    order = (0, *changed, *rest)
    moved = node.transpose(tensor, order)
    before = node.shape_of(moved)
    # A single axis is the width of an image of one row.
    height, width = (1, *(shape[axis] for axis in changed))[-2:]
    one_row = Interpolation((0,), (0,), (0.0,))
    rows, columns = (one_row, *(ways[axis] for axis in changed))[-2:]
    image = node.reshape(moved, (1, height, width, int(np.prod(before)) // (height * width)))
    resized = node.emit(ResizeLinear(rows, columns), image)
    after = tuple(len(ways[axis].low) if axis in ways else shape[axis] for axis in order)
    back = tuple(int(axis) for axis in np.argsort(order))
    return node.transpose(node.reshape(resized, after), back)
