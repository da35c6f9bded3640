"""Instructions of one layer with weights of 8, 6, 4, 3 and 2 bits, on emulated cores.

    python bench/low_bits.py [--targets cortex-m4,cortex-m55,cortex-m3] [--goal 1.15]

Each layer is compiled alone, with the kernel the compiler chooses for it, and its outputs are compared with
the integer reference. `bytes` are the constants of the layer, `ratio` is to its own 8-bit form.
Fails when a value is wrong, or on a Cortex-M4 when a 4-bit or 2-bit layer takes more than --goal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.kernels import REGISTRY
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS, Pads, window_output
from dfqgen.plan.kernels import price
from dfqgen.targets import Target, load_target
from tests.kernels.board import Run, run_on_board
from tests.kernels.strategies import Case

WIDTHS = (IntType.INT8, IntType.INT6, IntType.INT4, IntType.INT3, IntType.INT2)
GOAL_WIDTHS = (IntType.INT4, IntType.INT2)


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution: image height and width, kernel size, input and output channels."""

    title: str
    size: int
    kernel: int
    depth: int
    channels: int
    depthwise: bool = False


LAYERS = (
    Layer("1x1 24x24x64->64", 24, 1, 64, 64),
    Layer("3x3 16x16x32->32", 16, 3, 32, 32),
    Layer("3x3 8x8x64->64", 8, 3, 64, 64),
    Layer("fully connected 640->128", 1, 1, 640, 128),
    Layer("depthwise 3x3 12x12x128", 12, 3, 128, 128, depthwise=True),
)


def make_case(layer: Layer, dtype: IntType) -> Case:
    """The layer with normally distributed weights (ternary at 2 bits) and a full output range."""
    rng = np.random.default_rng(1)
    group_in = 1 if layer.depthwise else layer.depth
    real = rng.normal(size=(layer.channels, layer.kernel, layer.kernel, group_in))
    limit = dtype.maximum
    spread = 0.8 if dtype is IntType.INT2 else 3.0
    weight = np.clip(np.round(real * limit / spread), -limit, limit).astype(np.int8)
    pads = NO_PADS if layer.kernel == 1 else Pads(*[layer.kernel // 2] * 4)
    sums = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)).astype(np.float64)
    op = QConv2D(
        name="layer",
        inputs=("x",),
        output="y",
        weight=weight,
        weight_type=dtype,
        bias=rng.integers(-500, 500, layer.channels).astype(np.int32),
        stride=(1, 1),
        dilation=(1, 1),
        pads=pads,
        pad_value=-3,
        groups=layer.depth if layer.depthwise else 1,
        requantize=Requantize.from_scale(4.0 / np.maximum(sums, 8.0), 5, -128, 127),
    )
    image = (layer.size, layer.size)
    size = window_output(image, (layer.kernel, layer.kernel), (1, 1), (1, 1), pads)
    qtype = QType(IntType.INT8, 0.05, 3)
    x, y = QTensor("x", (1, *image, layer.depth), qtype), QTensor("y", (1, *size, layer.channels), qtype)
    op.verify((x,), y)
    values = rng.integers(-128, 128, x.shape).astype(np.int8)
    return Case(op, (x,), y, (values,))


def measure(target: Target) -> list[tuple[Layer, IntType, Run, int, int]]:
    """Layer, width, kernel with its case, instructions and wrong values."""
    cases = [(layer, dtype, make_case(layer, dtype)) for layer in LAYERS for dtype in WIDTHS]
    runs = []
    for _, _, case in cases:
        kernels = REGISTRY.candidates(case.op, case.inputs, case.output, target.isas)
        prices = [price(kernel, case.op, case.inputs, case.output, target)[0] for kernel in kernels]
        runs.append(Run(kernels[prices.index(min(prices))], case))
    with tempfile.TemporaryDirectory(prefix="dfqgen-bench-") as folder:
        results = run_on_board(runs, target, Path(folder))
    return [
        (layer, dtype, run, result.instructions, result.wrong + result.harmed)
        for (layer, dtype, _), run, result in zip(cases, runs, results, strict=True)
    ]


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--targets", default="cortex-m4,cortex-m55,cortex-m3")
    parser.add_argument("--goal", type=float, default=1.15, help="largest ratio of W4 and W2 on a Cortex-M4")
    arguments = parser.parse_args()
    console, failed = Console(width=150), False
    for name in arguments.targets.split(","):
        table = Table(title=name)
        for heading in ("layer", "weights", "kernel"):
            table.add_column(heading)
        for heading in ("instructions", "a MAC", "ratio", "bytes", "scratch"):
            table.add_column(heading, justify="right")
        whole = 0
        for layer, dtype, run, instructions, wrong in measure(load_target(name)):
            case = run.case
            whole = instructions if dtype is IntType.INT8 else whole
            code = run.kernel.code(case.op, case.inputs, case.output)
            ratio = instructions / whole
            over = name == "cortex-m4" and dtype in GOAL_WIDTHS and ratio > arguments.goal
            failed |= over or wrong != 0
            table.add_row(
                layer.title if dtype is IntType.INT8 else "",
                f"{dtype.bits} bits",
                run.kernel.function,
                f"{instructions:,}" if wrong == 0 else f"[red]{wrong} wrong[/]",
                f"{instructions / case.op.macs(case.output):.2f}",
                f"[yellow]{ratio:.2f}[/]" if over else f"{ratio:.2f}",
                f"{sum(array.size_bytes for array in code.arrays):,}",
                f"{run.kernel.scratch_bytes(case.op, case.inputs, case.output):,}",
                end_section=dtype is WIDTHS[-1],
            )
        console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
