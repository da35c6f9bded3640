"""2-D convolution: plain, grouped and depthwise; a fully connected layer is one over a single pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor, Work
from dfqgen.fixedpoint.proof import check_requantize, check_shape, check_weights, check_within
from dfqgen.fixedpoint.qtype import IntType, Requantize
from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.graph.ir import Array, Border, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.conv_work import convolution_work, depthwise_work
from dfqgen.ops.windows import (
    NO_PADS,
    Pads,
    check_window,
    convolve,
    joined_pads,
    pad_image,
    window_output,
    window_rows,
    within_rows,
)
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Conv2D(Op):
    """Convolution of x [N,H,W,Cin] with weight [Cout,kh,kw,Cin/groups] and bias [Cout], zero padding.

    `weight_scale` [Cout]: the model states the weight as whole multiples of these, integers of at most
    `weight_type`'s bits. Who changes the weight keeps them true, or leaves such a layer alone.
    """

    weight: Array
    bias: Array
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: Pads = NO_PADS
    groups: int = 1
    weight_scale: Array | None = None
    weight_type: IntType = IntType.INT8

    fuses_clip: ClassVar[bool] = True
    measured: ClassVar[bool] = True

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        return int(self.weight.shape[3]) * self.groups

    @property
    def kernel(self) -> tuple[int, int]:
        return int(self.weight.shape[1]), int(self.weight.shape[2])

    @property
    def depthwise(self) -> bool:
        """One filter for each input channel."""
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels

    @property
    def stated_integers(self) -> Array | None:
        """The integers that the model states, float64; None where its weight is free."""
        if self.weight_scale is None:
            return None
        return np.rint(self.weight.astype(np.float64) / self.weight_scale[:, None, None, None])

    def with_scaled_outputs(self, factor: Array, shift: Array) -> Conv2D:
        """factor * conv(x) + shift, [Cout] each."""
        scale = self.weight_scale
        return replace(
            self,
            weight=self.weight * factor[:, None, None, None],
            bias=self.bias * factor + shift,
            weight_scale=None if scale is None else np.where(factor == 0.0, scale, scale * np.abs(factor)),
        )

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Height and width are axes 1 and 2."""

    def turned(self) -> Conv2D:
        return replace(
            self,
            weight=np.ascontiguousarray(self.weight.transpose(0, 2, 1, 3)),
            stride=self.stride[::-1],
            dilation=self.dilation[::-1],
            pads=self.pads.turned,
        )

    def reshaped(self, before: Shape, after: Shape) -> None:
        """None in general."""

    def padded(self, border: Border, floor: float) -> Conv2D | None:
        pads = joined_pads(border, self.pads, self.kernel, self.dilation)
        return replace(self, pads=pads) if pads is not None and border.value == 0.0 else None

    def infer_shape(self, *shapes: Shape) -> Shape:
        n, h, w, channels = shapes[0]
        if self.bias.shape != (self.out_channels,):
            raise ValueError(f"a bias of {self.bias.shape} meets {self.out_channels} filters")
        if channels != self.in_channels:
            raise ValueError(f"{channels} channels meet a weight for {self.in_channels}")
        height, width = window_output((h, w), self.kernel, self.stride, self.dilation, self.pads)
        return n, height, width, self.out_channels

    def evaluate(self, *inputs: Array) -> Array:
        padded = pad_image(inputs[0], self.pads, 0.0)
        weight = self.weight.astype(padded.dtype, copy=False)
        return convolve(padded, weight, self.stride, self.dilation, self.groups) + self.bias.astype(
            padded.dtype, copy=False
        )

    def window_sum(self, per_channel: Array) -> Array:
        """The output [Cout], bias aside, where input channel c is per_channel[c] everywhere."""
        return grouped_sum(self.weight.sum(axis=(1, 2), dtype=np.float64), per_channel, self.groups)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        mean, variance = inputs[0].moments()
        weight = self.weight.astype(np.float64)
        out_mean = self.window_sum(mean) + self.bias
        out_variance = grouped_sum((weight**2).sum(axis=(1, 2)), variance, self.groups)
        lo, hi = _interval(weight, self.groups, inputs[0].lo, inputs[0].hi, self.pads != NO_PADS)
        return ChannelStatistics.normal(out_mean, np.sqrt(out_variance), lo + self.bias, hi + self.bias)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        weight = site.weight
        assert weight is not None, "a convolution is lowered with its quantized weight"
        # float32, which other formats can hold: the program can be exported and read again, bit for bit.
        accumulator_scale = weight.scale.astype(np.float32).astype(np.float64) * x.qtype.scale
        # sum w (q - zp) + b/s = sum w q + (b/s - zp sum w): the input zero point goes into the bias.
        zero_point_part = x.qtype.zero_point * weight.values.astype(np.int64).sum(axis=(1, 2, 3))
        bias = np.floor(self.bias.astype(np.float64) / accumulator_scale + 0.5) - zero_point_part
        lo, hi = site.integer_bounds()
        return (
            QConv2D(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                weight=weight.values,
                weight_type=weight.dtype,
                bias=bias.astype(np.int32),
                stride=self.stride,
                dilation=self.dilation,
                pads=self.pads,
                pad_value=x.qtype.zero_point,
                groups=self.groups,
                requantize=Requantize.from_scale(
                    np.broadcast_to(accumulator_scale / y.qtype.scale, bias.shape), y.qtype.zero_point, lo, hi
                ),
            ),
        )


