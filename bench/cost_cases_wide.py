"""Layers for bench/cost_table.py: the operators of larger networks, of int16."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from cost_cases import TYPE, Case

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Op
from dfqgen.graph.site import Site
from dfqgen.ops.add import Add
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import QTranspose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.real import REAL, QDequantize, QQuantize
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.take import QTake

Shape = tuple[int, ...]
WIDE = QType(IntType.INT16, 0.001, 0)
UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))
TYPES = ((WIDE, WIDE), (WIDE, TYPE), (TYPE, WIDE))
"""Of inputs and output, in turn."""


def wide_cases(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Layers over tensors of these shapes [H, W, C]."""
    rng = np.random.default_rng(4)
    yield from _moved(shapes)
    yield from _real(shapes)
    for number, shape in enumerate(shapes):
        whole = (1, *shape)
        channels = shape[-1]
        x_type, y_type = TYPES[number % 3]
        for kind, other in enumerate([whole, (1, 1, 1, channels), (*whole[:3], 1), (1, 1, 1, 1)]):
            name = f"{number}_{kind}"
            yield _lowered(f"mw{name}", Mul(), (whole, other), x_type, y_type)
            yield _lowered(f"xw{name}", Maximum(), (whole, other), x_type, y_type)
            if kind:
                yield _lowered(f"bw{name}", Add(), (whole, other), x_type, y_type)
        slopes = PRelu(np.linspace(-0.2, 0.6, channels))
        yield _lowered(f"rw{number}", slopes, (whole,), x_type, y_type)
        axis = 3 if number % 2 == 0 else 1
        for op in (ArgMax(axis), Softmax(axis), LogSoftmax(axis), LpNormalize(axis)):
            fixed = op.output_type(y_type.dtype) or replace(y_type, scale=y_type.scale * 8)
            yield _lowered(f"lw{type(op).__name__}{number}", op, (whole,), x_type, fixed)
        ways = [Interpolation.at(np.sort(rng.uniform(0, n - 1, 2 * n)), n) for n in shape[:2]]
        yield _lowered(f"zw{number}", ResizeLinear(*ways), (whole,), WIDE, WIDE)


def _lowered(name: str, op: Op, shapes: Sequence[Shape], x_type: QType, y_type: QType) -> Case:
    """A float operator at a place of these types."""
    inputs = tuple(QTensor(f"{name}_x{i}", shape, x_type) for i, shape in enumerate(shapes))
    y = QTensor(f"{name}_y", op.infer_shape(*shapes), y_type)
    (lowered,) = op.lower(Site(name, inputs, y, UNCLIPPED))
    return Case(lowered, inputs, y)


def _real(shapes: Sequence[Shape]) -> Iterator[Case]:
    """float32 inputs and outputs."""
    sums = QType(IntType.INT32, 0.001, 0)
    for number, shape in enumerate(shapes):
        for qtype in (TYPE, WIDE, sums):
            name = f"fd{number}_{qtype.dtype}"
            x = QTensor(f"{name}_x", (1, *shape), qtype)
            y = QTensor(f"{name}_y", x.shape, REAL)
            yield Case(QDequantize.of(name, x, y.name), (x,), y)
            if qtype is not sums:
                name = f"fq{number}_{qtype.dtype}"
                x, y = QTensor(f"{name}_x", x.shape, REAL), QTensor(f"{name}_y", x.shape, qtype)
                yield Case(QQuantize.of(name, x.name, y), (x,), y)


def _moved(shapes: Sequence[Shape]) -> Iterator[Case]:
    """Transpositions and regular selections."""
    for number, (rows, columns, channels) in enumerate(shapes):
        whole = (1, rows, columns, channels)
        orders = [(0, 3, 1, 2), (0, 2, 1, 3), (0, 3, 2, 1)]
        left, second = tuple(range((columns + 1) // 2)), tuple(range(0, channels, 2))
        ops: list[QOp] = [QTranspose(f"tw{number}_{k}", (), "", order) for k, order in enumerate(orders)]
        ops += [QTake(f"vw{number}_0", (), "", (None, None, left, None))]
        ops += [QTake(f"vw{number}_1", (), "", (None, None, None, second))]
        for op in ops:
            x = QTensor(f"{op.name}_x", whole, WIDE)
            y = QTensor(f"{op.name}_y", op.evaluate(np.zeros(whole)).shape, WIDE)
            yield Case(replace(op, inputs=(x.name,), output=y.name), (x,), y)  # type: ignore[type-var]
