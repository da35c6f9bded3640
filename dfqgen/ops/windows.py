"""Sliding windows over channels-last tensors, shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.rows import RowWindow, common_axis
from dfqgen.graph.ir import Array, Border

CACHED_ELEMENTS = 1 << 15
LARGEST_COLUMNS = 1 << 26
"""Elements of the matrix that a convolution is multiplied as: half a gigabyte of float64 at once."""


class Pads(NamedTuple):
    """Rows and columns added around an image; never negative."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def turned(self) -> Pads:
        """Where height and width have changed places."""
        return Pads(self.left, self.top, self.right, self.bottom)


NO_PADS = Pads(0, 0, 0, 0)


def within_rows(pads: Pads, axis: int) -> Pads:
    """Those that do not add to the rows, which lie along `axis`."""
    return Pads(0, pads.left, 0, pads.right) if axis == 1 else Pads(pads.top, 0, pads.bottom, 0)


def window_rows(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: Pads,
    padding: int,
) -> RowWindow | None:
    """How a window goes over rows, from an image of the first shape to one of the second."""
    axis = common_axis(*shapes)
    if axis is None:
        return None
    before, after = pads[axis - 1], pads[axis + 1]
    extent = dilation[axis - 1] * (kernel[axis - 1] - 1) + 1
    return RowWindow(extent, stride[axis - 1], before, padding if before or after else None)


def joined_pads(border: Border, own: Pads, kernel: tuple[int, int], dilation: tuple[int, int]) -> Pads | None:
    """A border around height and width of [N,H,W,C] and a window's own padding as one padding.

    None where the border is elsewhere too, or where some windows would hold padding alone, which kernels
    need not handle.
    """
    before, after = border.before, border.after
    if len(before) != 4 or before[3] or after[3]:
        return None
    pads = Pads(*(a + b for a, b in zip((before[1], before[2], after[1], after[2]), own, strict=True)))
    reach = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    wide = max(pads.top, pads.bottom) > reach[0] or max(pads.left, pads.right) > reach[1]
    return None if wide else pads


