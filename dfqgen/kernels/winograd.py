"""Winograd's F(2x2, 3x3) in integers: transformed weights, the proof, and the order in memory.

A tile of 2x2 outputs of a 3x3 convolution takes 16 products an input channel, not 36 (Lavin and Gray, "Fast
algorithms for convolutional neural networks", 2016, 4.1). With the weights' transform doubled in both
directions all of it is integers, and the result is four times the convolution's sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX, QTensor, Work
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels import overlap
from dfqgen.kernels.base import Field, Kernel
from dfqgen.ops.conv import QConv2D

POSITIONS = 16
"""Products of a tile."""
FACTOR = 4
"""The sums of the products are so many times the convolution's."""
BLOCK = 4
"""Output channels made together."""
GROUP_BYTES = 36
"""Of transformed inputs, at one position: those of a group of channels and two tiles, and a mark."""
PAIR, WINDOW = (2, 4), (4, 6)
"""Rows and columns of outputs that two tiles make, and of the inputs they read."""

_DOUBLED_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int64)


def is_winograd_layer(op: QConv2D) -> bool:
    """3x3, stride 1, dense, over words of four channels."""
    return (
        op.kernel == (3, 3)
        and op.stride == (1, 1)
        and op.dilation == (1, 1)
        and op.groups == 1
        and op.weight.shape[3] % 4 == 0
    )


def is_exact(largest: Array) -> bool:
    """Whether four times a sum fits int32; `largest` [Cout] bounds |any partial sum|.

    Kernels add modulo 2**32, so that intermediate sums may wrap. Transformed int8 inputs are at most 512 and
    weights at most 1152: int16 holds them always.
    """
    return bool(np.all(FACTOR * largest <= INT32_MAX))


def transformed(weight: Array) -> Array:
    """Weights [Cout, 3, 3, Cin] as int64 [Cout, 16, Cin], rows of a tile first."""
    out_channels, _, _, in_channels = weight.shape
    both = np.einsum("ik,okly,jl->oijy", _DOUBLED_G, weight.astype(np.int64), _DOUBLED_G)
    return both.reshape(out_channels, POSITIONS, in_channels)


def transformed_bytes(op: QConv2D, group: int) -> int:
    """Flash of int16 weights in groups of input and blocks of output channels, with bias and multiplier: 3.56
    times the weights, or more."""
    inputs, outputs = _round_up(op.weight.shape[3], group), _round_up(op.out_channels, BLOCK)
    return 2 * POSITIONS * inputs * outputs + 8 * outputs


def winograd_scratch_bytes(op: QConv2D, column_bytes: int) -> int:
    """Transformed inputs; then the inputs of a pair of tiles, or its sums and outputs (dfq_winograd.h)."""
    sums_bytes, pixels = 4 * POSITIONS * 2 * BLOCK, PAIR[0] * PAIR[1]
    aside_bytes = pixels * _round_up(op.out_channels, BLOCK)
    return column_bytes + max(sums_bytes + aside_bytes, WINDOW[0] * WINDOW[1] * op.weight.shape[3])


def shape_field(op: QConv2D, x: QTensor, output: QTensor) -> Field:
    """The member `shape` of a descriptor (dfq_winograd_shape_t)."""
    names = ("height", "width", "channels")
    sizes = [Field(f"in_{name}", size) for name, size in zip(names, x.shape[1:], strict=True)]
    sizes += [Field(f"out_{name}", size) for name, size in zip(names, output.shape[1:], strict=True)]
    pads = (Field("pad_top", op.pads.top), Field("pad_left", op.pads.left), Field("pad_value", op.pad_value))
    return Field("shape", (*sizes, *pads))


def pair_lead_bytes(op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
    """Overlap lead of a kernel that makes pairs of tiles in raster order, each after it read its inputs."""
    x = inputs[0]
    height, width = output.shape[1:3]
    first = overlap.window_first_reads(x.shape[1:3], (height, width), op.stride, op.pads)
    rows, columns = np.arange(0, height, PAIR[0]), np.arange(0, width, PAIR[1])
    starts = first.reshape(height, width)[np.ix_(rows, columns)].reshape(-1)
    last_rows, last_columns = np.minimum(rows + PAIR[0], height) - 1, np.minimum(columns + PAIR[1], width)
    ends = (last_rows[:, None] * width + last_columns[None, :]).reshape(-1)
    needed = np.minimum.accumulate(starts[::-1])[::-1][1:]  # by any later pair
    leads = ends[:-1] * output.shape[3] - needed * x.shape[3]
    return max(0, int(leads.max(initial=0)))


def winograd_work(all_work: Work, op: QConv2D, x: QTensor, output: QTensor, group: int) -> Work:
    """Counts of pairs of tiles, and of the blocks of channels at each; `all_work` is the operator's own."""
    rows, columns = output.shape[1:3]
    tall, wide = -(-rows // PAIR[0]), -(-columns // PAIR[1])
    pairs, blocks = tall * wide, -(-op.out_channels // BLOCK)
    inside = _inside(tall, PAIR[0], op.pads.top, x.shape[1], WINDOW[0])
    inside *= _inside(wide, PAIR[1], op.pads.left, x.shape[2], WINDOW[1])
    whole = (rows // PAIR[0]) * (columns // PAIR[1]) if op.out_channels % BLOCK == 0 else 0
    own = {
        "tile_pair": float(pairs),
        "pair_input": float(pairs * x.shape[3]),
        "pair_output": float(pairs * op.out_channels),
        "pair_block": float(pairs * blocks),
        "pair_block_group": float(pairs * blocks * -(-x.shape[3] // group)),
        "patch_byte": float((pairs - inside) * x.shape[3] * WINDOW[0] * WINDOW[1]),
        "aside_byte": float((pairs - whole) * op.out_channels * PAIR[0] * PAIR[1]),
    }
    kept = ("call", "output", "narrow_output")
    return {name: count for name, count in all_work.items() if name in kept} | own


def _inside(count: int, step: int, pad: int, size: int, reach: int) -> int:
    """How many of `count` windows `reach` long, `step` apart from -pad on, lie in [0, size)."""
    starts = np.arange(count) * step - pad
    return int(np.count_nonzero((starts >= 0) & (starts + reach <= size)))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class WinogradKernel(Kernel[QConv2D]):
    """What kernels of pairs of tiles share; `group` input channels lie between two marks."""

    op = QConv2D
    spends_flash = True
    group: int

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return winograd_scratch_bytes(op, POSITIONS * GROUP_BYTES * -(-op.weight.shape[3] // self.group))

    def flash_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        return transformed_bytes(op, self.group)

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return pair_lead_bytes(op, inputs, output)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return winograd_work(super().work(op, inputs, output), op, inputs[0], output, self.group)
