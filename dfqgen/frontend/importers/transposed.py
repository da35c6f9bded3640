"""ConvTranspose, as an ordinary convolution whose channels are interleaved.

Output positions with the same remainder modulo the stride (a phase) are a plain convolution of the input
with every stride-th tap of the kernel. All phases together are one convolution with stride**2 times the
channels, followed by depth to space and, where the kernel is no multiple of the stride, a crop (Shi et al.
2016, "Is the deconvolution layer the same as a convolutional layer?"). So it runs on the convolution
kernels, and every method for convolutions applies to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.frontend.fold import Grid
from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.frontend.importers.selection import select
from dfqgen.frontend.importers.stated import stated_weight
from dfqgen.frontend.importers.windows import check_steps, two
from dfqgen.frontend.limits import LARGEST_AXIS, LARGEST_TENSOR_ELEMENTS
from dfqgen.graph.ir import Array
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.windows import Pads


@dataclass(frozen=True, slots=True)
class Phases:
    """One axis: phase v of result u reads kernel tap taps[v][m] (-1: none) at input u + first + m.

    `count` results of `stride` phases each cover the output from element `crop` on.
    """

    taps: tuple[tuple[int, ...], ...]
    first: int
    count: int
    crop: int

    @property
    def reach(self) -> int:
        return len(self.taps[0])


def phases(kernel: int, stride: int, dilation: int, before: int, result: int) -> Phases:
    """The fewer taps of: phases that start at the output's first element, or at the kernel's with a crop."""
    options = [_phases(kernel, stride, dilation, before - crop, result + crop, crop) for crop in (0, before)]
    return min(options, key=lambda option: (option.reach, option.crop))


def _phases(kernel: int, stride: int, dilation: int, before: int, result: int, crop: int) -> Phases:
    # Output o = stride * u + v takes tap k where (o + before - dilation * k) is stride * (input position).
    found: list[dict[int, int]] = [{} for _ in range(stride)]
    for k in range(kernel):
        v = (dilation * k - before) % stride
        found[v][(v + before - dilation * k) // stride] = k
    places = [m for taps in found for m in taps]
    first, last = min(places), max(places)
    table = tuple(tuple(taps.get(m, -1) for m in range(first, last + 1)) for taps in found)
    return Phases(table, first, -(-result // stride), crop)


@importer("ConvTranspose", batch_first=True)
def conv_transpose(node: OnnxNode) -> str:
    """[N,C,H,W] or [N,C,L]; weight [C,Cout/groups,kh,kw] or [C,Cout/groups,k]."""
    weight = node.weight(1)
    rank = len(node.shape())
    if weight.ndim != rank:
        raise Refused(f"its weight has {weight.ndim} axes, its input {rank}")
    image = node.to_image(node.tensor())
    if rank == 3:
        weight = weight[:, :, None, :]
    groups = node.integer("group", 1)
    _, height, width, in_channels = node.shape_of(image)
    if groups < 1 or weight.shape[0] != in_channels or in_channels % groups:
        raise Refused(f"weight {weight.shape} does not fit {in_channels} channels in {groups} groups")
    channels = weight.shape[1] * groups
    bias = node.weight(2, "bias") if node.has_input(2) else np.zeros(channels, np.float32)
    if bias.shape != (channels,):
        raise Refused(f"its bias has shape {list(bias.shape)}, not [{channels}]")
    kernel = (weight.shape[2], weight.shape[3])
    axes = rank - 2
    stride, dilation = (two(node.integers(name) or (1,) * axes, axes, 1) for name in ("strides", "dilations"))
    check_steps(kernel, stride, dilation)
    before, result = _geometry(node, axes, (height, width), kernel, stride, dilation)
    rows, columns = (phases(kernel[i], stride[i], dilation[i], before[i], result[i]) for i in (0, 1))
    elements = math.prod((rows.reach, columns.reach, *stride, channels, in_channels // groups))
    if elements > LARGEST_TENSOR_ELEMENTS:
        raise Refused(f"strides {stride} make a weight of {elements:,} elements")
    image, pads = _fit(node, image, rows, columns)
    phase_weight = _phase_weights(weight, groups, rows, columns)
    op = Conv2D(
        weight=phase_weight,
        bias=np.repeat(bias.reshape(groups, 1, -1), stride[0] * stride[1], axis=1).ravel(),
        pads=pads,
        groups=groups,
        **stated_weight(phase_weight, _phase_grid(node, rank, groups, rows, columns)),
    )
    node.check_reads(math.prod(op.infer_shape(node.shape_of(image))) * math.prod(op.weight.shape[1:]))
    blocks = node.emit(op, image)
    shape = (1, rows.count, columns.count, groups, *stride, channels // groups)
    moved = node.transpose(node.reshape(blocks, shape), (0, 1, 4, 2, 5, 3, 6))
    whole = node.reshape(moved, (1, rows.count * stride[0], columns.count * stride[1], channels))
    for axis, way, size in ((1, rows, result[0]), (2, columns, result[1])):
        whole = select(node, whole, axis, range(way.crop, way.crop + size))
    return node.from_image(whole, rank)


def _phase_grid(node: OnnxNode, rank: int, groups: int, rows: Phases, columns: Phases) -> Grid | None:
    """The grid of the weight of all phases; 0 where a phase has no tap."""
    grid = node.grid(1)
    if grid is None:
        return None
    scale = grid.scale[:, :, None, :] if rank == 3 else grid.scale
    return replace(grid, scale=_phase_weights(scale, groups, rows, columns))


def _phase_weights(weight: Array, groups: int, rows: Phases, columns: Phases) -> Array:
    """weight [Cin,Cout/g,kh,kw] -> [g * phases * Cout/g, reach_h, reach_w, Cin/g]; missing taps are zeros."""
    in_channels, group_out = weight.shape[:2]
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))  # tap -1 is the added zero
    picked = padded[:, :, np.array(rows.taps)[:, :, None, None], np.array(columns.taps)[None, None]]
    # picked: [Cin, Cout/g, phase_y, reach_h, phase_x, reach_w]
    grouped = picked.reshape(groups, in_channels // groups, group_out, *picked.shape[2:])
    ordered = grouped.transpose(0, 3, 5, 2, 4, 6, 1)
    flat = ordered.reshape(-1, rows.reach, columns.reach, in_channels // groups)
    return np.ascontiguousarray(flat, np.float32)


def _fit(node: OnnxNode, image: str, rows: Phases, columns: Phases) -> tuple[str, Pads]:
    """The image and the pads with which the phases' windows start where they should; cropped if they must."""
    pads = []
    for axis, way in ((1, rows), (2, columns)):
        size = node.shape_of(image)[axis]
        low, high = -way.first, way.count - 1 + way.first + way.reach - size
        if low < 0 or high < 0:
            image = select(node, image, axis, range(max(0, -low), size - max(0, -high)))
        pads.append((max(0, low), max(0, high)))
    return image, Pads(pads[0][0], pads[1][0], pads[0][1], pads[1][1])


