"""Hypothesis strategies of what attention and norms need: int8 and int16 in any mix."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Op
from dfqgen.graph.site import Site
from dfqgen.ops.divide import Div
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.standardize import Standardize
from tests.kernels.strategies import Case, make_case, rngs, shapes

Shape = tuple[int, ...]


@st.composite
def qtypes(draw: st.DrawFn) -> QType:
    """int8 with any zero point, or int16."""
    scale = 2.0 ** draw(st.floats(-8, 2))
    if draw(st.booleans()):
        return QType(IntType.INT16, scale / 256, draw(st.sampled_from([0, 0, -5, 32767])))
    return QType(IntType.INT8, scale, draw(st.integers(-128, 127)))


def case_of(draw: st.DrawFn, op: Op, shapes_in: tuple[Shape, ...]) -> Case:
    """The operator as it is lowered, with random types and a clip now and then."""
    names = tuple("abc"[: len(shapes_in)])
    inputs = tuple(QTensor(n, shape, draw(qtypes())) for n, shape in zip(names, shapes_in, strict=True))
    output = QTensor("y", op.infer_shape(*shapes_in), draw(qtypes()))
    lo, hi = output.qtype.real_range
    clipped = draw(st.booleans())
    clip = (np.array([lo / 2 if clipped else -np.inf]), np.array([hi / 3 if clipped else np.inf]))
    try:
        (integer,) = op.lower(Site("op", inputs, output, clip))
        return make_case(integer, inputs, output, draw(rngs))
    except ProgramError:
        assume(False)  # numbers out of proportion: a scale far beyond the output's
        raise


@st.composite
def matmuls(draw: st.DrawFn) -> Case:
    batches, rows, depth, columns = (draw(st.integers(1, 7)) for _ in range(4))
    transpose_b = draw(st.booleans())
    b = (1, batches, columns, depth) if transpose_b else (1, batches, depth, columns)
    op = MatMul(transpose_b=transpose_b, factor=2.0 ** draw(st.floats(-6, 2)))
    return case_of(draw, op, ((1, batches, rows, depth), b))


@st.composite
def normalizations(draw: st.DrawFn) -> Case:
    """Blocks of one element to many, with and without a mean, by channel or for all."""
    rng = draw(rngs)
    groups, width = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 5)), groups * width)
    sizes = [draw(st.sampled_from([1, shape[-1]])) for _ in range(2)]
    op = Standardize(
        draw(st.integers(1, 3)),
        rng.normal(size=sizes[0]),
        rng.normal(size=sizes[1]),
        groups,
        draw(st.booleans()),
        10.0 ** draw(st.floats(-12, 2)),
    )
    return case_of(draw, op, (shape,))


@st.composite
def pairs(draw: st.DrawFn, op: Op) -> Case:
    """Of two tensors, either of which may repeat along axes."""
    shape = draw(shapes)
    masks = [draw(st.sampled_from([(True, True), (True, True), (True, False), (False, True)])) for _ in shape]
    a, b = (tuple(n if mask[k] else 1 for n, mask in zip(shape, masks, strict=True)) for k in range(2))
    return case_of(draw, op, (a, b))


FAMILIES = {
    "matmul": matmuls(),
    "normalization": normalizations(),
    "quotient": pairs(Div()),
    "magnitude": pairs(Magnitude()),
}
