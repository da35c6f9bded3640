"""Layers row by row: plans keep what is needed, no more is kept than that, and the C gives the same bits."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dfqgen.emit import emit
from dfqgen.emit.package import write_files
from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.kernels.base import Plan
from dfqgen.plan import plan_program
from dfqgen.plan.budget import Budget
from dfqgen.plan.check import check_plan
from dfqgen.recipe import Recipe, make_recipe
from dfqgen.targets import load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.host import verify_on_host
from dfqgen.verify.toolchain import host_compiler
from tests import builders
from tests.plan.row_programs import (
    RowMachine,
    branching,
    cut,
    image_programs,
    plans_by_rows,
    scattered_plan,
)
from tests.programs import STANDARD, quantized

TARGETS = ("host", "cortex-m0plus", "cortex-m4", "cortex-m55")


def random_inputs(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {port.tensor: program.tensors[port.tensor].shape for port in program.inputs}
    return {name: rng.integers(-128, 128, shape).astype(np.int8) for name, shape in shapes.items()}


@settings(max_examples=40, deadline=None)
@given(image_programs(), st.sampled_from(TARGETS), st.booleans())
def test_layers_row_by_row_equal_whole_layers_on_any_graph(program: Program, target: str, fed: bool) -> None:
    inputs = random_inputs(program)
    expected = program.run(inputs)
    for plan in plans_by_rows(program, load_target(target), fed=fed):
        found = RowMachine(program, plan, inputs).run()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


@settings(max_examples=60, deadline=None)
@given(image_programs(), st.sampled_from(TARGETS), st.booleans(), st.integers(0, 2**32 - 1))
def test_segments_anywhere_equal_whole_layers_on_any_graph(
    program: Program, target: str, fed: bool, seed: int
) -> None:
    plan = scattered_plan(program, load_target(target), np.random.default_rng(seed), fed=fed)
    assume(plan is not None)
    assert plan is not None
    inputs = random_inputs(program)
    expected = program.run(inputs)
    found = RowMachine(program, plan, inputs).run()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.skipif(host_compiler() is None, reason="there is no C compiler")
@settings(max_examples=8, deadline=None)
@given(image_programs(), st.booleans(), st.booleans(), st.data())
def test_c_row_by_row_equals_the_program_on_any_graph(
    program: Program, fed: bool, scattered: bool, data: st.DataObject
) -> None:
    target = load_target("cortex-m0plus")
    if scattered:
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        plans = [plan for plan in [scattered_plan(program, target, rng, fed=fed)] if plan is not None]
    else:
        plans = plans_by_rows(program, target, fed=fed)
    assume(plans)
    plan = data.draw(st.sampled_from(plans))
    with tempfile.TemporaryDirectory() as folder:
        write_files(emit(program, plan, target), Path(folder))
        verify_on_host(program, Path(folder), random=1)


def chain(
    rng: np.random.Generator, recipe: Recipe = STANDARD, shape: tuple[int, ...] = (1, 26, 22, 3)
) -> Program:
    """Enough layers for several bands, in shapes that leave halves of blocks over."""
    layers = [
        builders.conv(rng, 8, 3, stride=2),
        builders.relu(),
        builders.conv(rng, 8, 8, groups=8),
        builders.relu(),
        builders.conv(rng, 12, 8, 1, pad=0),
        builders.relu(),
        builders.conv(rng, 12, 12, groups=12, stride=2),
        builders.conv(rng, 5, 12, 1, pad=0),
    ]
    return quantized(builders.chain(layers, shape), recipe)


def smallest(program: Program, target: str, *, fed: bool) -> Plan:
    return plan_program(program, load_target(target), stream="on", input_rows=fed)


def longest(program: Program, target: str, *, fed: bool) -> Plan:
    """All layers that can, row by row."""
    plans = plans_by_rows(program, load_target(target), fed=fed)
    return max(plans, key=lambda plan: len(plan.segments[0]))


def test_a_chain_keeps_only_the_rows_that_windows_reach() -> None:
    program = chain(np.random.default_rng(0))
    plan = smallest(program, "cortex-m0plus", fed=True)
    capacities = [band.capacity for band in plan.segments[0].bands.values() if not band.whole]
    assert capacities[:4] == [3, 3, 1, 3]  # under a 3x3, a 3x3, a 1x1 and a 3x3 window
    assert plan.arena_bytes < plan_program(program, load_target("cortex-m0plus")).arena_bytes


@pytest.mark.parametrize("target", ["cortex-m3", "cortex-m4", "cortex-m55", "riscv32imc"])
def test_layers_row_by_row_equal_the_program_on_the_core(target: str, tmp_path: Path) -> None:
    machine = load_target(target)
    emulator = machine.emulator
    if emulator is None or not all(map(shutil.which, (emulator.command, machine.compiler.command))):
        pytest.skip(f"{target} has no emulator here")
    program = chain(np.random.default_rng(1))
    for fed in (False, True):
        plan = longest(program, target, fed=fed)
        write_files(emit(program, plan, machine), tmp_path / str(fed))
        assert run_firmware(tmp_path / str(fed), machine).passed
    over_time = chain(np.random.default_rng(2), shape=(1, 1, 75, 3))
    plan = longest(over_time, target, fed=True)
    assert plan.segments[0].bands["x"].height == 75
    write_files(emit(over_time, plan, machine), tmp_path / "time")
    assert run_firmware(tmp_path / "time", machine).passed
    branches = branching(np.random.default_rng(1))
    plan = cut(branches, machine, [(0, 2), (2, 4), (5, 6)])
    assert [segment.source for segment in plan.segments] == ["x", "join0", None]
    write_files(emit(branches, plan, machine), tmp_path / "branches")
    assert run_firmware(tmp_path / "branches", machine).passed


def test_layers_are_streamed_only_where_whole_ones_do_not_fit() -> None:
    program, target = chain(np.random.default_rng(0)), load_target("cortex-m0plus")
    whole = plan_program(program, target)
    assert not whole.segments
    assert not plan_program(program, target, budget=Budget(None, whole.arena_bytes)).segments
    tight = plan_program(program, target, budget=Budget(None, whole.arena_bytes - 1))
    assert tight.segments
    assert tight.arena_bytes < whole.arena_bytes
    assert not plan_program(program, target, stream="off", budget=Budget(None, 16)).segments


def test_a_layer_of_another_input_is_no_part_of_a_segment() -> None:
    """No row of the first input would ever bring it its turn."""
    rng = np.random.default_rng(0)
    layers = [builders.conv(rng, 16, 3), builders.conv(rng, 16, 3, 1, pad=0)]
    nodes = tuple(Node(f"l{i}", op, (f"x{i}",), f"y{i}") for i, op in enumerate(layers))
    x = tuple(Port(f"x{i}", f"x{i}", (1, 24, 24, 3)) for i in range(2))
    y = tuple(Port(f"y{i}", f"y{i}", (1, 24, 24, 16)) for i in range(2))
    program = quantized(Graph("two", x, y, nodes))
    for target in TARGETS:
        assert cut(program, load_target(target), [(0, 1)]).segments
        assert not cut(program, load_target(target), [(0, 2)]).segments


def test_a_plan_that_loses_rows_is_refused() -> None:
    program = chain(np.random.default_rng(0))
    plan = longest(program, "cortex-m4", fed=False)
    (segment,) = plan.segments
    name, band = next((name, band) for name, band in segment.bands.items() if band.capacity > 1)
    bands = dict(segment.bands) | {name: replace(band, capacity=band.capacity - 1)}
    with pytest.raises(ProgramError, match="no room for row"):
        check_plan(program, replace(plan, segments=(replace(segment, bands=bands),)))
    output = plan.steps[0].output.name
    moved = dict(plan.offsets) | {output: plan.offsets[segment.buffer("x")]}
    with pytest.raises(ProgramError, match="share bytes while layers take turns"):
        check_plan(program, replace(plan, offsets=moved))


@pytest.mark.skipif(host_compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("choice", [{"activations": "int16"}, {"input_type": "float32"}])
def test_rows_of_int16_and_reals_give_the_same_bits(choice: Any, tmp_path: Path) -> None:
    program = chain(np.random.default_rng(0), make_recipe(target="cortex-m4", **choice))
    plan = longest(program, "cortex-m4", fed=True)
    assert len(plan.segments[0]) == len(plan.steps)
    write_files(emit(program, plan, load_target("cortex-m4")), tmp_path)
    verify_on_host(program, tmp_path, random=1)
