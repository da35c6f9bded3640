"""More layers for bench/cost_table.py: packed weights, int16, and the operators of larger networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from cost_cases import TYPE, Case, cases, convolution
from cost_cases_attention import attention_cases
from cost_cases_recurrent import recurrent_cases
from cost_cases_wide import wide_cases

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.kernels.packing import PACKED_TYPES
from dfqgen.ops.add import DROPPED, QAdd, QBroadcastAdd
from dfqgen.ops.argmax import CLASS, QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import SYMMETRIC, QInterpolate, QLookup
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.movement import QPad, QTranspose
from dfqgen.ops.multiply import QMul
from dfqgen.ops.normalize import QLpNormalize
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.prelu import QPRelu
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.take import QTake
from dfqgen.ops.windows import NO_PADS

WIDE = QType(IntType.INT16, 0.001, 0)
UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))
SHAPES = ((16, 16, 16), (8, 8, 32), (5, 5, 7), (4, 4, 64), (1, 1, 10), (12, 10, 3))
Shape = tuple[int, ...]


def more_cases(*, power_of_two: bool) -> list[Case]:
    """Every case, always the same ones; `power_of_two` as in `cases`."""
    plain = cases(power_of_two=power_of_two)
    rng = np.random.default_rng(1)
    odd = list(_odd_vectors(rng, power_of_two))
    shallow = list(_shallow(power_of_two))
    return [
        *odd,
        *packed(odd),
        *packed(plain),
        *wide(plain),
        *_pairs(),
        *_movement(rng),
        *_lanes(),
        *_wide_tables(),
        *recurrent_cases(),
        *attention_cases(),
        *shallow,
        *(_renamed(case, f"{case.op.name}_wide", WIDE) for case in shallow),
        *_resizes(rng),
        *wide_cases(SHAPES),
    ]


def _odd_vectors(rng: np.random.Generator, power_of_two: bool) -> Iterator[Case]:
    """Fully connected layers whose inputs do not fill their last word."""
    for number, channels in enumerate(
        [(35, 8), (130, 20), (13, 40), (250, 10), (99, 64), (601, 3), (66, 31), (9, 4)]
    ):
        yield convolution(
            rng, f"odd{number}", (1, 1), channels, (1, 1), 1, NO_PADS, power_of_two=power_of_two
        )


def _shallow(power_of_two: bool) -> Iterator[Case]:
    """1x1 layers of few inputs and many outputs, with one pixel and with more."""
    rng = np.random.default_rng(3)
    for number, (pixels, channels) in enumerate(
        [(1, (16, 144)), (1, (16, 40)), (1, (32, 96)), (1, (48, 65)), (3, (16, 80)), (4, (32, 72))]
    ):
        yield convolution(
            rng, f"sh{number}", (1, pixels), channels, (1, 1), 1, NO_PADS, power_of_two=power_of_two
        )


def narrowed(case: Case, dtype: IntType) -> Case:
    """A convolution with weights of this type, the upper bits of its own."""
    op = case.op
    assert isinstance(op, QConv2D)
    name = f"{op.name}_{dtype}"
    weight = (op.weight >> (8 - dtype.bits)).astype(np.int8)
    return _renamed(case, name, weight=weight, weight_type=dtype)


def packed(plain: Sequence[Case]) -> Iterator[Case]:
    """Each convolution with one type of packed weights, so that every kind of layer meets every type."""
    convolutions = [case for case in plain if isinstance(case.op, QConv2D)]
    for number, case in enumerate(convolutions):
        yield narrowed(case, PACKED_TYPES[number % len(PACKED_TYPES)])
        if number % 3 == 0:
            yield narrowed(case, PACKED_TYPES[(number + 2) % len(PACKED_TYPES)])


def wide(plain: Sequence[Case]) -> Iterator[Case]:
    """Sums, pools and every second convolution from or to int16."""
    able = [case for case in plain if isinstance(case.op, QAdd | QAveragePool | QMaxPool)]
    convolutions = [case for case in plain if isinstance(case.op, QConv2D)]
    able += convolutions[::2]
    able += list(packed(convolutions))[::3]
    for number, case in enumerate(able):
        types = [(WIDE, WIDE), (WIDE, TYPE), (TYPE, WIDE)][number % 3]
        if isinstance(case.op, QMaxPool):
            types = (WIDE, WIDE)
        found = _renamed(case, f"{case.op.name}_wide", *types)
        if isinstance(found.op, QAdd):
            lost = DROPPED[types[0].dtype]
            found = replace(found, op=replace(found.op, multipliers=(9000 << 15, 7000 << 15), dropped=lost))
        yield found
        if isinstance(case.op, QConv2D) and number % 3 == 0:
            yield _clipped(found)
    for number, (image, channels, border) in enumerate(
        [((8, 8), 16, 1), ((5, 7), 3, 2), ((12, 4), 8, 1), ((1, 9), 20, 3)]
    ):
        yield _pad(f"pw{number}", image, channels, border, WIDE)
        yield _pad(f"pz{number}", image, channels, border, WIDE, 0)


def _clipped(case: Case) -> Case:
    """The same layer, int16, with a ReLU; the plain one without any clip."""
    op = case.op
    assert isinstance(op, QConv2D)
    form = op.requantize
    relu = replace(form, lo=np.zeros_like(form.lo), hi=np.full_like(form.hi, WIDE.dtype.maximum))
    return _renamed(case, f"{op.name}_relu", WIDE, WIDE, requantize=relu)


def _renamed(case: Case, name: str, x_type: QType = TYPE, y_type: QType = TYPE, **changes: object) -> Case:
    """The same layer of other types with tensors of its own."""
    xs = tuple(QTensor(f"{name}_x{i}", x.shape, x_type) for i, x in enumerate(case.inputs))
    y = QTensor(f"{name}_y", case.output.shape, y_type)
    inputs = tuple(x.name for x in xs)
    op: QOp = replace(case.op, name=name, inputs=inputs, output=y.name, **changes)  # type: ignore[type-var]
    return Case(op, xs, y)


def _case(
    op: QOp, shapes: Sequence[Shape], output: Shape, y_type: QType = TYPE, x_type: QType = TYPE
) -> Case:
    """A layer by the shapes of its tensors; `op` needs no names but its own."""
    xs = tuple(QTensor(f"{op.name}_x{i}", shape, x_type) for i, shape in enumerate(shapes))
    inputs = tuple(x.name for x in xs)
    named: QOp = replace(op, inputs=inputs, output=f"{op.name}_y")  # type: ignore[type-var]
    return Case(named, xs, QTensor(named.output, output, y_type))


def _pairs() -> Iterator[Case]:
    """Operators of two tensors, one of which repeats over channels, over pixels, everywhere or not at all."""
    for number, (rows, columns, channels) in enumerate(SHAPES):
        whole = (1, rows, columns, channels)
        for kind, other in enumerate([whole, (1, 1, 1, channels), (1, rows, columns, 1), (1, 1, 1, 1)]):
            if (number + kind) % 2:
                continue
            shapes, ends = (whole, other), f"{number}_{kind}"
            lo, hi = np.full(channels, -128), np.full(channels, 127)
            yield _case(QBroadcastAdd(f"ba{ends}", (), "", (9000, 7000), 1 << 13, 14, lo, hi), shapes, whole)
            yield _case(
                QMaximum(f"mx{ends}", (), "", (9000, 7000), (0, 9), 13, False, -128, 127), shapes, whole
            )
            if kind:
                yield _case(QMul(f"mu{ends}", (), "", (-3, -3), 20000, 20, -3, -128, 127), shapes, whole)
        slopes = np.arange(channels) * 50 - 300
        yield _case(QPRelu(f"pr{number}", (), "", -3, 12000, slopes, 14, -3, -128, 127), (whole,), whole)


def _wide_tables() -> Iterator[Case]:
    """Functions of single elements from or to int16."""
    for number, shape in enumerate(SHAPES):
        whole = (1, *shape)
        table = np.arange(256, dtype=np.int16)
        yield _case(QLookup(f"lw{number}", (), "", table), (whole,), whole, WIDE)
        line = np.linspace(-20000, 20000, 257).astype(np.int16)
        y_type, shift = (WIDE, 8) if number % 2 else (TYPE, 16)
        yield _case(QInterpolate(f"il{number}", (), "", line, shift), (whole,), whole, y_type, WIDE)


def _movement(rng: np.random.Generator) -> Iterator[Case]:
    for number, (rows, columns, channels) in enumerate(SHAPES):
        whole = (1, rows, columns, channels)
        yield _pad(f"pd{number}", (rows, columns), channels, 1 + number % 3, TYPE)
        for order in [(0, 3, 1, 2), (0, 2, 1, 3), (0, 3, 2, 1)]:
            moved = tuple(whole[axis] for axis in order)
            name = f"tr{number}_{order[1]}{order[2]}"
            yield _case(QTranspose(name, (), "", order), (whole,), moved)
        left = tuple(range((columns + 1) // 2))
        second = tuple(range(0, channels, 2))
        strange = tuple(int(at) for at in rng.integers(0, columns, columns + 1))
        mixed = tuple(int(at) for at in rng.integers(0, channels, channels))
        for kind, taken in enumerate(
            [(None, None, left, None), (None, None, None, second), (None, None, strange, None),
             (None, None, None, mixed)]
        ):  # fmt: skip
            size = tuple(n if at is None else len(at) for n, at in zip(whole, taken, strict=True))
            yield _case(QTake(f"tk{number}_{kind}", (), "", taken), (whole,), size)
        for count in range(2, 9):
            axis = 1 + (number + count) % 3
            joined = tuple(n * count if k == axis else n for k, n in enumerate(whole))
            yield _case(QConcat(f"ct{number}_{count}", (), "", axis), (whole,) * count, joined)


def _pad(name: str, image: tuple[int, int], channels: int, border: int, qtype: QType, value: int = 3) -> Case:
    x = (1, *image, channels)
    before, after = (0, border, border, 0), (0, border, 1, 0)
    y = tuple(a + n + b for a, n, b in zip(before, x, after, strict=True))
    return _case(QPad(name, (), "", before, after, value), (x,), y, qtype, qtype)


def _lanes() -> Iterator[Case]:
    """Operators along an axis."""
    for number, (rows, columns, channels) in enumerate(SHAPES[:5]):
        whole = (1, rows, columns, channels)
        axis = 3 if number % 2 == 0 else 1
        one = tuple(1 if k == axis else n for k, n in enumerate(whole))
        yield _case(QArgMax(f"am{number}", (), "", axis, False, False), (whole,), one, CLASS)
        yield _case(QLpNormalize(f"lp{number}", (), "", axis, 2, -3), (whole,), whole, SYMMETRIC)
        x = QTensor(f"ls{number}_x", whole, TYPE)
        y = QTensor(f"ls{number}_y", whole, QType(IntType.INT8, 0.06, 127))
        (op,) = LogSoftmax(axis).lower(Site(f"ls{number}", (x,), y, UNCLIPPED))
        yield Case(op, (x,), y)


def _resizes(rng: np.random.Generator) -> Iterator[Case]:
    sizes = [
        ((4, 4), 16, (8, 8)),
        ((7, 5), 3, (14, 10)),
        ((3, 3), 32, (6, 6)),
        ((6, 8), 7, (3, 4)),
        ((2, 2), 8, (9, 9)),
    ]
    for number, (image, channels, result) in enumerate(sizes):
        ways = [
            Interpolation.at(np.sort(rng.uniform(0, n - 1, m)), n) for n, m in zip(image, result, strict=True)
        ]
        resize = ResizeLinear(*ways)
        x = QTensor(f"rs{number}_x", (1, *image, channels), TYPE)
        y = QTensor(f"rs{number}_y", resize.infer_shape(x.shape), TYPE)
        (op,) = resize.lower(Site(f"rs{number}", (x,), y, UNCLIPPED))
        yield Case(op, (x,), y)
