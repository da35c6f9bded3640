"""How much work a layer is, in the quantities that a kernel's time may depend on: for cost tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.pool import QAveragePool, QMaxPool

Work = dict[str, float]


def work_of(op: QOp, inputs: Sequence[QTensor], output: QTensor) -> Work:
    """Counts by name. A cost table gives a kernel instructions for a few of them; the rest cost nothing.

    `tile_` counts are rounded up to blocks of pixels, channels and depth that kernels work in, so that
    what a block wastes at the edge of a small layer counts.
    """
    work: Work = {"call": 1.0, "output": float(output.elements)}
    if len(output.shape) == 4:
        work |= {"row": float(output.shape[1]), "pixel": float(output.shape[1] * output.shape[2])}
    if len(inputs) == 1:
        work["input"] = float(inputs[0].elements)
    if isinstance(op, QConv2D):
        form = op.requantize
        if np.any(form.lo > -128) or np.any(form.hi < 127):
            work["narrow_output"] = float(output.elements)
        work |= (_depthwise if op.depthwise else _convolution)(op, inputs[0], output)
    elif isinstance(op, QAveragePool | QMaxPool):
        pixels, window = output.shape[1] * output.shape[2], op.kernel[0] * op.kernel[1]
        vectors = -(-output.shape[3] // 16)
        work |= {
            "window_row": float(output.elements * op.kernel[0]),
            "tap": float(output.elements * window),
            "pixel_tap": float(pixels * window),
            "vector": float(pixels * vectors),
            "vector_tap": float(pixels * window * vectors),
        }
    return work


def _convolution(op: QConv2D, x: QTensor, output: QTensor) -> Work:
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


def _depthwise(op: QConv2D, x: QTensor, output: QTensor) -> Work:
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
