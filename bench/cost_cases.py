"""The layers on which bench/cost_table.py measures kernels: shapes of small networks, and odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.ops.add import QAdd
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.multiply import QMul
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.softmax import PROBABILITY, QSoftmax, exponentials
from dfqgen.ops.windows import NO_PADS, Pads, window_output

TYPE = QType(IntType.INT8, 0.05, -3)
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An operator with the types of its tensors. Names are unique."""

    op: QOp
    inputs: tuple[QTensor, ...]
    output: QTensor


def cases(*, power_of_two: bool) -> list[Case]:
    """Every case, always the same ones. `power_of_two`: scales are shifts."""
    rng = np.random.default_rng(0)
    return [*_convolutions(rng, power_of_two), *_others(rng)]


def _convolutions(rng: np.random.Generator, power_of_two: bool) -> Iterator[Case]:
    number = 0

    def case(
        image: Pair, channels: Pair, kernel: Pair, stride: int = 1, *, groups: int = 1, padded: bool = True
    ) -> Case:
        nonlocal number
        number += 1
        pads = _same_pads(image, kernel, stride) if padded else NO_PADS
        narrow = number % 4 == 3  # the clip of a ReLU6
        return convolution(
            rng,
            f"c{number}",
            image,
            channels,
            kernel,
            stride,
            pads,
            groups=groups,
            narrow=narrow,
            power_of_two=power_of_two,
        )

    # 1x1: square, wide, narrow, odd; and a stride.
    for image, channels in [
        ((8, 8), (16, 16)), ((12, 12), (8, 16)), ((6, 6), (64, 64)), ((3, 3), (96, 96)), ((5, 5), (32, 48)),
        ((9, 7), (16, 32)), ((4, 4), (128, 32)), ((7, 7), (12, 20)), ((5, 5), (13, 19)), ((24, 4), (8, 8)),
        ((3, 3), (256, 32)), ((1, 2), (64, 32)),
    ]:  # fmt: skip
        yield case(image, channels, (1, 1))
    for image, channels in [((8, 8), (16, 32)), ((6, 6), (32, 64)), ((12, 12), (5, 8))]:
        yield case(image, channels, (1, 1), 2)
    # 3x3 and larger.
    for image, channels in [
        ((12, 12), (3, 16)), ((8, 8), (16, 16)), ((6, 6), (32, 32)), ((4, 4), (64, 32)), ((9, 9), (8, 12)),
        ((16, 16), (1, 8)), ((7, 5), (5, 7)),
    ]:  # fmt: skip
        yield case(image, channels, (3, 3))
    for image, channels in [
        ((16, 16), (3, 8)), ((32, 32), (3, 8)), ((8, 8), (16, 32)), ((8, 8), (32, 48)), ((9, 9), (6, 10)),
        ((12, 12), (24, 24)),
    ]:  # fmt: skip
        yield case(image, channels, (3, 3), 2)
    for image, channels, kernel, stride in [
        ((13, 12), (1, 32), (10, 4), 2), ((10, 10), (8, 8), (5, 5), 1), ((20, 4), (4, 8), (1, 5), 1),
        ((25, 5), (1, 64), (10, 4), 2),
    ]:  # fmt: skip
        yield case(image, channels, kernel, stride)
    # Fully connected, over vectors and whole images.
    for channels in [
        (640, 24), (128, 64), (128, 8), (8, 128), (64, 160),
        (64, 10), (256, 2), (64, 12), (33, 17), (16, 16),
    ]:  # fmt: skip
        yield case((1, 1), channels, (1, 1))
    yield case((4, 4), (16, 12), (4, 4), padded=False)
    yield case((3, 3), (7, 9), (3, 3), padded=False)
    # Depthwise.
    for image, depth, stride in [
        ((12, 12), 8, 1), ((24, 24), 8, 1), ((12, 12), 32, 1), ((6, 6), 64, 1), ((3, 3), 128, 1),
        ((25, 5), 64, 1), ((9, 9), 20, 1), ((7, 10), 13, 1), ((5, 5), 96, 1),
        ((24, 24), 16, 2), ((12, 12), 32, 2), ((6, 6), 128, 2), ((9, 9), 20, 2), ((25, 5), 24, 2),
        ((7, 10), 13, 2), ((16, 16), 8, 2), ((3, 3), 64, 2),
    ]:  # fmt: skip
        yield case(image, (depth, depth), (3, 3), stride, groups=depth)
    for image, depth, kernel in [((10, 10), 16, (5, 5)), ((6, 6), 32, (5, 5)), ((12, 4), 24, (1, 7))]:
        yield case(image, (depth, depth), kernel, groups=depth)
    for image, depth, stride in [((12, 12), 16, 1), ((8, 8), 48, 1), ((13, 13), 16, 2), ((6, 6), 7, 1)]:
        yield case(image, (depth, depth), (3, 3), stride, groups=depth, padded=False)
    # Groups.
    for image, channels, kernel, groups in [
        ((8, 8), (16, 16), (1, 1), 4), ((6, 6), (24, 24), (3, 3), 3), ((6, 6), (16, 32), (3, 3), 16),
        ((8, 8), (32, 32), (3, 3), 4), ((8, 8), (16, 16), (3, 3), 2),
    ]:  # fmt: skip
        yield case(image, channels, kernel, groups=groups)
    # 3x3 of stride 1 again, where Winograd's algorithm is at home, and where it is not.
    for image, channels in [
        ((16, 16), (16, 16)), ((12, 12), (32, 32)), ((10, 12), (16, 24)), ((7, 9), (24, 13)),
        ((8, 8), (64, 64)), ((5, 6), (4, 4)), ((6, 20), (12, 30)), ((18, 5), (8, 8)),
    ]:  # fmt: skip
        yield case(image, channels, (3, 3))
    # The same in one direction, along rows and in one column.
    for image, channels in [
        ((1, 64), (16, 32)), ((1, 48), (32, 32)), ((24, 1), (64, 64)), ((17, 1), (96, 128)),
        ((1, 40), (8, 16)), ((50, 1), (40, 13)), ((7, 9), (24, 24)), ((1, 6), (4, 4)), ((1, 33), (12, 30)),
        ((40, 1), (16, 24)),
    ]:  # fmt: skip
        yield case(image, channels, (3, 1) if image[1] == 1 else (1, 3))
    # 1x1 to few channels.
    for image, channels in [
        ((12, 12), (32, 1)), ((8, 8), (64, 2)), ((7, 5), (16, 3)), ((6, 6), (20, 1)), ((9, 9), (12, 2)),
        ((16, 16), (8, 1)), ((5, 5), (128, 2)), ((6, 7), (96, 3)), ((3, 3), (36, 4)),
    ]:  # fmt: skip
        yield case(image, channels, (1, 1))
    # Depthwise along one axis, and with other kernels.
    for image, depth, kernel, stride in [
        ((1, 48), 16, (1, 3), 1), ((1, 40), 24, (1, 9), 1), ((12, 12), 16, (5, 5), 2),
        ((8, 8), 20, (5, 5), 1), ((10, 10), 8, (7, 7), 1), ((30, 1), 12, (5, 1), 1),
        ((9, 9), 24, (4, 4), 2), ((6, 6), 40, (2, 2), 1),
    ]:  # fmt: skip
        yield case(image, (depth, depth), kernel, stride, groups=depth)


