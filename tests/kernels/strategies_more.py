"""Hypothesis strategies for the operators of detection and segmentation networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.graph.site import Site
from dfqgen.ops.add import DROPPED, QBroadcastAdd
from dfqgen.ops.argmax import CLASS, ArgMax, QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import SYMMETRIC
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.movement import QTranspose
from dfqgen.ops.multiply import QMul, QWideMul
from dfqgen.ops.normalize import LpNormalize, QLpNormalize, QWideLpNormalize
from dfqgen.ops.prelu import QPRelu
from dfqgen.ops.real import REAL, QDequantize, QQuantize
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.take import QTake
from tests.kernels.strategies import TYPE, WIDE_TYPES, Case, make_case, rngs, shapes, tensor

ANY = [IntType.INT8, IntType.INT16]
any_types = st.sampled_from(ANY).map(lambda dtype: replace(TYPE, dtype=dtype))
"""int8, or int16: of a tensor that is only moved."""
UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


@st.composite
def takes(draw: st.DrawFn) -> Case:
    """Slices, reversals, repetitions, and any positions."""
    rng, shape = draw(rngs), draw(shapes)
    indices: list[tuple[int, ...] | None] = [None]
    for size in shape[1:]:
        kind = draw(st.sampled_from(["all", "slice", "reverse", "repeat", "any"]))
        if kind == "all":
            indices.append(None)
        elif kind == "slice":
            start = draw(st.integers(0, size - 1))
            indices.append(tuple(range(start, size, draw(st.integers(1, 3)))))
        elif kind == "reverse":
            indices.append(tuple(range(size - 1, -1, -1)))
        elif kind == "repeat":
            indices.append((draw(st.integers(0, size - 1)),) * draw(st.integers(1, 4)))
        else:
            positions = st.lists(st.integers(0, size - 1), min_size=1, max_size=7)
            indices.append(tuple(draw(positions)))
    op = QTake("take", ("x",), "y", tuple(indices))
    output = tuple(n if i is None else len(i) for n, i in zip(shape, indices, strict=True))
    qtype = draw(any_types)
    return make_case(op, (tensor("x", shape, qtype),), tensor("y", output, qtype), rng)


@st.composite
def wide_transposes(draw: st.DrawFn) -> Case:
    """Of six axes, as depth to space makes them."""
    rng = draw(rngs)
    shape = (1, *draw(st.lists(st.integers(1, 3), min_size=5, max_size=6)))
    order = (0, *draw(st.permutations(range(1, len(shape)))))
    op, qtype = QTranspose("move", ("x",), "y", order), draw(any_types)
    output = tensor("y", tuple(shape[a] for a in order), qtype)
    return make_case(op, (tensor("x", shape, qtype),), output, rng)


@st.composite
def concats(draw: st.DrawFn) -> Case:
    rng, shape = draw(rngs), draw(shapes)
    axis = draw(st.integers(1, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    qtype = draw(any_types)

    def joined(name: str, size: int) -> QTensor:
        return tensor(name, (*shape[:axis], size, *shape[axis + 1 :]), qtype)

    inputs = tuple(joined(f"x{i}", size) for i, size in enumerate(sizes))
    output = joined("y", sum(sizes))
    return make_case(QConcat("concat", tuple(x.name for x in inputs), "y", axis), inputs, output, rng)


@st.composite
def resizes(draw: st.DrawFn) -> Case:
    rng = draw(rngs)
    sizes = st.integers(1, 6)
    height, width, channels = draw(sizes), draw(sizes), draw(sizes)

    def way(size: int) -> Interpolation:
        result = draw(st.integers(1, 9))
        return Interpolation.at(rng.uniform(-1, size, result), size)

    qtype = draw(any_types)
    x = tensor("x", (1, height, width, channels), qtype)
    resize = ResizeLinear(way(height), way(width))
    y = tensor("y", resize.infer_shape(x.shape), qtype)
    (op,) = resize.lower(Site("resize", (x,), y, UNCLIPPED))
    return make_case(op, (x,), y, rng)


def wide_resizes() -> st.SearchStrategy[Case]:
    """Of int16."""
    return resizes().filter(lambda case: case.output.qtype.dtype is IntType.INT16)


@st.composite
def broadcasts(draw: st.DrawFn) -> Case:
    """Products, sums and maxima where either operand repeats."""
    rng, shape = draw(rngs), draw(shapes)
    masks = [draw(st.sampled_from([(True, True), (True, True), (True, False), (False, True)])) for _ in shape]
    a, b = (
        tensor(name, tuple(n if mask[k] else 1 for n, mask in zip(shape, masks, strict=True)))
        for k, name in enumerate("ab")
    )
    y = tensor("y", np.broadcast_shapes(a.shape, b.shape))
    lo, hi = (-128, 127) if draw(st.booleans()) else (int(rng.integers(-128, 0)), int(rng.integers(0, 128)))
    shift = int(rng.integers(1, 15))
    limit = min(2**15 - 1, int(2.5 * 2**shift))
    first, second = int(rng.integers(-limit, limit + 1)), int(rng.integers(1, limit + 1))
    zero = int(rng.integers(-128, 128)) << shift
    kind = draw(st.sampled_from(["product", "sum", "maximum"]))
    if kind == "product":
        zeros = (int(rng.integers(-128, 128)), int(rng.integers(-128, 128)))
        scale = int(rng.integers(1 << 14, 1 << 15))
        shift = int(rng.integers(18, 25))
        op: QOp = QMul("mul", ("a", "b"), "y", zeros, scale, shift, int(rng.integers(-128, 128)), lo, hi)
    elif kind == "sum":
        channels = y.shape[-1]
        op = QBroadcastAdd(
            "add", ("a", "b"), "y", (first, second), zero, shift, np.full(channels, lo), np.full(channels, hi)
        )
    else:
        other = int(rng.integers(-128, 128)) << shift
        minimum = draw(st.booleans())
        op = QMaximum("max", ("a", "b"), "y", (first, second), (zero, other), shift, minimum, lo, hi)
    return make_case(op, (a, b), y, rng)


@st.composite
def prelus(draw: st.DrawFn) -> Case:
    rng, shape = draw(rngs), draw(shapes)
    shift = int(rng.integers(8, 16))
    slopes = rng.integers(-(1 << 14), 1 << 15, shape[-1])
    op = QPRelu(
        "prelu", ("x",), "y", int(rng.integers(-128, 128)), int(rng.integers(1, 1 << 15)), slopes, shift,
        int(rng.integers(-128, 128)), int(rng.integers(-128, 0)), int(rng.integers(0, 128)),
    )  # fmt: skip
    return make_case(op, (tensor("x", shape),), tensor("y", shape), rng)


@st.composite
def lanes(draw: st.DrawFn) -> Case:
    """Operators along one axis."""
    rng, shape = draw(rngs), draw(shapes)
    axis = draw(st.integers(1, len(shape) - 1))
    x = tensor("x", shape, QType(IntType.INT8, float(rng.uniform(0.001, 0.5)), int(rng.integers(-128, 128))))
    kind = draw(st.sampled_from(["argmax", "log-softmax", "normalize"]))
    if kind == "argmax":
        op: QOp = QArgMax("argmax", ("x",), "y", axis, draw(st.booleans()), draw(st.booleans()))
        return make_case(op, (x,), tensor("y", (*shape[:axis], 1, *shape[axis + 1 :]), CLASS), rng)
    if kind == "normalize":
        op = QLpNormalize("norm", ("x",), "y", axis, draw(st.sampled_from([1, 2])), x.qtype.zero_point)
        return make_case(op, (x,), tensor("y", shape, SYMMETRIC), rng)
    y = tensor("y", shape, QType(IntType.INT8, float(rng.uniform(0.01, 0.2)), 127))
    (op,) = LogSoftmax(axis).lower(Site("log", (x,), y, UNCLIPPED))
    return make_case(op, (x,), y, rng)


def of_type(op: QOp, inputs: tuple[QTensor, ...], y: QTensor) -> bool:
    """Whether the proof lets the operator have these types."""
    try:
        op.verify(inputs, y)
    except ProgramError:
        return False
    return True


@st.composite
def wide_pairs(draw: st.DrawFn) -> Case:
    """Products, sums and maxima of int8 and int16 in any mix, and leaky ReLUs."""
    case = draw(st.one_of(broadcasts(), prelus()))
    rng, op = draw(rngs), case.op
    types = [draw(st.sampled_from(ANY)) for _ in (*case.inputs, case.output)]
    assume(IntType.INT16 in types)
    inputs = tuple(
        replace(x, qtype=replace(TYPE, dtype=dtype)) for x, dtype in zip(case.inputs, types, strict=False)
    )
    y = replace(case.output, qtype=replace(TYPE, dtype=types[-1]))
    if types[-1] is IntType.INT16:
        bounds: Any = op
        op = replace(bounds, lo=bounds.lo * 256, hi=bounds.hi * 256 + 255)
    if isinstance(op, QMul):
        zeros = tuple(int(rng.integers(-128, 128)) if t is IntType.INT8 else 0 for t in types[:-1])
        spread = np.exp2(types[-1].bits - sum(t.bits for t in types[:-1]) + rng.uniform(-2, 3))
        if rng.integers(0, 2):
            spread = np.exp2(np.round(np.log2(spread)))
        form = Requantize.from_scale(np.array([spread]), int(rng.integers(-128, 128)), 0, 0)
        op = QWideMul(
            "mul", ("a", "b"), "y", (zeros[0], zeros[1]), int(form.multiplier[0]), form.pre_shift,
            form.zero_point, op.lo, op.hi,
        )  # fmt: skip
    elif isinstance(op, QPRelu):
        op = replace(op, shift=min(31, op.shift + types[0].bits - 8))
    else:
        assert isinstance(op, QBroadcastAdd | QMaximum)
        factors = (op.multipliers[0] // 2, op.multipliers[1] // 2)
        op = replace(op, multipliers=factors, shift=min(22, op.shift + max(t.bits for t in types[:-1]) - 8))
        if isinstance(op, QBroadcastAdd) and rng.integers(0, 2):
            first, second = ((m << 15) + int(rng.integers(0, 1 << 15)) for m in factors)
            op = replace(op, multipliers=(first, second), dropped=DROPPED[IntType.INT16])
    assume(of_type(op, inputs, y))
    return make_case(op, inputs, y, rng)


def wide_products() -> st.SearchStrategy[Case]:
    """Products with int16 on at least one side."""
    return wide_pairs().filter(lambda case: isinstance(case.op, QWideMul))


@st.composite
def wide_lanes(draw: st.DrawFn) -> Case:
    """Operators along one axis, of int8 and int16."""
    rng, shape = draw(rngs), draw(shapes)
    axis = draw(st.integers(1, len(shape) - 1))
    from_type, to_type = draw(st.sampled_from(WIDE_TYPES))
    step = float(rng.uniform(0.001, 0.5)) / (1 if from_type is IntType.INT8 else 64)
    x = tensor("x", shape, QType(from_type, step, 0))
    kind = draw(st.sampled_from([ArgMax, Softmax, LogSoftmax, LpNormalize]))
    float_op = kind(axis)
    y_type = float_op.output_type(to_type) or QType(to_type, float(rng.uniform(0.01, 0.2)), to_type.maximum)
    y = tensor("y", float_op.infer_shape(shape), y_type)
    (op,) = float_op.lower(Site("lane", (x,), y, UNCLIPPED))
    if isinstance(op, QArgMax):
        op = replace(op, minimum=draw(st.booleans()), last=draw(st.booleans()))
    if isinstance(op, QWideLpNormalize):
        low, high = from_type.minimum, from_type.maximum
        op = replace(op, p=draw(st.sampled_from([1, 2])), input_zero_point=int(rng.integers(low, high + 1)))
    return make_case(op, (x,), y, rng)


@st.composite
def real_ports(draw: st.DrawFn) -> Case:
    """float32 to integers and back: numbers of all sizes, ties, infinities and what is no number."""
    rng, shape = draw(rngs), draw(shapes)
    dtype = draw(st.sampled_from([*ANY, IntType.INT32]))
    zero_point = 0 if dtype is IntType.INT32 else int(rng.integers(dtype.minimum, dtype.maximum + 1))
    integers = QType(dtype, float(np.exp2(rng.uniform(-12, 4))), zero_point)
    if dtype is IntType.INT32 or draw(st.booleans()):
        x, y = tensor("x", shape, integers), tensor("y", shape, REAL)
        return make_case(QDequantize.of("port", x, "y"), (x,), y, rng)
    x, y = tensor("x", shape, REAL), tensor("y", shape, integers)
    op = QQuantize.of("port", "x", y)
    op.verify((x,), y)
    steps = rng.integers(2 * dtype.minimum, 2 * dtype.maximum, shape) * draw(
        st.sampled_from([0.5, 0.25, 0.1])
    )
    odd = rng.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0.0], shape)
    values = np.where(rng.random(shape) < 0.2, odd, steps * integers.scale).astype(np.float32)
    return Case(op, (x,), y, (values,))


FAMILIES = {
    "take": takes(),
    "transpose of many axes": wide_transposes(),
    "concat": concats(),
    "resize": resizes(),
    "broadcast": broadcasts(),
    "prelu": prelus(),
    "lanes": lanes(),
    "int16 pairs": wide_pairs(),
    "int16 lanes": wide_lanes(),
    "float32 ports": real_ports(),
}
