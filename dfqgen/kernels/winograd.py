"""Winograd's F(2x2, 3x3) and F(2, 3) in integers: transformed weights, the proof, and the order in memory.

A tile of 2x2 outputs of a 3x3 convolution takes 16 products an input channel, not 36, and one of two outputs
of a 1x3 one 4, not 6 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, 4.1). With
the weights' transform doubled in each direction all of it is integers, and the result is four times, or
twice, the convolution's sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX, QTensor, Work
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels import overlap
from dfqgen.kernels.base import Field, Kernel
from dfqgen.kernels.rewritten import Layer, RewrittenKernel
from dfqgen.ops.conv import QConv2D

BLOCK = 4
"""Output channels made together."""
GROUP_BYTES = 36
"""Of transformed inputs, at one position: those of a group of channels and two tiles, and a mark."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Two tiles of outputs for one kernel.

    `pair`: rows and columns of outputs that they make; `window`: of the inputs they read. A tile takes a
    product at each of its `positions`; the sums are `factor` times the convolution's.
    """

    kernel: tuple[int, int]
    pair: tuple[int, int]
    window: tuple[int, int]
    positions: int
    factor: int


SQUARE = Tiles((3, 3), (2, 4), (4, 6), 16, 4)
LINE = Tiles((1, 3), (1, 4), (1, 6), 4, 2)

_DOUBLED_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int64)
_TRANSFORMS = {1: np.ones((1, 1), np.int64), 3: _DOUBLED_G}
"""Of weights, by their number in one direction."""


def is_winograd_layer(op: QConv2D, tiles: Tiles) -> bool:
    """Of the tiles' kernel, stride 1, dense, over words of four channels."""
    return (
        op.kernel == tiles.kernel
        and op.stride == (1, 1)
        and op.dilation == (1, 1)
        and op.groups == 1
        and op.weight.shape[3] % 4 == 0
    )


def is_exact(largest: Array, tiles: Tiles) -> bool:
    """Whether `tiles.factor` times a sum fits int32; `largest` [Cout] bounds |any partial sum|.

    Kernels add modulo 2**32, so that intermediate sums may wrap. Transformed int8 inputs are at most 512 and
    weights at most 1152 (in one direction 256 and 384): int16 holds them always.
    """
    return bool(np.all(tiles.factor * largest <= INT32_MAX))


def transformed(weight: Array) -> Array:
    """Weights [Cout, 3 or 1, 3, Cin] as int64 [Cout, positions, Cin], rows of a tile first."""
    out_channels, height, width, in_channels = weight.shape
    rows, columns = _TRANSFORMS[height], _TRANSFORMS[width]
    both = np.einsum("ik,okly,jl->oijy", rows, weight.astype(np.int64), columns)
    return both.reshape(out_channels, -1, in_channels)


def shape_field(op: QConv2D, x: QTensor, output: QTensor) -> Field:
    """The member `shape` of a descriptor (dfq_winograd_shape_t)."""
    names = ("height", "width", "channels")
    sizes = [Field(f"in_{name}", size) for name, size in zip(names, x.shape[1:], strict=True)]
    sizes += [Field(f"out_{name}", size) for name, size in zip(names, output.shape[1:], strict=True)]
    pads = (Field("pad_top", op.pads.top), Field("pad_left", op.pads.left), Field("pad_value", op.pad_value))
    return Field("shape", (*sizes, *pads))


def pair_lead_bytes(op: QConv2D, inputs: Sequence[QTensor], output: QTensor, pair: tuple[int, int]) -> int:
    """Overlap lead of a kernel that makes pairs of tiles in raster order, each after it read its inputs."""
    x = inputs[0]
    height, width = output.shape[1:3]
    first = overlap.window_first_reads(x.shape[1:3], (height, width), op.stride, op.pads)
    rows, columns = np.arange(0, height, pair[0]), np.arange(0, width, pair[1])
    starts = first.reshape(height, width)[np.ix_(rows, columns)].reshape(-1)
    last_rows, last_columns = np.minimum(rows + pair[0], height) - 1, np.minimum(columns + pair[1], width)
    ends = (last_rows[:, None] * width + last_columns[None, :]).reshape(-1)
    needed = np.minimum.accumulate(starts[::-1])[::-1][1:]  # by any later pair
    leads = ends[:-1] * output.shape[3] - needed * x.shape[3]
    return max(0, int(leads.max(initial=0)))


