"""The Helium instructions themselves, on an emulated Cortex-M55, over shapes that reach every path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, Requantize
from dfqgen.kernels.packing import PACKED_TYPES
from dfqgen.ops.add import DROPPED, QAdd
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.multiply import QMul, QWideMul
from dfqgen.ops.pool import AveragePool, QAveragePool, QMaxPool
from dfqgen.ops.windows import NO_PADS, Pads, window_output
from dfqgen.targets import Isa, load_target
from tests.kernels import strategies
from tests.kernels.board import run_on_board, runs_of
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent_cases
from tests.tools import needs

M55 = load_target("cortex-m55")
INT8, INT16 = IntType.INT8, IntType.INT16
ONE = (1, 1)
AROUND = Pads(1, 1, 1, 1)

pytestmark = needs(M55.compiler.command, "qemu-system-arm")


def large_factor(case: Case) -> Case:
    """The same shape with small numbers and factors up to 1.5, which need a pre-shift."""
    op = case.op
    assert isinstance(op, QConv2D)
    channels = op.out_channels
    lo = np.full(channels, -128) if channels % 2 else np.arange(channels) % 100 - 110
    form = Requantize.from_scale(np.linspace(0.2, 1.5, channels)[::-1], -3, lo, np.full(channels, 127))
    assert form.pre_shift
    small = replace(op, weight=op.weight // 40, bias=op.bias // 500, requantize=form)
    return replace(case, op=small, values=tuple(values // 16 for values in case.values))


def convolutions(rng: np.random.Generator) -> list[Case]:
    """Every number of steps, tails of channels and depths, one pixel, odd rows, strides, dilation, pads."""
    pointwise = [(16 * steps, channels) for steps, channels in enumerate((1, 3, 8, 15, 16, 17, 20, 5, 36), 1)]
    pointwise += [(1, 1), (3, 8), (5, 65), (8, 16), (17, 9), (32, 80), (64, 144)]
    shapes = [((1, 2), ONE, ONE, ONE, NO_PADS, 1, *pair) for pair in pointwise]
    shapes += [((1, 1), ONE, ONE, ONE, NO_PADS, 1, *pair) for pair in pointwise]
    shapes += [
        ((3, 3), ONE, ONE, ONE, NO_PADS, 1, 16, 24),
        ((3, 5), ONE, ONE, ONE, NO_PADS, 1, 32, 1),
        ((3, 6), ONE, ONE, ONE, NO_PADS, 1, 20, 3),
        ((5, 4), ONE, (2, 2), ONE, NO_PADS, 1, 32, 10),
        ((4, 5), (3, 3), ONE, ONE, AROUND, 1, 3, 16),
        ((5, 5), (3, 3), (2, 2), ONE, Pads(0, 0, 1, 1), 1, 3, 8),
        ((12, 6), (10, 4), (2, 2), ONE, Pads(4, 1, 5, 1), 1, 1, 32),
        ((4, 4), (3, 3), ONE, ONE, AROUND, 1, 16, 16),
        ((4, 4), (3, 3), (2, 2), ONE, AROUND, 1, 16, 20),
        ((3, 4), (3, 3), ONE, ONE, AROUND, 1, 20, 7),
        ((3, 3), (3, 3), ONE, ONE, AROUND, 1, 32, 4),
        ((7, 7), (3, 3), ONE, (2, 2), Pads(2, 2, 2, 2), 1, 5, 6),
        ((6, 8), (3, 2), (1, 2), (1, 3), Pads(0, 3, 1, 0), 1, 16, 18),
        ((1, 1), (3, 3), ONE, ONE, AROUND, 1, 4, 3),
        ((2, 9), (1, 5), (1, 3), ONE, Pads(0, 3, 0, 2), 1, 7, 12),
        ((6, 3), (5, 1), ONE, ONE, Pads(3, 0, 1, 0), 1, 48, 6),
    ]
    cases = [strategies.conv_case(rng, *shape) for shape in shapes]
    return cases + [large_factor(case) for case in cases[2::5]]


def depthwise(rng: np.random.Generator) -> list[Case]:
    """Both special cases and the general one; widths around the group, odd heights, tails of channels."""
    sizes = [(1, 1, 2), (2, 3, 8), (3, 4, 16), (4, 5, 17), (5, 6, 33), (6, 8, 3), (5, 12, 40)]
    shapes = [((height, width), (3, 3), ONE, ONE, AROUND, channels) for height, width, channels in sizes]
    shapes += [
        ((4, 6), (3, 3), ONE, ONE, NO_PADS, 5),
        ((5, 20), (3, 3), ONE, ONE, AROUND, 18),
        ((4, 48), (3, 3), (2, 2), ONE, Pads(0, 0, 1, 1), 17),
        ((4, 6), (3, 3), ONE, ONE, Pads(2, 0, 1, 3), 20),
        ((6, 6), (3, 3), (2, 2), ONE, Pads(0, 0, 1, 1), 16),
        ((7, 17), (3, 3), (2, 2), ONE, AROUND, 19),
        ((9, 20), (3, 3), (1, 2), (2, 2), Pads(2, 2, 2, 2), 4),
        ((8, 8), (4, 3), (3, 2), ONE, AROUND, 6),
        ((6, 7), (5, 5), ONE, ONE, Pads(2, 2, 2, 2), 18),
        ((6, 7), (2, 2), (2, 2), ONE, NO_PADS, 7),
        ((7, 9), (3, 3), ONE, (2, 3), Pads(2, 3, 2, 3), 9),
        ((9, 4), (9, 1), (2, 1), ONE, Pads(4, 0, 4, 0), 16),
        ((3, 9), (1, 7), (1, 3), ONE, Pads(0, 3, 0, 3), 21),
    ]
    cases = [strategies.conv_case(rng, *shape[:5], shape[5], 1, 1) for shape in shapes]
    return cases + [large_factor(case) for case in cases[2::4]]


def low_bits(rng: np.random.Generator) -> list[Case]:
    """Every width, in all kinds of convolutions."""
    cases = [*convolutions(rng)[::2], *depthwise(rng)[::2]]
    return [strategies.narrowed(case, PACKED_TYPES[i % 4]) for i, case in enumerate(cases)]


def wide(rng: np.random.Generator) -> list[Case]:
    """int16 activations on either side, or both; some with weights of few bits."""
    cases = [*convolutions(rng)[::2], *depthwise(rng)[::2], *low_bits(rng)[::4]]
    return [strategies.widened(case, *strategies.WIDE_TYPES[i % 3]) for i, case in enumerate(cases)]


def others(rng: np.random.Generator) -> list[Case]:
    cases = []
    for elements in (1, 3, 4, 15, 64, 101):
        a, b, y = (strategies.tensor(name, (1, 1, 1, elements)) for name in "aby")
        lo, hi = np.full(elements, -100), np.full(elements, 90)
        add = QAdd("add", ("a", "b"), "y", (-20000, 15000), 7 << 15, 15, lo, hi)
        cases.append(strategies.make_case(add, (a, b), y, rng))
        for types in ((INT8, INT8, INT8), (INT16, INT8, INT16), (INT16, INT16, INT16), (INT16, INT16, INT8)):
            x0, x1, out = (
                replace(t, qtype=replace(t.qtype, dtype=d)) for t, d in zip((a, b, y), types, strict=True)
            )
            pair = (-300_000_007, 500_000_003)
            lost = DROPPED[types[0]]
            fine = QAdd("fine", ("a", "b"), "y", pair, 5 << 12, 30 - lost - 8, lo, hi, lost)
            cases.append(strategies.make_case(fine, (x0, x1), out, rng))
            cases += wide_products(rng, (x0, x1), out)
        product = QMul("mul", ("a", "b"), "y", (5, -7), 20000, 19, 11, -100, 90)
        cases.append(strategies.make_case(product, (a, b), y, rng))
        table = QLookup("table", ("a",), "y", rng.integers(-128, 128, 256).astype(np.int8))
        cases.append(strategies.make_case(table, (a,), y, rng))
    for image, kernel, stride, pads, channels in [
        ((8, 8), (8, 8), ONE, NO_PADS, 64),
        ((5, 7), (3, 2), (2, 2), AROUND, 7),
        ((4, 4), (3, 3), ONE, AROUND, 18),
        ((1, 1), ONE, ONE, NO_PADS, 1),
    ]:
        x = strategies.tensor("x", (1, *image, channels))
        y = strategies.tensor("y", (1, *window_output(image, kernel, stride, ONE, pads), channels))
        biggest = QMaxPool("pool", ("x",), "y", kernel, stride, ONE, pads)
        cases.append(strategies.make_case(biggest, (x,), y, rng))
        counts = AveragePool(kernel, stride, pads, False).counts(image)
        form = Requantize.from_scale(0.9 / counts.reshape(-1), 0, 0, 0)
        lo, hi = strategies.channel_bounds(rng, channels)
        mean = QAveragePool(
            "pool", ("x",), "y", kernel, stride, pads, 5,
            form.multiplier.reshape(counts.shape), form.pre_shift, -9, lo, hi,
        )  # fmt: skip
        cases.append(strategies.make_case(mean, (x,), y, rng))
    wide, gate = strategies.tensor("a", (1, 3, 5, 6)), strategies.tensor("b", (1, 1, 1, 6))
    gated = QMul("mul", ("a", "b"), "y", (5, -7), 20000, 19, 11, -128, 127)
    cases.append(strategies.make_case(gated, (wide, gate), strategies.tensor("y", wide.shape), rng))
    return cases


def wide_products(rng: np.random.Generator, inputs: tuple[QTensor, QTensor], y: QTensor) -> list[Case]:
    """By a factor and by a shift; of as many of another, and of one that repeats."""
    if all(tensor.qtype.dtype is INT8 for tensor in (*inputs, y)):
        return []
    a, b = inputs
    zeros = (5 if a.qtype.dtype is INT8 else 0, -7 if b.qtype.dtype is INT8 else 0)
    spread = 2.0 ** (y.qtype.dtype.bits - a.qtype.dtype.bits - b.qtype.dtype.bits + 2)
    found = []
    for factor in (spread, 0.7 * spread):
        form = Requantize.from_scale(np.array([factor]), 3, 0, 0)
        multiplier = int(form.multiplier[0])
        op = QWideMul("wide", ("a", "b"), "y", zeros, multiplier, form.pre_shift, 3, -100, 110)
        for other in (b, replace(b, shape=(1, 1, 1, 1))):
            found.append(strategies.make_case(op, (a, other), y, rng))
    return found


def recurrent(rng: np.random.Generator) -> list[Case]:
    return recurrent_cases(40)


@pytest.mark.parametrize("optimize", ["speed", "size"])
@pytest.mark.parametrize("family", [convolutions, depthwise, low_bits, wide, others, recurrent])
def test_instructions_equal_the_operator_in_place_too(
    tmp_path: Path, optimize: str, family: Callable[[np.random.Generator], list[Case]]
) -> None:
    rng = np.random.default_rng(5)
    runs = [run for case in family(rng) for run in runs_of(case, Isa.MVE)]
    results = run_on_board(runs, M55, tmp_path, optimize)
    for run, result in zip(runs, results, strict=True):
        note = f"{run.kernel.function} {run.case.inputs[0].shape} -> {run.case.output.shape}, {run.overlap=}"
        assert (result.wrong, result.harmed) == (0, 0), note
