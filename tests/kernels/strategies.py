"""Hypothesis strategies of integer operators: odd shapes, every geometry, hard numbers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.kernels.packing import PACKED_TYPES
from dfqgen.ops.add import QAdd
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.lookup import QInterpolate, QLookup
from dfqgen.ops.movement import QPad, QTranspose
from dfqgen.ops.pool import AveragePool, QAveragePool, QMaxPool
from dfqgen.ops.softmax import PROBABILITY, QSoftmax
from dfqgen.ops.windows import NO_PADS, Pads, window_output

Pair = tuple[int, int]
TYPE = QType(IntType.INT8, 0.05, 3)


@dataclass(frozen=True)
class Case:
    """An operator, the types it is used with, and integers for its inputs."""

    op: QOp
    inputs: tuple[QTensor, ...]
    output: QTensor
    values: tuple[np.ndarray, ...]

    @property
    def expected(self) -> np.ndarray:
        return self.op.evaluate(*self.values).astype(self.output.qtype.dtype.carrier)


def tensor(name: str, shape: tuple[int, ...], qtype: QType = TYPE) -> QTensor:
    return QTensor(name, shape, qtype)


def make_case(op: QOp, inputs: tuple[QTensor, ...], output: QTensor, rng: np.random.Generator) -> Case:
    """With random values, or one of the extremes."""
    op.verify(inputs, output)
    kind = int(rng.integers(0, 6))
    return Case(op, inputs, output, tuple(_values(t, kind, rng) for t in inputs))


def _values(tensor: QTensor, kind: int, rng: np.random.Generator) -> np.ndarray:
    dtype = tensor.qtype.dtype
    if kind < 4:
        return rng.integers(dtype.minimum, dtype.maximum + 1, tensor.shape).astype(dtype.carrier)
    return np.full(tensor.shape, dtype.minimum if kind == 4 else dtype.maximum, dtype.carrier)


def channel_bounds(rng: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """No clamp, one for all channels, one as a ReLU's, or one each."""
    kind = rng.integers(0, 4)
    if kind == 3:
        return np.full(channels, rng.integers(-128, 0)), np.full(channels, 127)
    if kind == 0:
        return np.full(channels, -128), np.full(channels, 127)
    if kind == 1:
        return np.full(channels, rng.integers(-128, 0)), np.full(channels, rng.integers(0, 128))
    return rng.integers(-128, 0, channels), rng.integers(0, 128, channels)


def requantize(rng: np.random.Generator, channels: int, typical: float) -> Requantize:
    """Per-channel or uniform factors of about 60 / `typical`; powers of two half of the time."""
    factors = 60.0 / typical * np.exp2(rng.uniform(-2, 2, channels))
    if rng.integers(0, 3) == 0:
        factors[:] = factors[0]
    if rng.integers(0, 2) == 0:
        factors = np.exp2(np.round(np.log2(factors)))
    if rng.integers(0, 8) == 0:
        factors *= 16.0  # a few of 1/2 and more: needs the pre-shift
    lo, hi = channel_bounds(rng, channels)
    return Requantize.from_scale(factors, int(rng.integers(-128, 128)), lo, hi)


rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Pair, Pair, Pair, Pair, Pads]:
    """Image, kernel, stride, dilation, pads that fit."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (1, 3), (2, 2), (5, 4), (10, 4)]))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 2), (1, 3)]))
    image = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    pad = st.integers(0, 3)
    pads = draw(st.one_of(st.just(NO_PADS), st.just(Pads(1, 1, 1, 1)), st.builds(Pads, pad, pad, pad, pad)))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(image[0] + pads.top + pads.bottom >= reach[0])
    assume(image[1] + pads.left + pads.right >= reach[1])
    return image, kernel, stride, dilation, pads


def conv_case(
    rng: np.random.Generator,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: Pads,
    groups: int,
    group_in: int,
    group_out: int,
) -> Case:
    channels = groups * group_out
    smallest = rng.choice([-128, -127])
    weight = rng.integers(smallest, 128, (channels, *kernel, group_in)).astype(np.int8)
    depth = kernel[0] * kernel[1] * group_in
    op = QConv2D(
        name="conv",
        inputs=("x",),
        output="y",
        weight=weight,
        weight_type=IntType.INT8,
        bias=rng.integers(-5000, 5000, channels).astype(np.int32),
        stride=stride,
        dilation=dilation,
        pads=pads,
        pad_value=int(rng.integers(-128, 128)),
        groups=groups,
        requantize=requantize(rng, channels, 73.0 * 73.0 * np.sqrt(depth)),
    )
    size = window_output(image, kernel, stride, dilation, pads)
    x = tensor("x", (1, *image, groups * group_in))
    return make_case(op, (x,), tensor("y", (1, *size, channels)), rng)


@st.composite
def winograd(draw: st.DrawFn) -> Case:
    """3x3, 1x3 or 3x1 over one column, stride 1, channels by fours: any padding, images with whole tiles or
    without.
    """
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (1, 3), (3, 1)]))
    pad = st.integers(0, 3)
    pads = draw(st.one_of(st.just(Pads(1, 1, 1, 1)), st.builds(Pads, pad, pad, pad, pad)))
    if kernel == (3, 1):
        pads = pads._replace(left=0, right=0)
    height = draw(st.integers(max(1, kernel[0] - pads.top - pads.bottom), 10))
    width = 1 if kernel == (3, 1) else draw(st.integers(max(1, 3 - pads.left - pads.right), 13))
    depth, channels = draw(st.sampled_from([4, 8, 12, 16, 20, 24])), draw(st.integers(1, 10))
    rng = draw(rngs)
    return conv_case(rng, (height, width), kernel, (1, 1), (1, 1), pads, 1, depth, channels)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Any geometry and grouping."""
    shape = draw(windows())
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    group_in, group_out = draw(st.integers(1, 19)), draw(st.integers(1, 9))
    return conv_case(draw(rngs), *shape, groups, group_in, group_out)