def _same_pads(image: Pair, kernel: Pair, stride: int) -> Pads:
    """Output size = input size / stride, rounded up; the odd pad after."""
    total = [max(0, (-(-n // stride) - 1) * stride + k - n) for n, k in zip(image, kernel, strict=True)]
    top, left = total[0] // 2, total[1] // 2
    return Pads(top, left, total[0] - top, total[1] - left)


def convolution(
    rng: np.random.Generator,
    name: str,
    image: Pair,
    channels: Pair,
    kernel: Pair,
    stride: int | Pair,
    pads: Pads,
    *,
    groups: int = 1,
    dilation: Pair = (1, 1),
    narrow: bool = False,
    power_of_two: bool = False,
) -> Case:
    """A convolution with random weights; `narrow` has a clip of its own for every channel."""
    steps = (stride, stride) if isinstance(stride, int) else stride
    group_in, out_channels = channels[0] // groups, channels[1]
    depth = kernel[0] * kernel[1] * group_in
    factors = 0.5 / np.sqrt(depth) / 60 * np.exp2(rng.uniform(-1, 1, out_channels))
    if power_of_two:
        factors = np.exp2(np.round(np.log2(factors)))
    op = QConv2D(
        name=name,
        inputs=(f"{name}_x",),
        output=f"{name}_y",
        weight=rng.integers(-127, 128, (out_channels, *kernel, group_in)).astype(np.int8),
        weight_type=IntType.INT8,
        bias=rng.integers(-2000, 2000, out_channels).astype(np.int32),
        stride=steps,
        dilation=dilation,
        pads=pads,
        pad_value=-3,
        groups=groups,
        requantize=Requantize.from_scale(
            factors, -128, -128, rng.integers(60, 127, out_channels) if narrow else 127
        ),
    )
    size = window_output(image, kernel, steps, dilation, pads)
    x = QTensor(f"{name}_x", (1, *image, channels[0]), TYPE)
    return Case(op, (x,), QTensor(f"{name}_y", (1, *size, out_channels), TYPE))


def _others(rng: np.random.Generator) -> Iterator[Case]:
    for number, shape in enumerate([(16, 16, 16), (8, 8, 32), (5, 5, 7), (4, 4, 64), (1, 1, 10)]):
        y = QTensor(f"e{number}_y", (1, *shape), TYPE)
        a, b = QTensor(f"e{number}_a", (1, *shape), TYPE), QTensor(f"e{number}_b", (1, *shape), TYPE)
        lo, hi = np.full(shape[-1], -128), np.full(shape[-1], 127)
        yield Case(QAdd(f"a{number}", (a.name, b.name), y.name, (9000, 7000), 1 << 13, 14, lo, hi), (a, b), y)
        c, d, z = (QTensor(f"m{number}_{which}", (1, *shape), TYPE) for which in "cdz")
        yield Case(
            QMul(f"m{number}", (c.name, d.name), z.name, (-3, -3), 20000, 20, -3, -128, 127), (c, d), z
        )
        u, v = QTensor(f"t{number}_u", (1, *shape), TYPE), QTensor(f"t{number}_v", (1, *shape), TYPE)
        table = rng.integers(-128, 128, 256).astype(np.int8)
        yield Case(QLookup(f"t{number}", (u.name,), v.name, table), (u,), v)
    for number, (image, channels, kernel, stride) in enumerate(
        [
            ((8, 8), 64, 8, 8),
            ((25, 5), 16, 5, 5),
            ((12, 12), 16, 2, 2),
            ((9, 9), 8, 3, 2),
            ((3, 3), 256, 3, 3),
            ((8, 8), 12, 2, 1),
            ((6, 6), 7, 3, 3),
            ((16, 16), 16, 2, 2),
            ((16, 16), 32, 3, 2),
        ]
    ):
        sides, steps = (kernel, kernel), (stride, stride)
        size = window_output(image, sides, steps, (1, 1), NO_PADS)
        x, y = (QTensor(f"p{number}_{which}", (1, *image, channels), TYPE) for which in "xy")
        y = QTensor(y.name, (1, *size, channels), TYPE)
        yield Case(QMaxPool(f"p{number}", (x.name,), y.name, sides, steps, (1, 1), NO_PADS), (x,), y)
        u = QTensor(f"q{number}_x", x.shape, TYPE)
        v = QTensor(f"q{number}_y", y.shape, TYPE)
        form = Requantize.from_scale(np.full(size[0] * size[1], 1.0 / kernel**2), 0, 0, 0)
        lo, hi = np.full(channels, -128), np.full(channels, 127)
        yield Case(
            QAveragePool(
                f"q{number}", (u.name,), v.name, sides, steps, NO_PADS, -3,
                form.multiplier.reshape(size), form.pre_shift, -3, lo, hi,
            ),
            (u,),
            v,
        )  # fmt: skip
    for number, classes in enumerate([2, 10, 12, 100]):
        x = QTensor(f"s{number}_x", (1, classes), TYPE)
        _, table = exponentials(TYPE.scale, classes)
        y = QTensor(f"s{number}_y", (1, classes), PROBABILITY)
        yield Case(QSoftmax(f"s{number}", (x.name,), y.name, 1, table), (x,), y)