def grouped_sum(weight: Array, per_channel: Array, groups: int) -> Array:
    """weight [Cout, Cin/groups] applied to one value per input channel [Cin] -> [Cout]."""
    out_channels, group_in = weight.shape
    blocks = weight.reshape(groups, out_channels // groups, group_in)
    return np.einsum("goi,gi->go", blocks, per_channel.reshape(groups, group_in)).reshape(out_channels)


def _interval(weight: Array, groups: int, lo: Array, hi: Array, padded: bool) -> tuple[Array, Array]:
    """Smallest and largest sum over a window whose inputs lie in [lo, hi] (or are a padding zero)."""
    if padded:
        lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)
    positive = np.maximum(weight, 0.0).sum(axis=(1, 2))
    negative = np.minimum(weight, 0.0).sum(axis=(1, 2))
    # A channel of unbounded input makes every output it reaches unbounded, except through a zero weight.
    big = 1e150
    lo, hi = np.clip(lo, -big, big), np.clip(hi, -big, big)
    low = grouped_sum(positive, lo, groups) + grouped_sum(negative, hi, groups)
    high = grouped_sum(positive, hi, groups) + grouped_sum(negative, lo, groups)
    unbounded = 1e140
    return np.where(low < -unbounded, -np.inf, low), np.where(high > unbounded, np.inf, high)


@dataclass(frozen=True, slots=True, eq=False)
class QConv2D(QOp):
    """requantize(bias + sum weight * x) over x [N,H,W,Cin] padded with pad_value.

    weight [Cout,kh,kw,Cin/groups] int8 carrier with values of weight_type; bias [Cout] int32 with the
    input zero point folded in, so that the sum runs over raw integers.
    """

    gives: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16, IntType.INT32)

    name: str
    inputs: tuple[str, ...]
    output: str
    weight: Array
    weight_type: IntType
    bias: Array
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Pads
    pad_value: int
    groups: int
    requantize: Requantize

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[0])

    @property
    def kernel(self) -> tuple[int, int]:
        return int(self.weight.shape[1]), int(self.weight.shape[2])

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.weight.shape[3] == 1 and self.groups == self.out_channels

    @property
    def clamp(self) -> tuple[Array, Array]:
        return self.requantize.lo, self.requantize.hi

    def evaluate(self, *inputs: Array) -> Array:
        # Floating point is faster, and exact while every partial sum fits the mantissa.
        reach = max(abs(int(inputs[0].min())), abs(int(inputs[0].max())), abs(self.pad_value))
        largest = reach * int(np.abs(self.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max())
        dtype = np.float32 if largest < 1 << 24 else np.float64
        x = pad_image(inputs[0].astype(dtype), self.pads, self.pad_value)
        acc = convolve(x, self.weight.astype(dtype), self.stride, self.dilation, self.groups)
        return self.requantize.apply(acc.astype(np.int64) + self.bias)

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        shapes = inputs[0].shape, output.shape
        return window_rows(shapes, self.kernel, self.stride, self.dilation, self.pads, self.pad_value)

    def of_rows(self, count: int, axis: int) -> QConv2D:
        return replace(self, pads=within_rows(self.pads, axis))

    def largest_accumulator(self, x: QTensor) -> Array:
        """Upper bound [Cout] of |any partial sum|, over all inputs of x's type and any order of adding."""
        largest_input = max(-x.qtype.dtype.minimum, x.qtype.dtype.maximum)
        weights = np.abs(self.weight.astype(np.int64)).sum(axis=(1, 2, 3))
        return np.abs(self.bias.astype(np.int64)) + largest_input * weights

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if self.weight.ndim != 4 or self.weight.size == 0:
            raise ProgramError(f"{self.name}: {self.weight.shape} are no weights [Cout, kh, kw, Cin]")
        size = check_window(self.name, x.shape, self.kernel, self.stride, self.dilation, self.pads)
        expected = (x.shape[0], *size, self.out_channels)
        if output.shape != expected or x.shape[3] != self.weight.shape[3] * self.groups:
            raise ProgramError(f"{self.name}: {x.shape} -> {output.shape} is not {expected}")
        if self.out_channels % self.groups:
            raise ProgramError(f"{self.name}: {self.groups} groups do not share {self.out_channels} channels")
        check_weights(self.name, "weight", self.weight, self.weight_type)
        check_shape(self.name, "the bias", self.bias, (self.out_channels,))
        check_within(self.name, "a bias", self.bias, -INT32_MAX, INT32_MAX)
        check_within(self.name, "the padding", self.pad_value, x.qtype.dtype.minimum, x.qtype.dtype.maximum)
        check_requantize(self.name, self.requantize, self.largest_accumulator(x), output)

    def work(self, inputs: Sequence[QTensor], output: QTensor) -> Work:
        work, form = QOp.work(self, inputs, output), self.requantize
        if np.any(form.lo > -128) or np.any(form.hi < 127):
            work["narrow_output"] = float(output.elements)
        return work | (depthwise_work if self.depthwise else convolution_work)(self, inputs[0], output)

    def macs(self, output: QTensor) -> int:
        return output.elements * int(np.prod(self.weight.shape[1:]))

    @property
    def weights(self) -> tuple[tuple[Array, IntType], ...]:
        return ((self.weight, self.weight_type),)

    @property
    def weight_bytes(self) -> int:
        packed = (self.weight.size * self.weight_type.bits + 7) // 8
        return packed + self.bias.nbytes + 4 * self.out_channels
