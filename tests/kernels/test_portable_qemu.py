"""Portable kernels with loops in assembly of their own, on emulated boards: exact for all shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfqgen.ops.windows import Pads
from dfqgen.targets import Isa, load_target
from tests.kernels import strategies
from tests.kernels.board import run_on_board, runs_of
from tests.kernels.strategies import Case
from tests.tools import needs

FUNCTIONS = ("dfq_winograd3x3_s8s8_8x4", "dfq_winograd1x3_s8s8_4x4", "dfq_conv2d_s8s8")


def convolutions(rng: np.random.Generator) -> list[Case]:
    cases = []
    for _ in range(6):
        pads = Pads(1, 1, 1, 1) if rng.integers(0, 2) else Pads(*(int(n) for n in rng.integers(0, 3, 4)))
        image = (int(rng.integers(3, 8)), int(rng.integers(3, 10)))
        depth, channels = int(rng.choice([4, 8, 12, 16])), int(rng.integers(1, 11))
        cases.append(strategies.conv_case(rng, image, (3, 3), (1, 1), (1, 1), pads, 1, depth, channels))
        cases.append(strategies.conv_case(rng, image, (1, 3), (1, 1), (1, 1), pads, 1, depth, channels))
    for depth in (3, 5, 6):  # 27, 45 and 54 inputs: three, one and two beside steps of four
        cases.append(strategies.conv_case(rng, (4, 5), (3, 3), (1, 1), (1, 1), Pads(1, 1, 1, 1), 1, depth, 9))
    return cases


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(name, marks=needs(f"{prefix}-gcc", emulator))
        for name, prefix, emulator in [
            ("cortex-m3", "arm-none-eabi", "qemu-system-arm"),
            ("cortex-m0plus", "arm-none-eabi", "qemu-system-arm"),
            ("riscv32imc", "riscv64-unknown-elf", "qemu-system-riscv32"),
        ]
    ],
)
@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_loops_in_assembly_are_exact(tmp_path: Path, target: str, optimize: str) -> None:
    runs = [run for case in convolutions(np.random.default_rng(7)) for run in runs_of(case, Isa.PORTABLE)]
    runs = [run for run in runs if run.kernel.function in FUNCTIONS]
    for run, result in zip(runs, run_on_board(runs, load_target(target), tmp_path, optimize), strict=True):
        where = f"{run.kernel.function} {run.case.inputs[0].shape} over {run.overlap}: {run.case.op}"
        assert (result.wrong, result.harmed) == (0, 0), where
    assert {run.kernel.function for run in runs} == set(FUNCTIONS)
