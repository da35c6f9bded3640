"""The bounds of the proof: for each an operator just inside it and one just outside.

A base case of each operator, and the rows that move one thing of it to a bound and one step further.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX, QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.ops.add import QAdd, QBroadcastAdd
from dfqgen.ops.argmax import CLASS, QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.log_softmax import QLogSoftmax
from dfqgen.ops.lookup import SYMMETRIC, QInterpolate, QLookup
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.movement import QPad, QReshape, QTranspose
from dfqgen.ops.multiply import QMul
from dfqgen.ops.normalize import QLpNormalize
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.prelu import QPRelu
from dfqgen.ops.resize import QResizeLinear
from dfqgen.ops.softmax import PROBABILITY, QSoftmax
from dfqgen.ops.take import QTake
from dfqgen.ops.windows import NO_PADS, Pads
from tests.kernels.strategies import Case

INT8 = QType(IntType.INT8, 0.05, 3)
OTHER = QType(IntType.INT8, 0.05, 4)
INT16 = QType(IntType.INT16, 0.001, 0)
LOW16 = QType(IntType.INT16, 0.001, -32768)
IMAGE = (1, 2, 1, 3)


@dataclass(frozen=True)
class Edge:
    """One bound: accepted `inside`, refused `outside` with this message (after the operator's name)."""

    what: str
    inside: Case
    outside: Case
    message: str

    def __str__(self) -> str:
        return f"{type(self.inside.op).__name__}: {self.what}"


def case(op: QOp, *shapes: tuple[int, ...], x: QType = INT8, y: QType = INT8) -> Case:
    """Inputs of these shapes, the last is the output's."""
    inputs = tuple(QTensor(name, shape, x) for name, shape in zip(op.inputs, shapes, strict=False))
    output = QTensor(op.output, shapes[-1], y)
    return Case(op, inputs, output, tuple(np.zeros(t.shape, t.qtype.dtype.carrier) for t in inputs))


def with_op(base: Case, **fields: Any) -> Case:
    return replace(base, op=replace(base.op, **fields))  # type: ignore[type-var]


def with_input(base: Case, index: int = 0, **fields: Any) -> Case:
    """Another shape or type of one input."""
    inputs = list(base.inputs)
    inputs[index] = replace(inputs[index], **fields)
    return replace(base, inputs=tuple(inputs))


def with_output(base: Case, **fields: Any) -> Case:
    return replace(base, output=replace(base.output, **fields))


def extremes(base: Case) -> Iterator[Case]:
    """Every combination of inputs that are all smallest or all largest, and alternating ones."""
    fills = []
    for x in base.inputs:
        dtype = x.qtype.dtype
        low, high = (np.full(x.shape, end, dtype.carrier) for end in (dtype.minimum, dtype.maximum))
        alternating = np.where(np.arange(x.elements).reshape(x.shape) % 2 == 0, low, high)
        fills.append((low, high, alternating.astype(dtype.carrier)))
    combinations = itertools.product(*fills) if len(fills) < 3 else zip(*fills, strict=True)
    for values in combinations:
        yield replace(base, values=values)


def full(value: int, *shape: int, dtype: Any = np.int64) -> np.ndarray:
    return np.full(shape, value, dtype)


def _carrier(values: np.ndarray, value: int) -> Any:
    """The numpy type of an array that shall hold another value too."""
    info = np.iinfo(values.dtype)
    return values.dtype if info.min <= value <= info.max else np.int64


def ends(what: str, base: Case, name: str, lowest: int, highest: int, label: str) -> list[Edge]:
    """A number, or all numbers of an array, at both ends of [lowest, highest]."""

    def at(value: int) -> Case:
        old = getattr(base.op, name)
        filled = np.full(old.shape, value, _carrier(old, value)) if isinstance(old, np.ndarray) else value
        return with_op(base, **{name: filled})

    message = f"{label} lies outside [{lowest}, {highest}]"
    return [
        Edge(f"{what}, smallest", at(lowest), at(lowest - 1), message),
        Edge(f"{what}, largest", at(highest), at(highest + 1), message),
    ]


def clamps(base: Case) -> list[Edge]:
    """lo and hi of an operator that has them as numbers or arrays."""
    outside = "a clamp lies outside [-128, 127]"

    def at(lo: int, hi: int) -> Case:
        old = base.op.lo  # type: ignore[attr-defined]
        if isinstance(old, np.ndarray):
            return with_op(base, lo=np.full(old.shape, lo), hi=np.full(old.shape, hi))
        return with_op(base, lo=lo, hi=hi)

    edges = [
        Edge("smallest clamp", at(-128, 127), at(-129, 127), outside),
        Edge("largest clamp", at(-128, 127), at(-128, 128), outside),
        Edge("order of clamps", at(5, 5), at(6, 5), "a clamp's lower bound is above its upper one"),
    ]
    if isinstance(base.op.lo, np.ndarray):  # type: ignore[attr-defined]
        channels = base.output.shape[-1]
        for name, value in (("lo", -128), ("hi", 127)):
            message = f"a clamp has shape ({channels + 1},), not ({channels},)"
            edges.append(
                Edge(f"shape of {name}", base, with_op(base, **{name: full(value, channels + 1)}), message)
            )
    return edges


def int16_multiplier(what: str, base: Case, **at: Any) -> list[Edge]:
    """A multiplier of 16 bits; `at` are functions from it to a field."""

    def changed(value: int) -> Case:
        return with_op(base, **{name: make(value) for name, make in at.items()})

    message = "a multiplier does not fit 16 bits"
    return [Edge(f"{what} {sign}", changed(sign * 32767), changed(sign * 32768), message) for sign in (1, -1)]


def sums() -> Iterator[Edge]:
    op = QAdd("op", ("a", "b"), "y", (1, 1), 0, 1, full(-128, 3), full(127, 3))
    base = case(op, IMAGE, IMAGE, IMAGE)
    for name, pair in (("first", lambda m: (m, 1)), ("second", lambda m: (1, m))):
        for sign in (1, -1):
            near, far = (with_op(base, multipliers=pair(sign * ((1 << 15) - less))) for less in (1, 0))
            yield Edge(f"{name} multiplier {sign}", near, far, "a multiplier")
    yield from ends("shift", base, "shift", 0, 31, "the shift")
    yield from clamps(base)
    message = "the sum can reach 2147483648, beyond 32 bits"
    for sign in (1, -1):
        near = with_op(base, offset=sign * (INT32_MAX - 256))
        yield Edge(f"sum {sign}", near, with_op(base, offset=sign * (INT32_MAX - 255)), message)
    largest = replace(op, multipliers=(-32767, -32767), offset=65535)
    wide = case(largest, IMAGE, IMAGE, IMAGE, x=INT16, y=INT16)
    yield Edge("sum of int16", wide, with_op(wide, offset=65536), message)
    fine8 = with_op(base, multipliers=((1 << 30) - 1, 1), dropped=8)
    yield Edge("fine int8", fine8, with_op(fine8, multipliers=(1 << 30, 1)), "a multiplier lies outside")
    fine = with_op(wide, multipliers=((1 << 30) - 1, 1 - (1 << 30)), dropped=16)
    for both in ((1 << 30, 0), (0, -(1 << 30))):
        yield Edge(f"fine {both}", fine, with_op(fine, multipliers=both), "a multiplier lies outside")
    # Half a step of what a product loses counts as a whole one.
    tall = with_op(wide, multipliers=(1, 2), dropped=16, offset=INT32_MAX - 2)
    yield Edge("sum of fine terms", tall, with_op(tall, multipliers=(1, 3)), message)
    for bits in (8, 32):
        yield Edge(f"{bits} bits lost", fine, with_op(fine, dropped=bits), f"products lose {bits} bits")
    yield Edge("bits of int8 lost", fine8, with_op(fine8, dropped=16), "products lose 16 bits")
    mixed = with_input(with_op(base, multipliers=(3, -1), offset=INT32_MAX - 98432), 0, qtype=INT16)
    yield Edge("sum of int16 and int8", mixed, with_op(mixed, offset=INT32_MAX - 98431), message)
    for index in (0, 1):
        other = with_input(base, index, shape=(1, 2, 1, 2))
        shapes = "(1, 2, 1, 2) + (1, 2, 1, 3)" if index == 0 else "(1, 2, 1, 3) + (1, 2, 1, 2)"
        yield Edge(f"shape of input {index}", base, other, f"{shapes} -> (1, 2, 1, 3)")
    tall = with_output(base, shape=(1, 1, 2, 3))
    yield Edge("shape of the output", base, tall, "(1, 2, 1, 3) + (1, 2, 1, 3) -> (1, 1, 2, 3)")


def broadcasting(base: Case) -> Iterator[Edge]:
    """The shapes of an operator whose operands repeat; base is (1, 2, 1, 3) with (1, 1, 4, 1)."""
    unlike = with_input(base, 1, shape=(1, 1, 4, 2))
    yield Edge("operands that do not repeat", base, unlike, "shape mismatch: objects cannot be broadcast")
    flat = with_input(base, 1, shape=(1, 4, 1))
    yield Edge("rank of an operand", base, flat, "(1, 2, 1, 3) and (1, 4, 1) differ in rank")
    small = with_output(base, shape=(1, 2, 1, 3))
    yield Edge("shape of the output", base, small, "(1, 2, 1, 3) and (1, 1, 4, 1) do not give (1, 2, 1, 3)")


PAIR = (IMAGE, (1, 1, 4, 1), (1, 2, 4, 3))


def broadcast_sums() -> Iterator[Edge]:
    op = QBroadcastAdd("op", ("a", "b"), "y", (1, 1), 0, 1, full(-128, 3), full(127, 3))
    base = case(op, *PAIR)
    yield from broadcasting(base)
    near = with_op(base, offset=INT32_MAX - 256)
    far = with_op(base, offset=INT32_MAX - 255)
    yield Edge("sum", near, far, "the sum can reach 2147483648, beyond 32 bits")


def products() -> Iterator[Edge]:
    op = QMul("op", ("a", "b"), "y", (3, 3), 1, 1, 0, -128, 127)
    base = case(op, *PAIR)
    yield from broadcasting(base)
    yield from ends("multiplier", base, "multiplier", 0, 32767, "the multiplier")
    yield from ends("shift", base, "shift", 1, 24, "the shift")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from clamps(base)
    largest = with_op(base, multiplier=32767, shift=24)
    for near, far in (((-128, 127), (-129, 127)), ((127, -128), (127, -129)), ((127, 127), (128, 127))):
        inside, outside = (with_op(largest, zero_points=zero_points) for zero_points in (near, far))
        yield Edge(f"zero points {near}", inside, outside, "a zero point lies outside [-128, 127]")
    wide = with_input(with_op(base, zero_points=(0, 0), multiplier=511, shift=22), 0, qtype=INT16)
    message = "the product can reach 2147483648, beyond 32 bits"
    yield Edge("product with int16", wide, with_op(wide, shift=23), message)


def maxima() -> Iterator[Edge]:
    op = QMaximum("op", ("a", "b"), "y", (1, 1), (0, 0), 1, False, -128, 127)
    base = case(op, *PAIR)
    yield from broadcasting(base)
    yield from int16_multiplier("first multiplier", base, multipliers=lambda m: (m, 1))
    yield from int16_multiplier("second multiplier", base, multipliers=lambda m: (1, m))
    yield from ends("shift", base, "shift", 0, 31, "the shift")
    yield from clamps(base)
    message = "an operand can reach 2147483648, beyond 32 bits"
    for sign, minimum in ((1, False), (-1, True)):
        near, far = sign * (INT32_MAX - 128), sign * (INT32_MAX - 127)
        for place in (0, 1):
            inside, outside = ([0, 0], [0, 0])
            inside[place], outside[place] = near, far
            yield Edge(
                f"operand {place}, {sign}",
                with_op(base, offsets=tuple(inside), minimum=minimum),
                with_op(base, offsets=tuple(outside), minimum=minimum),
                message,
            )


def prelus() -> Iterator[Edge]:
    op = QPRelu("op", ("x",), "y", 3, 1, full(1, 3), 1, 0, -128, 127)
    base = case(op, IMAGE, IMAGE)
    yield from int16_multiplier("multiplier", base, multiplier=lambda m: m)
    yield from int16_multiplier("slopes", base, slopes=lambda m: full(m, 3))
    yield from ends("shift", base, "shift", 1, 31, "the shift")
    yield from ends("input's zero point", base, "input_zero_point", -128, 127, "a zero point")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from clamps(base)
    longer = with_op(base, slopes=full(1, 4))
    yield Edge("slopes", base, longer, "the table of slopes has shape (4,), not (3,)")
    other = with_output(base, shape=(1, 1, 2, 3))
    yield Edge("shape", base, other, f"{base.inputs[0]} -> {other.output} is not of one shape")
    largest = with_op(base, input_zero_point=-32768, multiplier=32767, shift=17)
    wide = with_input(largest, qtype=LOW16)
    message = "a product can reach 2147516417, beyond 32 bits"
    yield Edge("product of int16", wide, with_op(wide, shift=18), message)


def form(channels: int, multiplier: int = 1 << 20, zero_point: int = 3, **fields: Any) -> Requantize:
    base = Requantize(full(multiplier, channels), 0, zero_point, full(-128, channels), full(127, channels))
    return replace(base, **fields)


def conv(weight: np.ndarray, bias: int, x: tuple[int, ...], y: tuple[int, ...], **fields: Any) -> Case:
    channels = len(weight)
    op = QConv2D(
        "op", ("x",), "y", weight, IntType.INT8, full(bias, channels), (1, 1), (1, 1), NO_PADS, 3, 1,
        form(channels),
    )  # fmt: skip
    return with_op(case(op, x, y), **fields)


def filled(value: int, *shape: int) -> np.ndarray:
    return np.full(shape, value, np.int8)


def geometry(base: Case, *, dilated: bool) -> Iterator[Edge]:
    """What every operator over windows refuses; base reads an image of 2 x 1."""
    words = "kernel {}, stride {}, dilation {}, Pads(top={}, left=0, bottom=0, right=0) are no window"
    kernel = base.op.kernel  # type: ignore[attr-defined]
    message = words.format(kernel, (0, 1), (1, 1), 0)
    yield Edge("stride", base, with_op(base, stride=(0, 1)), message)
    message = words.format(kernel, (1, 1), (1, 1), -1)
    yield Edge("pads", base, with_op(base, pads=Pads(-1, 0, 0, 0)), message)
    if dilated:
        message = words.format(kernel, (1, 1), (0, 1), 0)
        yield Edge("dilation", base, with_op(base, dilation=(0, 1)), message)
    flat = with_input(base, shape=(1, 2, 3))
    yield Edge("rank", base, flat, "(1, 2, 3) is no image [N, H, W, C]")
    small = with_input(base, shape=(1, 0, 1, base.inputs[0].shape[-1]))
    yield Edge("window", base, small, f"a {kernel[0]}x{kernel[1]} window does not fit a 0x1 image")


def convolutions() -> Iterator[Edge]:
    base = conv(filled(-128, 2, 1, 1, 4), 0, (1, 2, 1, 4), (1, 2, 1, 2))
    yield from geometry(base, dilated=True)
    for axes, text in ((base.op.weight[..., 0], "(2, 1, 1)"), (filled(0, 2, 0, 1, 4), "(2, 0, 1, 4)")):  # type: ignore[attr-defined]
        yield Edge(
            f"weights {text}", base, with_op(base, weight=axes), f"{text} are no weights [Cout, kh, kw, Cin]"
        )
    other = with_output(base, shape=(1, 2, 1, 3))
    yield Edge("output", base, other, "(1, 2, 1, 4) -> (1, 2, 1, 3) is not (1, 2, 1, 2)")
    other = with_input(base, shape=(1, 2, 1, 5))
    yield Edge("input", base, other, "(1, 2, 1, 5) -> (1, 2, 1, 2) is not (1, 2, 1, 2)")
    pair = conv(filled(1, 4, 1, 1, 2), 0, (1, 2, 1, 4), (1, 2, 1, 4), groups=2)
    uneven = conv(filled(1, 3, 1, 1, 2), 0, (1, 2, 1, 4), (1, 2, 1, 3), groups=2)
    yield Edge("groups", pair, uneven, "2 groups do not share 3 channels")
    wide_weights = with_op(base, weight_type=IntType.INT16)
    carried = with_op(base, weight=base.op.weight.astype(np.int16))  # type: ignore[attr-defined]
    yield Edge("weights' carrier", base, carried, "weights lie in int16, not int8")
    yield Edge("weight type", base, wide_weights, "weights have at most 8 bits, not 16")
    for dtype in (IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6):
        narrow = with_op(base, weight_type=dtype)
        label = "a weight"
        yield from ends(f"weight {dtype}", narrow, "weight", dtype.minimum, dtype.maximum, label)
    zeros = with_op(base, weight=filled(0, 2, 1, 1, 4))
    yield from ends("bias", zeros, "bias", -INT32_MAX, INT32_MAX, "a bias")
    yield Edge("biases", base, with_op(base, bias=full(0, 1)), "the bias has shape (1,), not (2,)")
    padded = with_output(with_op(base, pads=Pads(1, 0, 0, 0)), shape=(1, 3, 1, 2))
    yield from ends("padding", padded, "pad_value", -128, 127, "the padding")
    yield from requantizations(base)
    yield from accumulators()


def requantizations(base: Case) -> Iterator[Edge]:
    """The factors of a convolution of two channels."""

    def at(**fields: Any) -> Case:
        return with_op(base, requantize=form(2, **fields))

    message = "a multiplier lies outside [0, 2147483647]"
    yield Edge("multiplier 0", at(multiplier=0), at(multiplier=-1), message)
    yield Edge("largest multiplier", at(multiplier=INT32_MAX), at(multiplier=1 << 31), message)
    short = with_op(base, requantize=replace(form(2), multiplier=full(1, 1)))
    yield Edge("multipliers", base, short, "the table of multipliers has shape (1,), not (2,)")
    message = "the pre-shift lies outside [0, 30]"
    yield Edge("pre-shift 0", base, at(pre_shift=-1), message)
    one = with_op(base, weight=filled(0, 2, 1, 1, 4), bias=full(1, 2), requantize=form(2, pre_shift=30))
    yield Edge("pre-shift 30", one, with_op(one, requantize=form(2, pre_shift=31)), message)
    message = "a zero point lies outside [-128, 127]"
    yield Edge("zero point -128", at(zero_point=-128), at(zero_point=-129), message)
    yield Edge("zero point 127", at(zero_point=127), at(zero_point=128), message)
    for name, near, far in (("lo", -128, -129), ("hi", 127, 128)):
        outside = at(**{name: full(far, 2)})
        yield Edge(f"clamp {name}", at(**{name: full(near, 2)}), outside, "a clamp lies outside [-128, 127]")
        longer = at(**{name: full(near, 3)})
        yield Edge(f"shape of {name}", base, longer, "a clamp has shape (3,), not (2,)")
    crossed = at(lo=np.array([0, 6]), hi=np.array([0, 5]))
    message = "a clamp's lower bound is above its upper one"
    yield Edge("order of clamps", at(lo=np.array([0, 5]), hi=np.array([0, 5])), crossed, message)


def accumulators() -> Iterator[Edge]:
    """The bound is exact: with every input at -128 the sums just inside are 2**31 - 1 in magnitude."""
    layers: dict[str, tuple[np.ndarray, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
        "pointwise": (filled(-128, 5, 1, 1, 4), (1, 2, 1, 4), (1, 2, 1, 5), {}),
        "fully connected": (filled(-128, 5, 1, 1, 17), (1, 1, 1, 17), (1, 1, 1, 5), {}),
        "3x3": (filled(-128, 3, 3, 3, 5), (1, 4, 4, 5), (1, 2, 2, 3), {}),
        "padded": (filled(-128, 3, 3, 3, 5), (1, 4, 4, 5), (1, 4, 4, 3), {"pads": Pads(1, 1, 1, 1)}),
        "grouped": (filled(-128, 4, 3, 1, 2), (1, 4, 1, 4), (1, 2, 1, 4), {"groups": 2}),
        "depthwise": (filled(-128, 6, 3, 3, 1), (1, 4, 4, 6), (1, 2, 2, 6), {"groups": 6}),
        "4-bit": (filled(-8, 5, 1, 1, 8), (1, 2, 1, 8), (1, 2, 1, 5), {"weight_type": IntType.INT4}),
        "2-bit": (filled(-2, 5, 1, 1, 8), (1, 2, 1, 8), (1, 2, 1, 5), {"weight_type": IntType.INT2}),
    }
    reach = "can reach 2147483648, beyond 32 bits"
    for name, (weight, x, y, fields) in layers.items():
        spare = INT32_MAX - 128 * int(np.abs(weight[0].astype(int)).sum())
        base = conv(weight, spare, x, y, **fields)
        channel = f"the accumulator of channel {len(weight) - 1} {reach}"
        last = np.array([*[spare] * (len(weight) - 1), spare + 1])
        yield Edge(f"sum, {name}", base, with_op(base, bias=last), channel)
        if name == "pointwise":
            # Powers of two, where the rounding half and the zero point would not fit the bias any more.
            exact = with_op(base, requantize=form(5, 1 << 24, 127))
            yield Edge("sum, power of two", exact, with_op(exact, bias=last), channel)
        if base.op.weight_type is IntType.INT8:  # type: ignore[attr-defined]
            spare = INT32_MAX - 32768 * int(np.abs(weight[0].astype(int)).sum())
            wide = with_output(with_input(base, qtype=INT16), qtype=INT16)
            wide = with_op(wide, bias=full(spare, len(weight)))
            first = np.array([spare + 1, *[0] * (len(weight) - 1)])
            message = f"the accumulator of channel 0 {reach}"
            yield Edge(f"sum of int16, {name}", wide, with_op(wide, bias=first), message)
    negative = conv(filled(127, 2, 1, 1, 4), -(INT32_MAX - 4 * 128 * 127), (1, 2, 1, 4), (1, 2, 1, 2))
    far = with_op(negative, bias=negative.op.bias - 1)  # type: ignore[attr-defined]
    yield Edge("negative sum", negative, far, f"the accumulator of channel 0 {reach}")
    shifted = conv(
        filled(-128, 2, 1, 1, 4), (INT32_MAX >> 3) - (4 << 14), (1, 2, 1, 4), (1, 2, 1, 2),
        requantize=form(2, pre_shift=3),
    )  # fmt: skip
    far = with_op(shifted, bias=shifted.op.bias + 1)  # type: ignore[attr-defined]
    yield Edge("pre-shift of a sum", shifted, far, f"the accumulator of channel 0 {reach}")


def column_pool(height: int, x: QType, pre_shift: int) -> Case:
    """The mean of a column, whose sum is as large as it can be."""
    op = QAveragePool(
        "op", ("x",), "y", (height, 1), (1, 1), NO_PADS, x.dtype.minimum, full(1 << 24, 1, 1), pre_shift, 3,
        full(-128, 4), full(127, 4),
    )  # fmt: skip
    return case(op, (1, height, 1, 4), (1, 1, 1, 4), x=x)


def pools() -> Iterator[Edge]:
    op = QAveragePool(
        "op", ("x",), "y", (1, 1), (1, 1), NO_PADS, 3, full(1, 2, 1), 0, 3, full(-128, 3), full(127, 3)
    )
    base = case(op, IMAGE, IMAGE)
    yield from geometry(base, dilated=False)
    yield from ends("multiplier", base, "multiplier", 0, INT32_MAX, "a multiplier")
    yield from ends("input's zero point", base, "input_zero_point", -128, 127, "a zero point")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from clamps(base)
    yield Edge("pre-shift 0", base, with_op(base, pre_shift=-1), "the pre-shift lies outside [0, 30]")
    most, more = (with_op(base, input_zero_point=-128, pre_shift=shift) for shift in (23, 24))
    message = "the sum over the window can reach {}, beyond 32 bits"
    yield Edge("pre-shift of a sum", most, more, message.format(255 << 24))
    yield Edge("largest pre-shift", most, with_op(base, pre_shift=31), "the pre-shift lies outside [0, 30]")
    one, two = (with_op(base, even_count=count) for count in (1, 2))
    yield Edge("even count", one, two, "the even count lies outside [0, 1]")
    fine = full(INT32_MAX, 1, 1)
    most, more = (with_op(column_pool(2, INT8, shift), multiplier=fine, even_count=2) for shift in (21, 22))
    yield Edge(
        "rest of a mean", most, more, f"what a mean leaves can reach {(510 << 23) + 1020}, beyond 32 bits"
    )
    table = with_op(base, multiplier=full(1, 1, 2))
    yield Edge("multipliers", base, table, "the table of multipliers has shape (1, 2), not (2, 1)")
    other = with_output(base, shape=(1, 1, 2, 3))
    yield Edge("output", base, other, "(1, 2, 1, 3) -> (1, 1, 2, 3) is not (2, 1)")

    inside, outside = (column_pool(height, INT8, 16) for height in (128, 129))
    yield Edge("sum", inside, outside, message.format(255 * 129 << 16))
    inside, outside = (column_pool(height, INT16, 8) for height in (128, 129))
    yield Edge("sum of int16", inside, outside, message.format(65535 * 129 << 8))
    ends_of = (with_op(column_pool(height, INT16, 0), input_zero_point=0) for height in (65535, 65536))
    inside, outside = ends_of
    yield Edge("longest sum of int16", inside, outside, message.format(1 << 31))


def max_pools() -> Iterator[Edge]:
    base = case(QMaxPool("op", ("x",), "y", (1, 1), (1, 1), (1, 1), NO_PADS), IMAGE, IMAGE)
    yield from geometry(base, dilated=True)
    for what, outside in (
        ("output", with_output(base, shape=(1, 1, 2, 3))),
        ("type", with_output(base, qtype=OTHER)),
    ):
        message = f"{base.inputs[0]} -> {outside.output} is not a maximum over windows"
        yield Edge(what, base, outside, message)


def lookups() -> Iterator[Edge]:
    base = case(QLookup("op", ("x",), "y", full(0, 256)), IMAGE, IMAGE)
    yield from ends("entry", base, "table", -128, 127, "an entry of the table")
    yield Edge("table", base, with_op(base, table=full(0, 255)), "the table has shape (255,), not (256,)")
    yield Edge("input's type", base, with_input(base, qtype=INT16), "x is int16, not int8")
    wide = with_output(base, qtype=INT16)
    yield from ends("entry, int16", wide, "table", -32768, 32767, "an entry of the table")
    other = with_output(base, shape=(1, 1, 2, 3))
    yield Edge("shape", base, other, f"{base.inputs[0]} -> {other.output} is not of one shape")


def interpolations() -> Iterator[Edge]:
    op = QInterpolate("op", ("x",), "y", full(0, 257), 16)
    narrow = with_input(case(op, IMAGE, IMAGE), qtype=INT16)
    wide = with_op(with_output(narrow, qtype=INT16), shift=8)
    yield from ends("entry", wide, "table", -32768, 32767, "an entry of the table")
    yield from ends("entry, to int8", narrow, "table", -32768, 32639, "an entry of the table")
    yield from ends("shift", wide, "shift", 8, 8, "the shift")
    yield from ends("shift, to int8", narrow, "shift", 16, 16, "the shift")
    message = "the table's 256 entries are not 2^n + 1"
    yield Edge("table", wide, with_op(wide, table=full(0, 256)), message)
    for entries, beyond, shift in ((3, 2, 15), (32769, 65537, 1)):
        inside = with_op(wide, table=full(0, entries), shift=shift)
        message = f"the table's {beyond} entries are not 2^n + 1"
        yield Edge(f"table of {entries}", inside, with_op(inside, table=full(0, beyond)), message)
    yield Edge("table's shape", wide, with_op(wide, table=full(0, 257, 1)), "the table has shape (257, 1)")
    for what, other in (
        ("shape", with_output(wide, shape=(1, 1, 2, 3))),
        ("input's type", with_input(wide, qtype=OTHER)),
    ):
        message = f"{other.inputs[0]} -> {other.output} is not int16 and of one shape"
        yield Edge(what, wide, other, message)


def axes(base: Case) -> Iterator[Edge]:
    """The axis of an operator along one, of (1, 2, 3)."""
    yield Edge("batch", base, with_op(base, axis=0), "(1, 2, 3) has no axis 0 to work along")
    yield Edge("axis", base, with_op(base, axis=3), "(1, 2, 3) has no axis 3 to work along")


def falling(first: int) -> np.ndarray:
    """A table of exponentials that falls from its first entry."""
    return np.array([first, *[0] * 255], np.int64)


def exponentials(base: Case) -> Iterator[Edge]:
    """Tables that softmax and log-softmax refuse."""
    first = int(base.op.table[0])  # type: ignore[attr-defined]
    short = with_op(base, table=falling(first)[:255])
    yield Edge("table", base, short, "the table of exponentials has shape (255,), not (256,)")
    for place, (near, far) in ((1, (first, first + 1)), (255, (0, -1))):
        tables = [falling(first), falling(first)]
        tables[0][place], tables[1][place] = near, far
        message = f"an exponential lies outside [0, {first}]"
        yield Edge(f"entry {far}", with_op(base, table=tables[0]), with_op(base, table=tables[1]), message)


def softmaxes() -> Iterator[Edge]:
    base = case(QSoftmax("op", ("x",), "y", 2, falling(4)), (1, 2, 3), (1, 2, 3), y=PROBABILITY)
    yield from axes(base)
    yield from exponentials(base)
    one, none = (with_op(base, table=falling(first)) for first in (1, 0))
    yield Edge("first entry", one, none, "the exponential of 0 is 0: a sum could be 0")

    def lane(size: int, first: int) -> Case:
        return case(QSoftmax("op", ("x",), "y", 1, falling(first)), (1, size), (1, size), y=PROBABILITY)

    message = "a numerator can reach 4294967552, beyond 32 bits"
    yield Edge("numerator", lane(2, 16711935), lane(2, 16711936), message)
    message = "a numerator can reach 4294967296, beyond 32 bits"
    yield Edge("numerator of 171", lane(171, 12576770), lane(171, 12576771), message)
    message = "the sum of 1023 exponentials overflows"
    yield Edge("sum", lane(1023, 4198404), lane(1023, 4198405), message)
    for what, outside in (
        ("shape", with_output(base, shape=(1, 3, 2))),
        ("output's type", with_output(base, qtype=INT8)),
        ("input's type", with_input(base, qtype=INT16)),
    ):
        message = f"{outside.inputs[0]} -> {outside.output} is not an int8 softmax"
        yield Edge(what, base, outside, message)


def log_softmaxes() -> Iterator[Edge]:
    logs = full(1, 256)
    op = QLogSoftmax("op", ("x",), "y", 2, falling(4), 2, 1, logs, 1, 1, 0)
    base = case(op, (1, 2, 3), (1, 2, 3))
    yield from axes(base)
    yield from exponentials(base)
    yield from ends("shift", base, "shift", 1, 31, "the shift")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    message = "the number of bits lies outside [0, 30]"
    for bits, far in ((0, -1), (30, 31)):
        inside = with_op(base, table=falling(1 << bits), bits=bits)
        yield Edge(f"bits {bits}", inside, with_op(base, bits=far), message)
    yield Edge("first entry", base, with_op(base, bits=3), "the exponential of 0 is 4, not 8")
    yield Edge(
        "logarithms", base, with_op(base, logs=full(1, 255)),
        "the table of logarithms has shape (255,), not (256,)",
    )  # fmt: skip

    def lane(size: int, **fields: Any) -> Case:
        nothing: dict[str, Any] = {"multiplier": 0, "logs": full(0, 256), "log_two": 0}
        wide = replace(op, axis=1, table=falling(1 << 22), bits=22, **(nothing | fields))
        return case(wide, (1, size), (1, size))

    yield Edge("sum", lane(1023), lane(1024), "the sum of 1024 exponentials overflows")
    message = "a logarithm can reach 2147483648, beyond 32 bits"
    for sign in (1, -1):
        steep, two = sign * 8421504, sign * 238609294
        for what, fields, near in (
            ("logarithm", {}, INT32_MAX - 1),
            ("multiplier", {"multiplier": steep}, 126),
            ("logarithm of two", {"log_two": two}, 0),
        ):
            inside = lane(1023, logs=full(sign * near, 256), **fields)
            outside = lane(1023, logs=full(sign * (near + 1), 256), **fields)
            yield Edge(f"{what} {sign}", inside, outside, message)
    half = lane(2, shift=31, logs=full((1 << 30) - 1, 256))
    yield Edge("rounding half", half, lane(2, shift=31, logs=full(1 << 30, 256)), message)
    for what, outside in (
        ("shape", with_output(base, shape=(1, 3, 2))),
        ("output's type", with_output(base, qtype=INT16)),
        ("input's type", with_input(base, qtype=INT16)),
    ):
        message = f"{outside.inputs[0]} -> {outside.output} is not an int8 log-softmax"
        yield Edge(what, base, outside, message)


def normalizations() -> Iterator[Edge]:
    base = case(QLpNormalize("op", ("x",), "y", 2, 2, 3), (1, 2, 3), (1, 2, 3), y=SYMMETRIC)
    yield from axes(base)
    yield from ends("zero point", base, "input_zero_point", -128, 127, "a zero point")
    yield Edge("p", with_op(base, p=1), with_op(base, p=0), "p = 0 is neither 1 nor 2")
    yield Edge("larger p", base, with_op(base, p=3), "p = 3 is neither 1 nor 2")

    def lane(size: int, p: int, zero_point: int) -> Case:
        return case(QLpNormalize("op", ("x",), "y", 1, p, zero_point), (1, size), (1, size), y=SYMMETRIC)

    for p, size, zero_point in ((1, 8224, -128), (2, 16512, -128), (1, 16383, 0), (2, 65535, 0)):
        message = f"the length of {size + 1} elements can overflow"
        inside, outside = (lane(n, p, zero_point) for n in (size, size + 1))
        yield Edge(f"length, p = {p}, zero point {zero_point}", inside, outside, message)
    for what, outside in (
        ("shape", with_output(base, shape=(1, 3, 2))),
        ("output's type", with_output(base, qtype=INT8)),
        ("input's type", with_input(base, qtype=INT16)),
    ):
        message = f"{outside.inputs[0]} -> {outside.output} is not a normalization"
        yield Edge(what, base, outside, message)


def resizes() -> Iterator[Edge]:
    rows, columns = full(0, 3), full(0, 2)
    op = QResizeLinear("op", ("x",), "y", rows, rows, rows, columns, columns, columns, 0)
    base = case(op, (1, 2, 4, 3), (1, 3, 2, 3))
    for axis, size in (("row", 2), ("column", 4)):
        for name in ("low", "high"):
            label = "a position"
            yield from ends(f"{axis} {name}", base, f"{axis}_{name}", 0, size - 1, label)
        yield from ends(f"{axis} weight", base, f"{axis}_weight", 0, 2048, "a weight")
        length = len(getattr(op, f"{axis}_low"))
        for name in ("high", "weight"):
            outside = with_op(base, **{f"{axis}_{name}": full(0, length - 1)})
            message = f"a table of an axis has shape ({length - 1},), not ({length},)"
            yield Edge(f"{axis} {name} table", base, outside, message)
    for what, outside in (
        ("output", with_output(base, shape=(1, 2, 2, 3))),
        ("type", with_output(base, qtype=OTHER)),
        ("rank", with_output(with_input(base, shape=(1, 2, 4)), shape=(1, 3, 2))),
    ):
        expected = (1, 3, 2, 3)[: len(outside.inputs[0].shape)]
        message = f"{outside.inputs[0]} -> {outside.output} is not {expected}"
        yield Edge(what, base, outside, message)
    yield from ends("shift between", base, "between", 0, 11, "the shift between")


def positions() -> Iterator[Edge]:
    base = case(QArgMax("op", ("x",), "y", 2, False, False), (1, 2, 3), (1, 2, 1), y=CLASS)
    yield from axes(base)

    def lane(size: int) -> Case:
        return case(QArgMax("op", ("x",), "y", 1, True, True), (1, size), (1, 1), y=CLASS)

    middle = case(QArgMax("op", ("x",), "y", 1, False, False), (1, 2, 3), (1, 1, 3), y=CLASS)
    for what, inside, outside in (
        ("size", lane(256), lane(257)),
        ("shape, first axis", middle, with_output(middle, shape=(1, 1, 2))),
        ("shape", base, with_output(base, shape=(1, 2, 2))),
        ("type", base, with_output(base, qtype=INT8)),
    ):
        yield Edge(what, inside, outside, f"{outside.inputs[0]} -> {outside.output} is not a class map")


def concatenations() -> Iterator[Edge]:
    base = case(QConcat("op", ("a", "b"), "y", 2), (1, 2, 3), (1, 2, 4), (1, 2, 7))
    yield Edge("batch", base, with_op(base, axis=0), "cannot join along axis 0 of (1, 2, 3)")
    yield Edge("axis", base, with_op(base, axis=3), "cannot join along axis 3 of (1, 2, 3)")
    unlike = with_input(base, 1, shape=(1, 3, 4))
    yield Edge("other axes", base, unlike, "(1, 3, 4) and (1, 2, 3) differ beyond axis 2")
    flat = with_input(base, 1, shape=(1, 2))
    yield Edge("rank", base, flat, "(1, 2) and (1, 2, 3) differ beyond axis 2")
    for what, outside in (
        ("output", with_output(base, shape=(1, 2, 6))),
        ("first type", with_input(base, 0, qtype=OTHER)),
        ("second type", with_input(base, 1, qtype=OTHER)),
    ):
        message = f"{outside.inputs} -> {outside.output} is not a concatenation"
        yield Edge(what, base, outside, message)


def moves() -> Iterator[Edge]:
    reshape = case(QReshape("op", ("x",), "y", (1, 3, 2)), (1, 2, 3), (1, 3, 2))
    yield Edge("elements", reshape, with_input(reshape, shape=(1, 2, 4)), "(1, 2, 4) cannot be (1, 3, 2)")
    transpose = case(QTranspose("op", ("x",), "y", (0, 2, 1)), (1, 2, 3), (1, 3, 2))
    for order in ((0, 1, 1), (1, 0, 2), (0, 1), (0, 2, 3)):
        message = f"{order} does not order the axes after the batch"
        yield Edge(f"order {order}", transpose, with_op(transpose, permutation=order), message)
    pad = case(QPad("op", ("x",), "y", (0, 1, 0), (0, 0, 2), 0), (1, 2, 3), (1, 3, 5))
    yield from ends("value", pad, "value", -128, 127, "the border")
    no_borders = (
        ((0, 1), (0, 0, 2)), ((0, 1, 0), (0, 2)), ((0, -1, 0), (0, 2, 2)), ((0, 1, 0), (0, 0, -2)),
    )  # fmt: skip
    for before, after in no_borders:
        message = f"{before}, {after} is no border of (1, 2, 3)"
        yield Edge(f"border {before}, {after}", pad, with_op(pad, before=before, after=after), message)
    for fields in ({"before": (1, 1, 0)}, {"after": (1, 0, 2)}):
        yield Edge(f"border of the batch {fields}", pad, with_op(pad, **fields), "the batch takes no border")
    take = case(QTake("op", ("x",), "y", (None, (1, 0, 0), None)), (1, 2, 3), (1, 3, 3))
    leaves = "a selection leaves an axis of 2, or is empty"
    for indices, message in (
        ((None, (1, 0, 2), None), leaves),
        ((None, (-1, 0, 0), None), leaves),
        ((None, (), None), leaves),
        (((0,), (1, 0, 0), None), "a selection along 3 axes does not fit (1, 2, 3)"),
        ((None, (1, 0, 0)), "a selection along 2 axes does not fit (1, 2, 3)"),
    ):
        yield Edge(f"positions {indices}", take, with_op(take, indices=indices), message)
    for base in (reshape, transpose, pad, take):
        for what, outside in (
            ("shape", with_output(base, shape=(1, *base.output.shape[:0:-1]))),
            ("type", with_output(base, qtype=OTHER)),
        ):
            if outside.output == base.output:  # a square
                outside = with_output(base, shape=(1, 9))
            message = f"{base.inputs[0]} -> {outside.output} is not a move to {base.output.shape}"
            if outside.output.elements != base.output.elements and base is reshape:
                message = "cannot be"
            yield Edge(what, base, outside, message)


def kernel_limits() -> Iterator[Case]:
    """Accepted, at or just beyond what one kernel can do: another one, or another form, must take over."""
    for odd in ((1 << 23) - 1, 1 << 23):  # sums of paired channels, dfq_dsp_matmul.h
        bias = np.array([0, odd - (4 << 14)])
        yield with_op(conv(filled(-128, 2, 1, 1, 4), 0, (1, 2, 1, 4), (1, 2, 1, 2)), bias=bias)
    for odd in ((1 << 19) - 1, 1 << 19, 1 << 20):  # the same of 16 times the sum
        bias, weight = np.array([0, odd - 4 * 8 * 128]), filled(-8, 2, 1, 1, 4)
        yield with_op(conv(weight, 0, (1, 2, 1, 4), (1, 2, 1, 2), weight_type=IntType.INT4), bias=bias)
    for depth in (511, 512):  # the upper 18 bits of a shared sum
        weight = filled(-2, 2, 1, 1, depth)
        yield conv(weight, 0, (1, 2, 1, depth), (1, 2, 1, 2), weight_type=IntType.INT2)
    for height in (256, 257):  # sums of 16 bits
        yield column_pool(height, INT8, 0)


LIMITS = [*kernel_limits()]
OTHER_EDGES = [
    *sums(), *broadcast_sums(), *products(), *maxima(), *prelus(), *convolutions(), *pools(), *max_pools(),
    *lookups(),
    *interpolations(),
        *softmaxes(), *log_softmaxes(), *normalizations(), *resizes(), *positions(),
    *concatenations(), *moves(),
]  # fmt: skip
