"""Kernels compile and are exact at every level of optimization, not only at the targets' own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dfqgen.kernels import REGISTRY
from dfqgen.ops.take import QTake
from dfqgen.targets import Isa, Target, load_target
from dfqgen.verify.firmware import find_tool
from dfqgen.verify.toolchain import compile_c
from tests.kernels.board import Run, board_source, run_on_board, runs_of
from tests.kernels.strategies import Case, make_case, tensor
from tests.kernels.test_dsp_qemu import geometries
from tests.tools import needs

LEVELS = ["-O0", "-Og", "-Os", "-O1", "-O2", "-O3"]
CORES = {
    "cortex-m4": Isa.DSP,
    "cortex-m7": Isa.DSP,
    "cortex-m33": Isa.DSP,
    "cortex-m55": Isa.MVE,
}


@cache
def convolutions(isa: Isa) -> tuple[Run, ...]:
    """Each kernel of an instruction set once."""
    runs: dict[str, Run] = {}
    for case in geometries(np.random.default_rng(11)):
        for run in runs_of(case, isa):
            runs.setdefault(run.kernel.function, run)
    expected = {k.function for k in REGISTRY.kernels if k.isa is isa and k.op.__name__ == "QConv2D"}
    assert len(runs) > len(expected) / 2
    return tuple(runs.values())


def at_level(target: Target, level: str) -> Target:
    return replace(target, compiler=replace(target.compiler, speed=(level,), size=(level,)))


@needs("arm-none-eabi-gcc")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("level", LEVELS)
def test_kernels_compile_with_gcc(tmp_path: Path, core: str, level: str) -> None:
    """With the core's FPU, inlined into their layers and shared by all."""
    target = at_level(load_target(core), level)
    for optimize in ("speed", "size"):
        source = tmp_path / f"{optimize}.c"
        source.write_text(board_source(convolutions(CORES[core]), optimize == "size"))
        flags = [*target.compiler.flags_for(optimize), "-std=c99", "-c"]
        compile_c([source], tmp_path / "sweep.o", flags, [find_tool(target.compiler.command, target)])


@needs("clang")
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_kernels_compile_with_clang(tmp_path: Path, core: str, level: str) -> None:
    source = tmp_path / "sweep.c"
    source.write_text(board_source(convolutions(CORES[core]), False, checks=False))
    flags = ["--target=arm-none-eabi", f"-mcpu={core}", "-mthumb", "-mfloat-abi=hard", level]
    compile_c([source], tmp_path / "sweep.o", [*flags, "-std=c99", "-ffreestanding", "-c"], ["clang"])


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_kernels_are_exact(tmp_path: Path, core: str, level: str) -> None:
    runs = [*convolutions(CORES[core]), *stepped_slices()]
    for run, result in zip(
        runs, run_on_board(runs, at_level(load_target(core), level), tmp_path), strict=True
    ):
        assert (result.wrong, result.harmed) == (0, 0), run.kernel.function


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("level", ["-O1", "-O2", "-Os"])
def test_a_layer_is_not_left_out(tmp_path: Path, level: str) -> None:
    """GCC 12 took dfq_strided_copy_x8 with a step of 2 for a function without effect."""
    runs = stepped_slices()
    results = run_on_board(runs, at_level(load_target("cortex-m4"), level), tmp_path)
    assert [result.wrong for result in results] == [0] * len(runs)


def stepped_slices() -> list[Run]:
    x, y = tensor("x", (1, 4, 4, 16)), tensor("y", (1, 4, 4, 8))
    op = QTake("take", ("x",), "y", (None, None, None, tuple(range(0, 16, 2))))
    case: Case = make_case(op, (x,), y, np.random.default_rng(0))
    return runs_of(case, Isa.PORTABLE)