@st.composite
def depthwise(draw: st.DrawFn) -> Case:
    """One filter a channel; sometimes several (a multiplier)."""
    shape = draw(windows())
    multiplier = draw(st.sampled_from([1, 1, 1, 1, 2, 3]))
    return conv_case(draw(rngs), *shape, draw(st.integers(2, 21)), 1, multiplier)


@st.composite
def pointwise(draw: st.DrawFn) -> Case:
    """1x1 without stride or padding; a single pixel too."""
    image = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    channels = st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64]))
    return conv_case(draw(rngs), image, (1, 1), (1, 1), (1, 1), NO_PADS, 1, draw(channels), draw(channels))


def narrowed(case: Case, dtype: IntType) -> Case:
    """A convolution with weights of this type, the upper bits of its own; outputs stay as large."""
    op = case.op
    assert isinstance(op, QConv2D)
    lost, form = 8 - dtype.bits, op.requantize
    spare = 31 - int(form.multiplier.max()).bit_length()  # a larger factor would need a pre-shift
    return replace(
        case,
        op=replace(
            op,
            weight=(op.weight >> lost).astype(np.int8),
            weight_type=dtype,
            requantize=replace(form, multiplier=form.multiplier << min(lost, spare)),
        ),
    )


def widened(case: Case, x: IntType, y: IntType) -> Case:
    """A convolution between these types; its outputs fill theirs as they did int8."""
    op = case.op
    assert isinstance(op, QConv2D)
    rng = np.random.default_rng(int(op.bias[0]) + 5000)
    form, more = op.requantize, y.bits - 8
    factors = form.multiplier * 2.0 ** (form.pre_shift - 32 + y.bits - x.bits)
    lo, hi = (
        np.where(np.abs(b + 0.5) > 127, b * 256 + (b > 0) * 255, b * 256) >> (8 - more)
        for b in (form.lo, form.hi)
    )
    pad = int(rng.integers(x.minimum, x.maximum + 1))
    wide = replace(
        op,
        pad_value=pad,
        bias=op.bias << (x.bits - 8),
        requantize=Requantize.from_scale(factors, int(rng.integers(y.minimum, y.maximum + 1)), lo, hi),
    )
    inputs = (replace(case.inputs[0], qtype=replace(TYPE, dtype=x)),)
    return make_case(wide, inputs, replace(case.output, qtype=replace(TYPE, dtype=y)), rng)


def summed(case: Case) -> Case:
    """A convolution of int8 or int16 whose outputs are int32 sums, without a clip or with one for all."""
    op, rng = case.op, np.random.default_rng(int(case.values[0].size))
    assert isinstance(op, QConv2D)
    channels, wide = op.out_channels, IntType.INT32
    lo = 0 if rng.integers(0, 2) else wide.minimum
    factors = np.exp2(rng.uniform(-6, -2, channels))
    form = Requantize.from_scale(factors, 0, lo, wide.maximum)
    output = replace(case.output, qtype=QType(wide, 1e-6, 0))
    return make_case(replace(op, requantize=form), case.inputs, output, rng)


ANY = (IntType.INT8, IntType.INT16)
WIDE_TYPES = [
    (IntType.INT16, IntType.INT16),
    (IntType.INT8, IntType.INT16),
    (IntType.INT16, IntType.INT8),
]


@st.composite
def any_weights(draw: st.DrawFn, case: Case) -> Case:
    """A convolution with weights of eight bits or of fewer."""
    return narrowed(case, draw(st.sampled_from(PACKED_TYPES))) if draw(st.booleans()) else case


