"""Hypothesis strategies for the operators of detection and segmentation networks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.ops.add import QBroadcastAdd
from dfqgen.ops.argmax import CLASS, QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import SYMMETRIC
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.movement import QTranspose
from dfqgen.ops.multiply import QMul
from dfqgen.ops.normalize import QLpNormalize
from dfqgen.ops.prelu import QPRelu
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.take import QTake
from tests.kernels.strategies import Case, make_case, rngs, shapes, tensor

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
    return make_case(op, (tensor("x", shape),), tensor("y", output), rng)


@st.composite
def wide_transposes(draw: st.DrawFn) -> Case:
    """Of six axes, as depth to space makes them."""
    rng = draw(rngs)
    shape = (1, *draw(st.lists(st.integers(1, 3), min_size=5, max_size=6)))
    order = (0, *draw(st.permutations(range(1, len(shape)))))
    op = QTranspose("move", ("x",), "y", order)
    return make_case(op, (tensor("x", shape),), tensor("y", tuple(shape[a] for a in order)), rng)


@st.composite
def concats(draw: st.DrawFn) -> Case:
    rng, shape = draw(rngs), draw(shapes)
    axis = draw(st.integers(1, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    inputs = tuple(tensor(f"x{i}", (*shape[:axis], size, *shape[axis + 1 :])) for i, size in enumerate(sizes))
    output = tensor("y", (*shape[:axis], sum(sizes), *shape[axis + 1 :]))
    return make_case(QConcat("concat", tuple(x.name for x in inputs), "y", axis), inputs, output, rng)


@st.composite
def resizes(draw: st.DrawFn) -> Case:
    rng = draw(rngs)
    sizes = st.integers(1, 6)
    height, width, channels = draw(sizes), draw(sizes), draw(sizes)

    def way(size: int) -> Interpolation:
        result = draw(st.integers(1, 9))
        return Interpolation.at(rng.uniform(-1, size, result), size)

    x = tensor("x", (1, height, width, channels))
    resize = ResizeLinear(way(height), way(width))
    y = tensor("y", resize.infer_shape(x.shape))
    (op,) = resize.lower(Site("resize", (x,), y, UNCLIPPED))
    return make_case(op, (x,), y, rng)


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


FAMILIES = {
    "take": takes(),
    "transpose of many axes": wide_transposes(),
    "concat": concats(),
    "resize": resizes(),
    "broadcast": broadcasts(),
    "prelu": prelus(),
    "lanes": lanes(),
}