def winograd_work(all_work: Work, op: QConv2D, x: QTensor, output: QTensor, tiles: Tiles, group: int) -> Work:
    """Counts of pairs of tiles, and of the blocks of channels at each; `all_work` is the operator's own."""
    (pair_rows, pair_columns), (window_rows, window_columns) = tiles.pair, tiles.window
    rows, columns = output.shape[1:3]
    tall, wide = -(-rows // pair_rows), -(-columns // pair_columns)
    pairs, blocks = tall * wide, -(-op.out_channels // BLOCK)
    inside = _inside(tall, pair_rows, op.pads.top, x.shape[1], window_rows)
    inside *= _inside(wide, pair_columns, op.pads.left, x.shape[2], window_columns)
    whole = (rows // pair_rows) * (columns // pair_columns) if op.out_channels % BLOCK == 0 else 0
    own = {
        "tile_pair": float(pairs),
        "pair_input": float(pairs * x.shape[3]),
        "pair_output": float(pairs * op.out_channels),
        "pair_block": float(pairs * blocks),
        "pair_block_group": float(pairs * blocks * -(-x.shape[3] // group)),
        "patch_byte": float((pairs - inside) * x.shape[3] * window_rows * window_columns),
        "aside_byte": float((pairs - whole) * op.out_channels * pair_rows * pair_columns),
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
    tiles: ClassVar[Tiles]
    group: ClassVar[int]

    def scratch_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        """Transformed inputs; then the inputs of a pair of tiles, or its sums and outputs."""
        tiles, channels = self.tiles, op.weight.shape[3]
        column_bytes = tiles.positions * GROUP_BYTES * -(-channels // self.group)
        sums_bytes = 4 * tiles.positions * 2 * BLOCK
        aside_bytes = tiles.pair[0] * tiles.pair[1] * _round_up(op.out_channels, BLOCK)
        patch_bytes = tiles.window[0] * tiles.window[1] * channels
        return column_bytes + max(sums_bytes + aside_bytes, patch_bytes)

    def flash_bytes(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> int:
        """int16 weights in groups of input and blocks of output channels, with bias and multiplier: 3.56
        times the weights, or more; in one direction 2.67 times.
        """
        inside, outside = _round_up(op.weight.shape[3], self.group), _round_up(op.out_channels, BLOCK)
        return 2 * self.tiles.positions * inside * outside + 8 * outside

    def overlap_lead_bytes(
        self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return pair_lead_bytes(op, inputs, output, self.tiles.pair)

    def work(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return winograd_work(super().work(op, inputs, output), op, inputs[0], output, self.tiles, self.group)


class UprightKernel(RewrittenKernel):
    """Mixed in before a kernel for 1x3: takes 3x1 over images one pixel wide."""

    rows_at_once = LINE.pair[1]

    def applies(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return op.kernel == LINE.kernel[::-1] and inputs[0].shape[2] == output.shape[2] == 1

    def rewritten(self, op: QConv2D, inputs: Sequence[QTensor], output: QTensor) -> Layer:
        laid = replace(
            op, weight=op.weight.transpose(0, 2, 1, 3), stride=op.stride[::-1], dilation=op.dilation[::-1],
            pads=op.pads.turned,
        )  # fmt: skip
        return laid, [_laid(tensor) for tensor in inputs], _laid(output)


def _laid(tensor: QTensor) -> QTensor:
    """[N, H, 1, C] as [N, 1, H, C]."""
    batch, height, width, channels = tensor.shape
    return replace(tensor, shape=(batch, width, height, channels))