@st.composite
def with_int16(draw: st.DrawFn, case: Case) -> Case:
    """A convolution with int16 activations, and weights of any width."""
    return widened(draw(any_weights(case)), *draw(st.sampled_from(WIDE_TYPES)))


@st.composite
def wide(draw: st.DrawFn) -> Case:
    """Convolutions of any kind with int16 activations, and weights of any width."""
    case = draw(any_weights(draw(st.one_of(convolutions(), depthwise(), pointwise()))))
    if draw(st.integers(0, 4)) == 0:
        narrow = IntType.INT8
        return summed(case if draw(st.booleans()) else widened(case, IntType.INT16, narrow))
    return widened(case, *draw(st.sampled_from(WIDE_TYPES)))


@st.composite
def low_bits(draw: st.DrawFn) -> Case:
    """Convolutions of any kind with weights of fewer than eight bits."""
    case = draw(st.one_of(convolutions(), depthwise(), pointwise()))
    return narrowed(case, draw(st.sampled_from(PACKED_TYPES)))


@st.composite
def sums(draw: st.DrawFn) -> Case:
    rng = draw(rngs)
    shape = (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 13)))
    lo, hi = channel_bounds(rng, shape[-1])
    fine = draw(st.integers(0, 3)) == 0
    shift, dropped = int(rng.integers(8, 23) if fine else rng.integers(1, 15)), 8 if fine else 0
    limit = min(2**29 - 1 if fine else 2**15 - 1, int(2.5 * 2 ** (shift + dropped)))
    multipliers = (int(rng.integers(-limit, limit + 1)), int(rng.integers(1, limit + 1)))
    offset = int(rng.integers(-128, 128)) * (1 << shift)
    op = QAdd("add", ("a", "b"), "y", multipliers, offset, shift, lo, hi, dropped)
    return make_case(op, (tensor("a", shape), tensor("b", shape)), tensor("y", shape), rng)


@st.composite
def wide_sums(draw: st.DrawFn) -> Case:
    """Sums with int16 on at least one side, whose products are whole or upper words."""
    case, rng = draw(sums()), draw(rngs)
    op = case.op
    assert isinstance(op, QAdd)
    *xs, y = draw(st.sampled_from([t for t in itertools.product(ANY, repeat=3) if IntType.INT16 in t]))
    dropped = 0 if op.dropped == 0 else 16 if IntType.INT16 in xs else 8
    multipliers = op.multipliers
    if dropped == 0 and IntType.INT16 in xs:
        multipliers = (multipliers[0] // 4, multipliers[1] // 4)
    if y is IntType.INT16:
        op = replace(op, lo=op.lo * 256, hi=op.hi * 256 + 255)
    op = replace(op, dropped=dropped, multipliers=multipliers)
    inputs = tuple(replace(x, qtype=replace(TYPE, dtype=t)) for x, t in zip(case.inputs, xs, strict=True))
    output = replace(case.output, qtype=replace(TYPE, dtype=y))
    assume(op.terms.reach(*inputs) < 2**31)
    return make_case(op, inputs, output, rng)


@st.composite
def wide_maxima(draw: st.DrawFn) -> Case:
    """Maximum pooling of int16."""
    case = draw(pools().filter(lambda case: isinstance(case.op, QMaxPool)))
    wide_type = replace(TYPE, dtype=IntType.INT16)
    x, y = (replace(tensor, qtype=wide_type) for tensor in (*case.inputs, case.output))
    return make_case(case.op, (x,), y, draw(rngs))


@st.composite
def pools(draw: st.DrawFn) -> Case:
    image, kernel, stride, dilation, pads = draw(windows())
    rng, channels = draw(rngs), draw(st.integers(1, 9))
    x = tensor("x", (1, *image, channels))
    # ONNX wants padding smaller than the window, so that every window meets a real element.
    pads = Pads(*(min(p, k - 1) for p, k in zip(pads, (*kernel, *kernel), strict=True)))
    if draw(st.booleans()):
        assume(all(n + p >= d * (k - 1) + 1 for n, p, k, d in _reach(image, kernel, dilation, pads)))
        size = window_output(image, kernel, stride, dilation, pads)
        op: QOp = QMaxPool("pool", ("x",), "y", kernel, stride, dilation, pads)
        return make_case(op, (x,), tensor("y", (1, *size, channels)), rng)
    assume(all(n + p >= k for n, p, k, _ in _reach(image, kernel, dilation, pads)))
    average = AveragePool(kernel, stride, pads, draw(st.booleans()))
    counts = average.counts(image)
    assume(counts.min() > 0)
    case = average_case(rng, average, image, channels)
    return halves_to_even(case, int(counts.max())) if draw(st.booleans()) else case


def average_case(rng: np.random.Generator, pool: AveragePool, image: Pair, channels: int) -> Case:
    """Means of windows of x [1,*image,channels], every one over at least one element."""
    counts = pool.counts(image)
    size = window_output(image, pool.kernel, pool.stride, (1, 1), pool.pads)
    form = Requantize.from_scale(rng.uniform(0.5, 2.0) / counts.reshape(-1), 0, 0, 0)
    lo, hi = channel_bounds(rng, channels)
    op = QAveragePool(
        "pool", ("x",), "y", pool.kernel, pool.stride, pool.pads, int(rng.integers(-128, 128)),
        form.multiplier.reshape(counts.shape), form.pre_shift, int(rng.integers(-128, 128)), lo, hi,
    )  # fmt: skip
    return make_case(op, (tensor("x", (1, *image, channels)),), tensor("y", (1, *size, channels)), rng)


def halves_to_even(case: Case, count: int) -> Case:
    """The means of a case where input and output have one type, with every window of `count` elements."""
    op = case.op
    assert isinstance(op, QAveragePool)
    op = replace(op, zero_point=op.input_zero_point, lo=op.lo * 0 - 128, hi=op.hi * 0 + 127, even_count=count)
    form = Requantize.from_scale(np.ones(1) / count, 0, 0, 0)
    multiplier = np.broadcast_to(form.multiplier, op.multiplier.shape).copy()
    return replace(case, op=replace(op, multiplier=multiplier, pre_shift=form.pre_shift))


def _reach(
    image: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int], pads: Pads
) -> list[tuple[int, int, int, int]]:
    return [
        (image[0], pads.top + pads.bottom, kernel[0], dilation[0]),
        (image[1], pads.left + pads.right, kernel[1], dilation[1]),
    ]


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(lambda sizes: (1, *sizes))