def _geometry(
    node: OnnxNode,
    axes: int,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding before, and output size, of both axes."""
    extra = two(node.integers("output_padding") or (0,) * axes, axes, 0)
    full = [
        s * (n - 1) + e + d * (k - 1) + 1
        for n, k, s, d, e in zip(image, kernel, stride, dilation, extra, strict=True)
    ]
    if max(full) > LARGEST_AXIS or min(extra) < 0:
        raise Refused(f"gives an image of {full}; up to {LARGEST_AXIS:,} a side are supported")
    mode = node.text("auto_pad", "NOTSET")
    stated = node.integers("output_shape")
    wanted = None if stated is None else two(stated[-axes:], axes, 1)
    if stated is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        same = image[0] * stride[0], image[1] * stride[1]
        if any(f < w for f, w in zip(full, same, strict=True)):
            raise Refused(f"has auto_pad {mode}, but its kernel leaves gaps; state output_shape in its place")
        wanted = same
    if wanted is not None:
        if min(wanted) < 1 or max(wanted) > LARGEST_AXIS:
            raise Refused(f"gives an image of {list(wanted)}; up to {LARGEST_AXIS:,} a side are supported")
        totals = [max(0, f - w) for f, w in zip(full, wanted, strict=True)]
        halves = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in totals]
        return (halves[0], halves[1]), wanted
    values = node.integers("pads") or (0,) * (2 * axes)
    if mode == "VALID":
        values = (0,) * (2 * axes)
    if len(values) != 2 * axes or min(values) < 0:
        raise Refused(f"pads {values} do not fit {axes} spatial axes")
    before, after = two(values[:axes], axes, 0), two(values[axes:], axes, 0)
    result = tuple(f - b - a for f, b, a in zip(full, before, after, strict=True))
    if min(result) < 1:
        raise Refused(f"gives an image of {list(result)}")
    return before, (result[0], result[1])
