"""Grouped convolutions as dense ones: the same function, where it is faster and flash has room."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.dense import LARGEST, dense
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import Pads
from dfqgen.plan.kernels import choose_kernels
from dfqgen.targets import Isa, load_target
from tests.kernels import strategies
from tests.kernels.strategies import Case

SAME = Pads(1, 1, 1, 1)


def grouped(groups: int, group_in: int, group_out: int) -> Case:
    rng = np.random.default_rng(3)
    return strategies.conv_case(rng, (5, 6), (3, 3), (1, 1), (1, 1), SAME, groups, group_in, group_out)


def op_of(case: Case) -> QConv2D:
    assert isinstance(case.op, QConv2D)
    return case.op


@pytest.mark.parametrize(("groups", "group_in", "group_out"), [(2, 3, 2), (3, 4, 1), (4, 1, 2)])
def test_a_dense_layer_has_the_function_of_the_grouped_one(
    groups: int, group_in: int, group_out: int
) -> None:
    case = grouped(groups, group_in, group_out)
    one = dense(op_of(case))
    one.verify(case.inputs, case.output)
    assert one.groups == 1
    np.testing.assert_array_equal(one.evaluate(*case.values), case.op.evaluate(*case.values))


def dense_kernels(case: Case) -> set[Isa]:
    found = REGISTRY.candidates(case.op, case.inputs, case.output, list(Isa))
    return {kernel.isa for kernel in found if "Grouped" in type(kernel).__name__}


def test_groups_are_taken_by_every_instruction_set_but_not_depthwise_ones() -> None:
    assert dense_kernels(grouped(2, 4, 3)) == set(Isa)
    assert not dense_kernels(grouped(4, 1, 1))
    assert not dense_kernels(grouped(1, 4, 3))


def test_a_dense_layer_beyond_the_limit_is_not_tried() -> None:
    # 9 * (groups * 4) * (groups * 4) weights
    assert dense_kernels(grouped(170, 4, 4))
    assert 9 * (170 * 4) ** 2 <= LARGEST < 9 * (171 * 4) ** 2
    assert not dense_kernels(grouped(171, 4, 4))


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_the_planner_takes_it_where_it_is_faster(target: str) -> None:
    case = grouped(2, 32, 32)
    x, y = case.inputs[0], case.output
    program = Program("net", (QPort("x", "x"),), (QPort("y", "y"),), {"x": x, "y": y}, (op_of(case),))
    (kernel,) = choose_kernels(program, load_target(target), REGISTRY)
    assert kernel is not None
    assert "Grouped" in type(kernel).__name__