@st.composite
def lookups(draw: st.DrawFn) -> Case:
    rng, shape = draw(rngs), draw(shapes)
    op = QLookup("table", ("x",), "y", rng.integers(-128, 128, 256).astype(np.int8))
    return make_case(op, (tensor("x", shape),), tensor("y", shape), rng)


@st.composite
def interpolations(draw: st.DrawFn) -> Case:
    """Functions with int16 on at least one side."""
    rng, shape = draw(rngs), draw(shapes)
    x, y = draw(st.sampled_from(WIDE_TYPES))
    types = (replace(TYPE, dtype=x), replace(TYPE, dtype=y))
    if x is IntType.INT8:
        table = rng.integers(-32768, 32768, 256).astype(np.int16)
        op: QOp = QLookup("table", ("x",), "y", table)
    else:
        bits = draw(st.integers(1, 10))
        entries = rng.integers(-32768, 32768 - (128 if y is IntType.INT8 else 0), 2**bits + 1)
        op = QInterpolate("table", ("x",), "y", entries.astype(np.int16), 32 - bits - y.bits)
    return make_case(op, (tensor("x", shape, types[0]),), tensor("y", shape, types[1]), rng)


@st.composite
def moves(draw: st.DrawFn) -> Case:
    """Transpositions and paddings."""
    rng, shape = draw(rngs), draw(shapes)
    axes = len(shape)
    qtype = replace(TYPE, dtype=draw(st.sampled_from([IntType.INT8, IntType.INT16])))
    x = tensor("x", shape, qtype)
    if draw(st.booleans()):
        order = (0, *draw(st.permutations(range(1, axes))))
        op: QOp = QTranspose("move", ("x",), "y", order)
        return make_case(op, (x,), tensor("y", tuple(shape[a] for a in order), qtype), rng)
    border = st.lists(st.integers(0, 2), min_size=axes - 1, max_size=axes - 1)
    before, after = (0, *draw(border)), (0, *draw(border))
    alike = [0, -1, 257, -257][: 2 if qtype.dtype is IntType.INT8 else 4]  # two bytes that are the same
    value = int(rng.choice(alike) if draw(st.booleans()) else rng.integers(-128, 128))
    op = QPad("move", ("x",), "y", before, after, value)
    size = tuple(b + n + a for b, n, a in zip(before, shape, after, strict=True))
    return make_case(op, (x,), tensor("y", size, qtype), rng)


@st.composite
def softmaxes(draw: st.DrawFn) -> Case:
    rng, shape = draw(rngs), draw(shapes)
    axis = draw(st.integers(1, len(shape) - 1))
    table = np.floor(np.exp(-rng.uniform(0.001, 0.5) * np.arange(256.0)) * 2.0**22 + 0.5).astype(np.int32)
    op = QSoftmax("softmax", ("x",), "y", axis, table)
    return make_case(op, (tensor("x", shape),), tensor("y", shape, PROBABILITY), rng)
