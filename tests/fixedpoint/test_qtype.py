"""Real numbers as integers: rounding half up, multipliers below 2**31."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.graph.site import Site
from dfqgen.ops.add import Add
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS


def test_reals_are_rounded_half_up() -> None:
    found = QType(IntType.INT8, 1.0, 10).quantize(np.array([0.5, -0.5, 1.45, -1.55, 1000.0]))
    assert found.tolist() == [11, 10, 11, 8, 127]


@pytest.mark.parametrize("factor", [1.0 - 2.0**-40, 0.5 - 2.0**-41, 0.5, 1.0, 3.0, 2.0**-20])
def test_a_multiplier_stays_below_two_to_the_31(factor: float) -> None:
    form = Requantize.from_scale(np.array([factor]), 0, 0, 0)
    assert 0 <= form.multiplier[0] < 1 << 31
    assert form.multiplier[0] * 2.0 ** (form.pre_shift - 32) == pytest.approx(factor, rel=2.0**-11)


def test_a_sum_is_rounded_half_up() -> None:
    a, b = (QTensor(name, (1, 4), QType(IntType.INT8, 1.0, 3)) for name in "ab")
    y = QTensor("y", (1, 4), QType(IntType.INT8, 2.0, -5))
    site = Site("sum", (a, b), y, (np.array([-np.inf]), np.array([np.inf])))
    (op,) = Add().lower(site)
    halves = np.array([[3, 4, 5, 2]], np.int8)
    assert op.evaluate(halves, np.full((1, 4), 3, np.int8)).tolist() == [[-5, -4, -4, -5]]


def test_a_convolution_is_exact_beyond_the_mantissa_of_float32() -> None:
    depth = 1041
    wide = np.array([1 << 40])
    form = Requantize(np.array([(1 << 31) - 1]), 1, 0, -wide, wide)
    weight = np.full((1, 1, 1, depth), 127, np.int8)
    op = QConv2D(
        "op", ("x",), "y", weight, IntType.INT8, np.zeros(1, np.int64), (1, 1), (1, 1), NO_PADS, 0, 1, form
    )
    found = op.evaluate(np.full((1, 1, 1, depth), 127, np.int8))
    assert 127 * 127 * depth > 1 << 24
    assert found.item() == 127 * 127 * depth
