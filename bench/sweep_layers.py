"""The layers of bench/sweep.py: what small networks are made of, and what they rarely are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cost_cases import TYPE, Case, Pair, convolution
from single_layers import sum_case

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Requantize
from dfqgen.ops.multiply import QMul
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.softmax import PROBABILITY, QSoftmax, exponentials
from dfqgen.ops.windows import NO_PADS, Pads, window_output

Convolution = tuple[Pair, Pair, Pair, Pair, Pair, int]
"""Image, channels in and out, kernel, stride, dilation, groups."""


def _plain(image: Pair, channels: Pair, kernel: Pair, stride: int = 1, dilation: int = 1) -> Convolution:
    return image, channels, kernel, (stride, stride), (dilation, dilation), 1


def _depthwise(
    image: Pair, channels: int, kernel: Pair, stride: int = 1, dilation: int = 1, multiplier: int = 1
) -> Convolution:
    out = channels * multiplier
    return image, (channels, out), kernel, (stride, stride), (dilation, dilation), channels


CONVOLUTIONS: tuple[Convolution, ...] = (
    # 1x1, also to one and two channels, odd ones, and with a stride.
    *(
        _plain(image, channels, (1, 1), stride)
        for image, channels, stride in [
            ((24, 24), (16, 32), 1), ((24, 24), (64, 64), 1), ((6, 6), (128, 128), 1), ((48, 48), (8, 16), 1),
            ((12, 12), (32, 1), 1), ((12, 12), (64, 2), 1), ((7, 7), (13, 19), 1), ((16, 16), (32, 64), 2),
        ]
    ),
    # 3x3, also of one and three channels, odd ones, strides, dilations.
    *(
        _plain(image, channels, (3, 3), stride, dilation)
        for image, channels, stride, dilation in [
            ((32, 32), (3, 16), 1, 1), ((32, 32), (16, 16), 1, 1), ((16, 16), (32, 32), 1, 1),
            ((8, 8), (64, 64), 1, 1), ((24, 24), (1, 8), 1, 1), ((15, 13), (12, 20), 1, 1),
            ((9, 9), (5, 7), 1, 1), ((32, 32), (16, 32), 2, 1), ((96, 96), (3, 8), 2, 1),
            ((48, 48), (1, 8), 2, 1), ((9, 9), (6, 10), 2, 1), ((16, 16), (16, 16), 1, 2),
        ]
    ),
    # Other windows.
    *(
        _plain(image, channels, kernel, stride)
        for image, channels, kernel, stride in [
            ((16, 16), (8, 16), (5, 5), 1), ((32, 32), (3, 16), (7, 7), 2), ((49, 10), (1, 64), (10, 4), 2),
            ((12, 12), (16, 16), (2, 2), 2),
        ]
    ),
    # Along one axis.
    ((1, 128), (16, 32), (1, 9), (1, 1), (1, 1), 1),
    ((1, 256), (8, 16), (1, 3), (1, 1), (1, 1), 1),
    ((1, 64), (64, 64), (1, 3), (1, 1), (1, 1), 1),
    ((98, 1), (32, 32), (3, 1), (1, 1), (1, 1), 1),
    ((1, 124), (40, 64), (1, 3), (1, 2), (1, 1), 1),
    ((1, 128), (16, 16), (1, 3), (1, 1), (1, 4), 1),
    # Groups.
    *(
        (image, channels, kernel, (1, 1), (1, 1), groups)
        for image, channels, kernel, groups in [
            ((16, 16), (32, 32), (3, 3), 4), ((8, 8), (64, 64), (3, 3), 2), ((12, 12), (64, 64), (1, 1), 8),
            ((8, 8), (24, 24), (3, 3), 3),
        ]
    ),
    # Depthwise 3x3 of both strides, 5x5, 7x7, dilated, along one axis, and with two filters a channel.
    *(
        _depthwise(image, channels, (3, 3), stride)
        for image, channels, stride in [
            ((24, 24), 64, 1), ((48, 48), 8, 1), ((6, 6), 128, 1), ((3, 3), 256, 1), ((25, 5), 64, 1),
            ((9, 9), 20, 1), ((7, 10), 13, 1), ((24, 24), 64, 2), ((48, 48), 16, 2), ((6, 6), 128, 2),
            ((9, 9), 20, 2),
        ]
    ),
    _depthwise((12, 12), 32, (5, 5)),
    _depthwise((24, 24), 16, (5, 5), 2),
    _depthwise((16, 16), 16, (7, 7)),
    _depthwise((16, 16), 32, (3, 3), 1, 2),
    _depthwise((1, 128), 32, (1, 3)),
    _depthwise((1, 100), 24, (1, 9)),
    _depthwise((16, 16), 16, (3, 3), 1, 1, 2),
    # Fully connected.
    *(
        _plain((1, 1), channels, (1, 1))
        for channels in [(640, 128), (128, 128), (128, 10), (64, 12), (256, 2), (33, 17), (1024, 64)]
    ),
)  # fmt: skip

POOLS = (
    ("max", (32, 32), 16, 2, 2), ("max", (16, 16), 32, 3, 2), ("max", (12, 12), 7, 2, 2),
    ("average", (8, 8), 64, 8, 8), ("average", (16, 16), 16, 2, 2), ("average", (7, 7), 40, 7, 7),
)  # fmt: skip
SHAPES = ((32, 32, 16), (8, 8, 64), (5, 5, 7))
CLASSES = (2, 10, 100, 1000)


def sweep() -> list[tuple[str, Case]]:
    """Every layer with its description, always the same ones."""
    rng = np.random.default_rng(0)
    return [*_convolutions(rng), *_pools(), *_elementwise(), *_softmaxes()]


def _convolutions(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    for number, (image, channels, kernel, stride, dilation, groups) in enumerate(CONVOLUTIONS):
        pads = _same(image, kernel, stride, dilation)
        case = convolution(
            rng, f"c{number}", image, channels, kernel, stride, pads, groups=groups, dilation=dilation
        )
        yield _text(image, channels, kernel, stride, dilation, groups), case


def _same(image: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """Output size = input size / stride, rounded up; the odd pad after."""
    total = [
        max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        for n, k, s, d in zip(image, kernel, stride, dilation, strict=True)
    ]
    return Pads(total[0] // 2, total[1] // 2, -(-total[0] // 2), -(-total[1] // 2))


def _text(image: Pair, channels: Pair, kernel: Pair, stride: Pair, dilation: Pair, groups: int) -> str:
    size = "x".join(map(str, (*image, channels[0])))
    if image == (1, 1):
        return f"fully connected, {channels[0]} to {channels[1]}"
    depthwise = groups > 1 and groups == channels[0]
    parts = [f"{'depthwise ' if depthwise else ''}{kernel[0]}x{kernel[1]}"]
    parts += [f"{groups} groups"] if groups > 1 and not depthwise else []
    parts += [f"stride {max(stride)}"] if stride != (1, 1) else []
    parts += [f"dilation {max(dilation)}"] if dilation != (1, 1) else []
    same = depthwise and channels[0] == channels[1]
    return f"{', '.join(parts)}, {size}" + ("" if same else f" to {channels[1]}")


def _pools() -> Iterator[tuple[str, Case]]:
    for number, (kind, image, channels, kernel, stride) in enumerate(POOLS):
        sides, steps = (kernel, kernel), (stride, stride)
        size = window_output(image, sides, steps, (1, 1), NO_PADS)
        x = QTensor(f"p{number}_x", (1, *image, channels), TYPE)
        y = QTensor(f"p{number}_y", (1, *size, channels), TYPE)
        name = f"p{number}"
        text = f"{kind} pool {kernel}x{kernel}, stride {stride}, {image[0]}x{image[1]}x{channels}"
        if kind == "max":
            yield text, Case(QMaxPool(name, (x.name,), y.name, sides, steps, (1, 1), NO_PADS), (x,), y)
            continue
        form = Requantize.from_scale(np.full(size[0] * size[1], 1.0 / kernel**2), 0, 0, 0)
        lo, hi = np.full(channels, -128), np.full(channels, 127)
        op = QAveragePool(
            name, (x.name,), y.name, sides, steps, NO_PADS, -3,
            form.multiplier.reshape(size), form.pre_shift, -3, lo, hi,
        )  # fmt: skip
        yield text, Case(op, (x,), y)


def _elementwise() -> Iterator[tuple[str, Case]]:
    for number, shape in enumerate(SHAPES):
        text = "x".join(map(str, shape))
        yield f"sum, {text}", sum_case(f"s{number}", (1, *shape))
        a, b, y = (QTensor(f"m{number}_{which}", (1, *shape), TYPE) for which in "aby")
        op = QMul(f"m{number}", (a.name, b.name), y.name, (-3, -3), 20000, 20, -3, -128, 127)
        yield f"product, {text}", Case(op, (a, b), y)


def _softmaxes() -> Iterator[tuple[str, Case]]:
    for number, classes in enumerate(CLASSES):
        x = QTensor(f"e{number}_x", (1, classes), TYPE)
        y = QTensor(f"e{number}_y", (1, classes), PROBABILITY)
        _, table = exponentials(TYPE.scale, classes)
        yield f"softmax, {classes}", Case(QSoftmax(f"e{number}", (x.name,), y.name, 1, table), (x,), y)
