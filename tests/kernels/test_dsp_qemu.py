"""The Arm DSP kernels' instructions on emulated boards: exact for all shapes, and within a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dfqgen.kernels import REGISTRY
from dfqgen.kernels.packing import PACKED_TYPES
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.pool import AveragePool
from dfqgen.ops.recurrent_integer import QRecurrent
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.plan.kernels import price
from dfqgen.targets import Isa, load_target
from tests.kernels import strategies, strategies_more
from tests.kernels.board import Run, run_on_board, runs_of
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent_cases
from tests.tools import needs

pytestmark = needs("arm-none-eabi-gcc", "qemu-system-arm")


def check(cases: list[Case], folder: Path, target: str, optimize: str) -> set[str]:
    """Run all on the board; gives the names of the kernels that ran."""
    runs = [run for case in cases for run in runs_of(case, Isa.DSP)]
    for run, result in zip(runs, run_on_board(runs, load_target(target), folder, optimize), strict=True):
        where = f"{run.kernel.function} {run.case.inputs[0].shape} over {run.overlap}: {run.case.op}"
        assert (result.wrong, result.harmed) == (0, 0), where
    return {run.kernel.function for run in runs}


def geometries(rng: np.random.Generator) -> list[Case]:
    """Convolutions of every kind, a few dozen."""
    cases = []
    for _ in range(30):
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        pads = Pads(*(int(n) for n in rng.integers(0, 3, 4)))
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        image = (reach[0] + int(rng.integers(0, 5)), reach[1] + int(rng.integers(0, 5)))
        depth = int(rng.choice([1, 2, 3, 4, 5, 8, 12, 17]))
        channels = int(rng.integers(1, 14))
        cases.append(strategies.conv_case(rng, image, kernel, stride, dilation, pads, 1, depth, channels))
    for _ in range(30):
        stride = (2, 2) if rng.integers(0, 2) else (1, 1)
        pads = Pads(*(int(n) for n in rng.integers(0, 3, 4)))
        image = (int(rng.integers(3, 9)), int(rng.integers(3, 9)))
        channels = int(rng.integers(2, 14))
        cases.append(strategies.conv_case(rng, image, (3, 3), stride, (1, 1), pads, channels, 1, 1))
    for _ in range(20):
        image = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        depth, channels = int(rng.choice([1, 7, 16, 36, 66])), int(rng.integers(1, 20))
        whole = image if rng.integers(0, 2) else (1, 1)
        cases.append(strategies.conv_case(rng, image, whole, (1, 1), (1, 1), NO_PADS, 1, depth, channels))
    for _ in range(16):
        pads = Pads(1, 1, 1, 1) if rng.integers(0, 2) else Pads(*(int(n) for n in rng.integers(0, 3, 4)))
        image = (int(rng.integers(3, 9)), int(rng.integers(3, 12)))
        depth, channels = int(rng.choice([4, 8, 12, 16, 24])), int(rng.integers(1, 14))
        for kernel in ((3, 3), (1, 3)):
            cases.append(strategies.conv_case(rng, image, kernel, (1, 1), (1, 1), pads, 1, depth, channels))
    for depth, channels in ((8, 1), (12, 2), (20, 3)):
        cases.append(strategies.conv_case(rng, (3, 3), (1, 1), (1, 1), (1, 1), NO_PADS, 1, depth, channels))
    for depth, channels in ((8, 9), (36, 50), (132, 132)):
        cases.append(strategies.conv_case(rng, (1, 1), (1, 1), (1, 1), (1, 1), NO_PADS, 1, depth, channels))
    # In chunks where they are int16: before tiles of 32 and 16 pixels, and before all pixels.
    for depth, channels in ((66, 65), (200, 23), (300, 18)):
        for _ in range(2):
            cases.append(
                strategies.conv_case(rng, (5, 9), (1, 1), (1, 1), (1, 1), NO_PADS, 1, depth, channels)
            )
    low = [strategies.narrowed(case, dtype) for case in cases[::4] for dtype in PACKED_TYPES]
    wide = [
        strategies.widened(case, *strategies.WIDE_TYPES[i % 3])
        for i, case in enumerate([*cases[::2], *low[::5]])
    ]
    return cases + low + wide


@pytest.mark.parametrize(
    ("target", "optimize", "every"),
    [
        ("cortex-m4", "speed", 1),
        ("cortex-m4", "size", 1),
        ("cortex-m7", "speed", 3),  # the same code, scheduled for another core
        ("cortex-m33", "speed", 3),
    ],
)
def test_convolutions_are_exact(tmp_path: Path, target: str, optimize: str, every: int) -> None:
    ran = check(geometries(np.random.default_rng(11))[::every], tmp_path, target, optimize)
    expected = {k.function for k in REGISTRY.kernels if k.isa is Isa.DSP and k.op.__name__ == "QConv2D"}
    assert ran == expected or (every > 1 and ran < expected)


def test_elementwise_and_pooling_are_exact(tmp_path: Path) -> None:
    cases: list[Case] = []

    elementwise = (strategies.sums(), strategies.pools(), strategies.lookups())
    wide = (
        strategies.wide_sums(),
        strategies.wide_maxima(),
        strategies_more.wide_products(),
        strategies_more.wide_resizes(),
    )

    @settings(max_examples=160, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
    @given(st.one_of(*elementwise, *wide))
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    check([*cases, *averages()], tmp_path, "cortex-m4", "speed")


@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_recurrent_layers_are_exact(tmp_path: Path, optimize: str) -> None:
    ran = check(recurrent_cases(40), tmp_path, "cortex-m4", optimize)
    assert ran == {k.function for k in REGISTRY.kernels if k.isa is Isa.DSP and issubclass(k.op, QRecurrent)}


def averages() -> list[Case]:
    """Pools of whole words of channels, which have a loop of their own."""
    rng = np.random.default_rng(5)
    return [
        strategies.average_case(rng, AveragePool(kernel, (1, 2), NO_PADS, False), (5, 6), channels)
        for kernel in ((1, 3), (2, 2), (3, 3))
        for channels in (4, 8, 12)
    ]


# Image, kernel, stride, in and out channels, depthwise or not; instructions a multiply-accumulate.
BUDGETS = [
    ((24, 24), 1, 1, 64, 64, False, 0.90),
    ((24, 24), 1, 1, 16, 32, False, 1.22),
    ((6, 6), 1, 1, 128, 128, False, 0.86),
    ((16, 16), 3, 1, 16, 16, False, 0.98),
    ((8, 8), 3, 1, 64, 64, False, 0.85),
    ((32, 32), 3, 2, 3, 8, False, 1.62),
    ((1, 1), 1, 1, 256, 64, False, 1.10),
    ((24, 24), 3, 1, 16, 16, True, 1.90),
    ((24, 24), 3, 2, 16, 16, True, 3.50),
]


def budget_case(
    image: tuple[int, int], kernel: int, stride: int, depth: int, channels: int, depthwise: bool
) -> Case:
    pads = Pads(0, 0, 1, 1) if stride == 2 else Pads(*[kernel // 2] * 4)
    groups = (depth, 1, 1) if depthwise else (1, depth, channels)
    case = strategies.conv_case(
        np.random.default_rng(3), image, (kernel, kernel), (stride, stride), (1, 1), pads, *groups
    )
    full = np.full(channels, 127)
    op = case.op
    assert isinstance(op, QConv2D)
    return replace(case, op=replace(op, requantize=replace(op.requantize, lo=~full, hi=full)))


def test_kernels_stay_within_their_budgets(tmp_path: Path) -> None:
    cases = [budget_case(*budget[:-1]) for budget in BUDGETS]
    target = load_target("cortex-m4")
    runs = []
    for case in cases:
        kernels = REGISTRY.candidates(case.op, case.inputs, case.output, [Isa.DSP])
        prices = [price(kernel, case.op, case.inputs, case.output, target)[0] for kernel in kernels]
        runs.append(Run(kernels[prices.index(min(prices))], case))
    results = run_on_board(runs, target, tmp_path)
    for run, result, budget in zip(runs, results, BUDGETS, strict=True):
        macs = run.case.op.macs(run.case.output)
        estimate, _ = price(run.kernel, run.case.op, run.case.inputs, run.case.output, target)
        assert result.instructions <= budget[-1] * macs, (budget, result.instructions / macs)
        assert 0.85 < estimate / result.instructions < 1.15, (budget, estimate, result.instructions)
