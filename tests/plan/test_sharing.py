"""Which layers share code with `--optimize balanced`, and that what they share computes the same bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dfqgen.emit import emit, write_folder
from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Op
from dfqgen.kernels.base import Plan
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.targets import CostTable, Target, load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.host import verify_on_host
from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests import builders
from tests.programs import quantized

SIDE = 12
DEPTHS = (8, 8, 8, 12, 20)
"""Channels: the first two layers are alike, the last two like none."""


@cache
def program() -> Program:
    rng = np.random.default_rng(3)
    layers: list[Op] = [
        each
        for depth, channels in pairwise(DEPTHS)
        for each in (builders.conv(rng, channels, depth, 1, pad=0), builders.relu6())
    ]
    return quantized(builders.chain(layers, (1, SIDE, SIDE, DEPTHS[0])))


def target(name: str, more: float, own: float = 1000.0) -> Target:
    """Where a shared copy costs so many instructions more a layer."""
    machine = load_target(name)
    functions = {step.kernel.function for step in plan_program(program(), machine).steps}
    costs = replace(
        machine.costs,
        shared={function: {"call": more} for function in functions},
        copy_bytes={function: {"own": own, "shared": 1500.0} for function in functions},
    )
    return replace(machine, costs=costs)


def copies(plan: Plan) -> list[int | None]:
    """Which of the shared copies each layer calls, counted from 0 in the order of their first calls."""
    numbers = [None if step.shared is None else step.shared.number for step in plan.steps]
    order = list(dict.fromkeys(number for number in numbers if number is not None))
    return [None if number is None else order.index(number) for number in numbers]


def balanced(machine: Target) -> Plan:
    return plan_program(program(), machine, optimize="balanced")


def test_made_for_speed_or_size_no_layer_is_marked() -> None:
    for optimize in ("speed", "size"):
        assert copies(plan_program(program(), target("cortex-m4", 0.0), optimize=optimize)) == [None] * 4


def test_without_a_price_no_layers_share_code() -> None:
    assert copies(balanced(replace(load_target("cortex-m4"), costs=CostTable()))) == [None] * 4


def test_all_share_code_where_that_costs_little_time() -> None:
    machine = target("cortex-m4", 10.0)
    plan = balanced(machine)
    assert copies(plan) == [0, 0, 0, 0]
    alone = sum(layer.instructions for layer in estimate(plan_program(program(), machine)))
    assert sum(layer.instructions for layer in estimate(plan)) == alone + 4 * 10


def test_layers_keep_code_of_their_own_where_sharing_costs_much_time() -> None:
    assert copies(balanced(target("cortex-m4", 1e5))) == [None] * 4


def test_where_a_copy_for_all_kinds_is_too_large_only_layers_that_are_alike_share() -> None:
    assert copies(balanced(target("cortex-m4", 10.0, own=400.0))) == [0, 0, None, None]


def write(machine: Target, folder: Path) -> Path:
    plan = balanced(machine)
    write_folder(emit(program(), plan, machine, optimize="balanced"), folder)
    return folder


@pytest.mark.parametrize("own", [1000.0, 400.0], ids=["all", "alike"])
def test_shared_code_equals_the_interpreter(tmp_path: Path, own: float) -> None:
    folder = write(target("cortex-m3", 10.0, own), tmp_path / "out")
    verify_on_host(program(), folder)
    compile_c([folder / f"{program().name}.c"], tmp_path / "a.o", [*WARNINGS, "-O2", "-c"])


@pytest.mark.parametrize("own", [1000.0, 400.0], ids=["all", "alike"])
def test_shared_code_is_exact_on_the_board(tmp_path: Path, own: float) -> None:
    machine = target("cortex-m4", 10.0, own)
    assert run_firmware(write(machine, tmp_path / "out"), machine).wrong_values == 0
