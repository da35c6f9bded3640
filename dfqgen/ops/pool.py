"""Average and maximum over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor, Work
from dfqgen.fixedpoint.proof import (
    check_clamp,
    check_factor,
    check_reach,
    check_shape,
    check_within,
    check_zero_point,
)
from dfqgen.fixedpoint.qtype import IntType, Requantize
from dfqgen.fixedpoint.rows import RowWindow, row_axis
from dfqgen.graph.ir import Array, Border, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.multiply import largest_distance
from dfqgen.ops.windows import (
    NO_PADS,
    Pads,
    check_window,
    joined_pads,
    pad_image,
    taps,
    window_output,
    window_rows,
    within_rows,
)
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_WIDE_WINDOW = (1 << 16) - 1
"""Elements of int16 around 0 whose sum fits 32 bits: 255 x 257 of them."""


@dataclass(frozen=True, slots=True, eq=False)
class AveragePool(Op):
    """Mean over each window of x [N,H,W,C]; `count_include_pad` counts the zero border as elements.

    `halves_up`: means half way between two integers go up, even where the model states all types.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: Pads = NO_PADS
    count_include_pad: bool = False
    halves_up: bool = False

    fuses_clip: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        """int8 alone over windows whose sum of int16 could leave 32 bits."""
        fits = self.kernel[0] * self.kernel[1] <= LARGEST_WIDE_WINDOW
        return (IntType.INT8, IntType.INT16) if fits else (IntType.INT8,)

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Height and width are axes 1 and 2."""

    def turned(self) -> AveragePool:
        return replace(self, kernel=self.kernel[::-1], stride=self.stride[::-1], pads=self.pads.turned)

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general."""

    def is_identity(self, shape: Shape) -> bool:
        return self.kernel == self.stride == (1, 1) and self.pads == NO_PADS

    def padded(self, border: Border, floor: float) -> AveragePool | None:
        pads = joined_pads(border, self.pads, self.kernel, (1, 1))
        counts = self.pads == NO_PADS or self.count_include_pad
        if pads is None or border.value != 0.0 or not counts:
            return None
        return replace(self, pads=pads, count_include_pad=True)

    def scaled(self, factor: Array, before: Shape) -> AveragePool:
        return self

    def selected(self, channels: Array) -> AveragePool:
        return self

    def infer_shape(self, *shapes: Shape) -> Shape:
        n, h, w, c = shapes[0]
        return (n, *window_output((h, w), self.kernel, self.stride, (1, 1), self.pads), c)

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0]
        counts = self.counts(x.shape[1:3])[:, :, None]
        return (window_sums(x, self.kernel, self.stride, self.pads, 0.0) / counts).astype(x.dtype)

    def counts(self, image: Shape) -> Array:
        """Elements averaged at each output position, int64 [OH,OW]."""
        if self.count_include_pad:
            height, width = window_output((image[0], image[1]), self.kernel, self.stride, (1, 1), self.pads)
            return np.full((height, width), self.kernel[0] * self.kernel[1])
        return window_counts((image[0], image[1]), self.kernel, self.stride, self.pads)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """The mean stays; the variance shrinks by an unknown amount (pixels correlate): kept as a bound."""
        x = inputs[0]
        if self.count_include_pad and self.pads != NO_PADS:
            return ChannelStatistics.normal(x.mean, x.std, np.minimum(x.lo, 0), np.maximum(x.hi, 0))
        return x

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        lo, hi = site.integer_bounds()
        counts = self.counts(x.shape[1:3])
        distinct = np.unique(counts)
        requantize = Requantize.from_scale(
            x.qtype.scale / y.qtype.scale / distinct.astype(np.float64), y.qtype.zero_point, 0, 0
        )
        channels = y.shape[-1]
        # As ONNX rounds. Other scales, and odd counts, have no means half way between two integers.
        even = site.stated and not self.halves_up and x.qtype.scale == y.qtype.scale and distinct.size == 1
        even &= x.qtype.dtype is y.qtype.dtype is IntType.INT8 and distinct[0] % 2 == 0
        return (
            QAveragePool(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                kernel=self.kernel,
                stride=self.stride,
                pads=self.pads,
                input_zero_point=x.qtype.zero_point,
                multiplier=requantize.multiplier[np.searchsorted(distinct, counts)],
                pre_shift=requantize.pre_shift,
                zero_point=y.qtype.zero_point,
                lo=np.broadcast_to(lo, (channels,)).copy(),
                hi=np.broadcast_to(hi, (channels,)).copy(),
                even_count=int(distinct[0]) if even else 0,
            ),
        )


