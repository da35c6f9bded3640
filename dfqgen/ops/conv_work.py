"""How much work a convolution is, in the quantities that its kernels' times may depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work

if TYPE_CHECKING:
    from dfqgen.ops.conv import QConv2D


def convolution_work(op: QConv2D, x: QTensor, output: QTensor) -> Work:
    """Of a dense or grouped convolution: as matrix products, tile by tile."""
    rows, columns, channels = output.shape[1:]
    pixels, pairs = rows * columns, -(-rows * columns // 2)
    depth = int(np.prod(op.weight.shape[1:]))
    blocks = -(-channels // 4)
    whole_words = op.weight.shape[3] % 4 == 0
    strip_pixels = rows * x.shape[2] * op.kernel[0]
    return {
        "mac": float(op.macs(output)),
        "window_row": float(pixels * op.kernel[0] * op.groups),
        "window_byte": float(pixels * depth * op.groups),
        "odd_window_byte": 0.0 if whole_words else float(pixels * depth * op.groups),
        "strip_pixel": float(strip_pixels),
        "strip_vector": float(strip_pixels * -(-x.shape[3] // 16)),
        "strip_row": float(rows * op.kernel[0]),
        "pair": float(pairs),
        "tile": float(pairs * blocks),
        "tile_mac": float(pairs * 2 * blocks * 4 * _round_up(depth, 4)),
        "row_tile": float(rows * -(-columns // 2) * blocks),
        "row_step": float(rows * -(-columns // 2) * blocks * -(-depth // 16)),
        "pair_step": float(rows * (columns // 2) * blocks * -(-depth // 16)),
        "odd_step": float(rows * (columns % 2) * blocks * -(-depth // 16)),
        "block": float(blocks),
    }


def depthwise_work(op: QConv2D, x: QTensor, output: QTensor) -> Work:
    """Of a depthwise convolution: channel by channel, in blocks of rows and columns."""
    rows, columns, channels = output.shape[1:]
    bands = -(-rows // 2)
    pairs = columns // 2 if op.kernel == (3, 3) and op.dilation[1] == 1 else 0
    single = float(rows * (columns - 2 * pairs) * channels)
    return {
        "pair_3x3": float(rows * pairs * channels),
        "single": single,
        "single_tap": single * float(np.prod(op.kernel)),
        "mac": float(op.macs(output)),
        "row_channel": float(rows * channels),
        "window_row": float(output.elements * op.kernel[0]),
        "strip_byte": float(rows * x.shape[2] * channels * op.kernel[0]),
        "strip_pixel": float(rows * x.shape[2] * op.kernel[0] * -(-channels // 16)),
        "band_channel": float(bands * channels),
        "band_strip_byte": float((bands + 1) * x.shape[2] * channels),
        "band_strip_pixel": float(bands * x.shape[2] * -(-channels // 16)),
        "tile_2x2": float(bands * -(-columns // 2) * channels),
        "tile_2x4": float(bands * -(-columns // 4) * channels),
        "tile_1x8": float(rows * -(-columns // 8) * channels),
    }


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