def output_size(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output positions along one axis (ONNX Conv, ceil_mode 0)."""
    reach = dilation * (kernel - 1) + 1
    return (size + before + after - reach) // stride + 1


def window_output(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: Pads,
) -> tuple[int, int]:
    """Output height and width; ValueError when the window does not fit."""
    height = output_size(image[0], kernel[0], stride[0], dilation[0], pads.top, pads.bottom)
    width = output_size(image[1], kernel[1], stride[1], dilation[1], pads.left, pads.right)
    if height < 1 or width < 1:
        raise ValueError(f"a {kernel[0]}x{kernel[1]} window does not fit a {image[0]}x{image[1]} image")
    return height, width


def check_window(
    name: str,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: Pads,
) -> tuple[int, int]:
    """Output height and width over x [N,H,W,C] of this shape; ProgramError when that cannot be."""
    if len(shape) != 4:
        raise ProgramError(f"{name}: {shape} is no image [N, H, W, C]")
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0:
        geometry = f"kernel {kernel}, stride {stride}, dilation {dilation}, {pads}"
        raise ProgramError(f"{name}: {geometry} are no window")
    try:
        return window_output((shape[1], shape[2]), kernel, stride, dilation, pads)
    except ValueError as error:
        raise ProgramError(f"{name}: {error}") from None


def pad_image(x: Array, pads: Pads, value: float) -> Array:
    """x [N,H,W,C] with a constant border."""
    if pads == NO_PADS:
        return x
    border = ((0, 0), (pads.top, pads.bottom), (pads.left, pads.right), (0, 0))
    return np.pad(x, border, constant_values=value)


def taps(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> list[list[Array]]:
    """Views [N,OH,OW,C] of padded x, one a kernel position: taps[i][j] is what weight (i, j) meets."""
    height = output_size(x.shape[1], kernel[0], stride[0], dilation[0], 0, 0)
    width = output_size(x.shape[2], kernel[1], stride[1], dilation[1], 0, 0)
    return [
        [
            x[
                :,
                i * dilation[0] : i * dilation[0] + (height - 1) * stride[0] + 1 : stride[0],
                j * dilation[1] : j * dilation[1] + (width - 1) * stride[1] + 1 : stride[1],
            ]
            for j in range(kernel[1])
        ]
        for i in range(kernel[0])
    ]


def convolve(
    x: Array, weight: Array, stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> Array:
    """Convolution without padding or bias: x [N,H,W,Cin], weight [Cout,kh,kw,Cin/groups] -> [N,OH,OW,Cout].

    Integers in floating point come out exact while no partial sum exceeds the mantissa.
    """
    out_channels, kh, kw, group_in = weight.shape
    if group_in == 1 and groups == out_channels:
        return _depthwise(taps(x, (kh, kw), stride, dilation), weight[..., 0])
    if groups == 1:
        views = [view for row in taps(x, (kh, kw), stride, dilation) for view in row]
        return _product(views, weight.reshape(out_channels, -1).T)
    per_group = out_channels // groups
    parts = [
        convolve(
            x[..., g * group_in : (g + 1) * group_in],
            weight[g * per_group : (g + 1) * per_group],
            stride,
            dilation,
            1,
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=-1)


def _product(views: list[Array], matrix: Array) -> Array:
    """The views [N,OH,OW,Cin] side by side, times matrix [taps * Cin, Cout]."""
    samples, height, width, _ = views[0].shape
    if samples > 1 and samples * height * width * matrix.shape[0] > LARGEST_COLUMNS:
        return np.concatenate([_product([v[n : n + 1] for v in views], matrix) for n in range(samples)])
    rows = height if samples > 1 else max(1, LARGEST_COLUMNS // (width * matrix.shape[0]))
    parts = []
    for top in range(0, height, rows):
        blocks = [view[:, top : top + rows] for view in views]
        columns = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)
        # One product of two matrices: with more axes numpy would multiply row by row of the image.
        product = columns.reshape(-1, columns.shape[-1]) @ matrix
        parts.append(product.reshape(*columns.shape[:-1], matrix.shape[1]))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _depthwise(views: list[list[Array]], weight: Array) -> Array:
    """Sum of views [N,OH,OW,C] times weight [C,kh,kw], a few rows at a time so that these stay in cache."""
    samples, height, width, channels = views[0][0].shape
    result = np.zeros((samples, height, width, channels), views[0][0].dtype)
    factors = _along_rows(weight, width)
    for n, rows in _cached_rows(result.shape):
        total = result[n, rows]
        term = np.empty_like(total)
        for line, line_factors in zip(views, factors, strict=True):
            for view, factor in zip(line, line_factors, strict=True):
                np.multiply(view[n, rows], factor, out=term)
                total += term
    return result


def spread_depthwise(values: Array, weight: Array, views: list[list[Array]]) -> None:
    """The transpose of a depthwise convolution: values [N,OH,OW,C] times weight [C,kh,kw] onto the views."""
    factors = _along_rows(weight, values.shape[2])
    for n, rows in _cached_rows(values.shape):
        term = np.empty_like(values[n, rows])
        for line, line_factors in zip(views, factors, strict=True):
            for view, factor in zip(line, line_factors, strict=True):
                view[n, rows] += np.multiply(values[n, rows], factor, out=term)


def _along_rows(weight: Array, width: int) -> list[list[Array]]:
    """Each tap of weight [C,kh,kw] repeated over a row, [OW,C]: numpy then multiplies whole rows at once."""
    _, kh, kw = weight.shape
    return [[np.repeat(weight[None, :, i, j], width, axis=0) for j in range(kw)] for i in range(kh)]


def _cached_rows(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Sample by sample [N,H,W,C] and a few rows at a time."""
    samples, height, width, channels = shape
    count = max(1, CACHED_ELEMENTS // (width * channels))
    for n in range(samples):
        for top in range(0, height, count):
            yield n, slice(top, top + count)