def window_sums(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads, border: float
) -> Array:
    """Sum over each window [N,OH,OW,C] of x with a constant border."""
    first, *others = [
        view for row in taps(pad_image(x, pads, border), kernel, stride, (1, 1)) for view in row
    ]
    total = first.copy()
    for view in others:
        total += view
    return total


def window_counts(
    image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads
) -> Array:
    """Number of real (not padding) elements under each window, int64 [OH,OW]."""
    ones = np.ones((1, *image, 1), np.int64)
    return window_sums(ones, kernel, stride, pads, 0)[0, :, :, 0]


def window_work(kernel: tuple[int, int], output: QTensor) -> Work:
    """What a pool's kernels count, `vector` in 16 channels."""
    pixels, window = output.shape[1] * output.shape[2], kernel[0] * kernel[1]
    vectors = -(-output.shape[3] // 16)
    return {
        "window_row": float(output.elements * kernel[0]),
        "tap": float(output.elements * window),
        "pixel_tap": float(pixels * window),
        "vector": float(pixels * vectors),
        "vector_tap": float(pixels * window * vectors),
    }


@dataclass(frozen=True, slots=True, eq=False)
class QAveragePool(QOp):
    """clamp(zero_point + ((acc << pre_shift) * multiplier[oh, ow] + 2**31 >> 32), lo, hi).

    acc is the sum of x - input_zero_point over the real elements of the window; multiplier int64
    [OH,OW] holds scale / count, so that borders may average fewer elements. lo, hi int64 [C].
    `even_count`, where it is not 0: every window has that many elements, input and output one scale, and
    what lies half way between two integers (before the zero point) goes to the even one.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads
    input_zero_point: int
    multiplier: Array
    pre_shift: int
    zero_point: int
    lo: Array
    hi: Array
    even_count: int = 0

    def work(self, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return QOp.work(self, inputs, output) | window_work(self.kernel, output)

    @property
    def clamp(self) -> tuple[Array, Array]:
        return self.lo, self.hi

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64) - self.input_zero_point
        acc = window_sums(x, self.kernel, self.stride, self.pads, 0)
        product = (acc << self.pre_shift) * self.multiplier[:, :, None] + (1 << 31)
        mean = product >> 32
        if self.even_count:
            rest = 2 * (acc - mean * self.even_count)
            half_way = np.abs(rest) == self.even_count
            mean = mean + np.where(half_way & (mean % 2 == 1), np.sign(rest), 0)
        return np.clip(self.zero_point + mean, self.lo, self.hi)

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        """None where rows differ in what they divide by: those at a border that does not count."""
        shapes = inputs[0].shape, output.shape
        first = self.multiplier.take([0], row_axis(output.shape) - 1)
        if (self.multiplier != first).any():
            return None
        return window_rows(shapes, self.kernel, self.stride, (1, 1), self.pads, self.input_zero_point)

    def of_rows(self, count: int, axis: int) -> QAveragePool:
        multiplier = np.repeat(self.multiplier.take([0], axis - 1), count, axis=axis - 1)
        return replace(self, pads=within_rows(self.pads, axis), multiplier=multiplier)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        size = check_window(self.name, x.shape, self.kernel, self.stride, (1, 1), self.pads)
        if output.shape != (x.shape[0], *size, x.shape[3]):
            raise ProgramError(f"{self.name}: {x.shape} -> {output.shape} is not {size}")
        check_shape(self.name, "the table of multipliers", self.multiplier, size)
        check_factor(self.name, self.multiplier, self.pre_shift)
        check_zero_point(self.name, self.input_zero_point, x.qtype)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        largest = largest_distance(x.qtype, self.input_zero_point)
        worst = self.kernel[0] * self.kernel[1] * largest << self.pre_shift
        check_reach(self.name, "the sum over the window", worst)
        check_within(self.name, "the even count", self.even_count, 0, self.kernel[0] * self.kernel[1])
        if self.even_count:
            means = (worst * int(self.multiplier.max()) >> 32) + 1
            rest = 2 * ((worst >> self.pre_shift) + means * self.even_count)
            check_reach(self.name, "what a mean leaves", rest)

    @property
    def weight_bytes(self) -> int:
        return 4 * int(np.unique(self.multiplier).size)


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(Op):
    """Largest element of each window of x [N,H,W,C]; padding never wins."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: Pads = NO_PADS

    keeps_type: ClassVar[bool] = True

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Height and width are axes 1 and 2."""

    def turned(self) -> MaxPool:
        return replace(
            self,
            kernel=self.kernel[::-1],
            stride=self.stride[::-1],
            dilation=self.dilation[::-1],
            pads=self.pads.turned,
        )

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general."""

    def is_identity(self, shape: Shape) -> bool:
        return self.kernel == self.stride == (1, 1) and self.pads == NO_PADS

    def padded(self, border: Border, floor: float) -> MaxPool | None:
        """It ignores its own border: the same only when the border never wins over an element."""
        pads = joined_pads(border, self.pads, self.kernel, self.dilation)
        return replace(self, pads=pads) if pads is not None and border.value <= floor else None

    def scaled(self, factor: Array, before: Shape) -> MaxPool:
        return self

    def selected(self, channels: Array) -> MaxPool:
        return self

    def infer_shape(self, *shapes: Shape) -> Shape:
        n, h, w, c = shapes[0]
        return (n, *window_output((h, w), self.kernel, self.stride, self.dilation, self.pads), c)

    def evaluate(self, *inputs: Array) -> Array:
        return window_maximum(inputs[0], self.kernel, self.stride, self.dilation, self.pads, -np.inf)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Upper tail as before; the true mean is higher by up to the expected maximum of the window."""
        return inputs[0]

    def lower(self, site: Site) -> tuple[QOp, ...]:
        return (
            QMaxPool(
                site.name,
                site.input_names,
                site.output.name,
                self.kernel,
                self.stride,
                self.dilation,
                self.pads,
            ),
        )


def window_maximum(
    x: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: Pads,
    border: float,
) -> Array:
    """Maximum over each window [N,OH,OW,C]; `border` must not exceed any element."""
    rows = taps(pad_image(x, pads, border), kernel, stride, dilation)
    return np.max([view for row in rows for view in row], axis=0)


@dataclass(frozen=True, slots=True, eq=False)
class QMaxPool(QOp):
    """Largest integer of each window; input and output have one type."""

    name: str
    inputs: tuple[str, ...]
    output: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Pads

    def work(self, inputs: Sequence[QTensor], output: QTensor) -> Work:
        return QOp.work(self, inputs, output) | window_work(self.kernel, output)

    def evaluate(self, *inputs: Array) -> Array:
        smallest = np.iinfo(inputs[0].dtype).min
        return window_maximum(inputs[0], self.kernel, self.stride, self.dilation, self.pads, smallest)

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        shapes, lowest = (inputs[0].shape, output.shape), inputs[0].qtype.dtype.minimum
        return window_rows(shapes, self.kernel, self.stride, self.dilation, self.pads, lowest)

    def of_rows(self, count: int, axis: int) -> QMaxPool:
        return replace(self, pads=within_rows(self.pads, axis))

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        size = check_window(self.name, x.shape, self.kernel, self.stride, self.dilation, self.pads)
        if output.shape != (x.shape[0], *size, x.shape[3]) or x.qtype != output.qtype:
            raise ProgramError(f"{self.name}: {x} -> {output} is not a maximum over windows")
