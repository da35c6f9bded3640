"""Single layers with int8 and with int16 activations, beside CMSIS-NN's s16 functions: instructions a MAC.

    python bench/wide_layers.py --cmsis-nn PATH [--targets cortex-m4] [--write docs/int16.md]

Every layer runs in QEMU on the target, its weights the same in all; ours are checked bit by bit, CMSIS-NN's
to a difference of 2. The M0+ has power-of-two scales.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from cmsis_nn import build_library, count_layers
from cost_cases import Case, convolution
from single_layers import program_of

from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.plan import plan_program
from dfqgen.targets import load_target
from dfqgen.verify.firmware import build_firmware
from dfqgen.verify.profile import count_segments

TARGETS = ("cortex-m4", "cortex-m55", "cortex-m3", "cortex-m0plus")
MARK = "<!-- layers -->"
SAME = Pads(1, 1, 1, 1)
LAYERS = {
    "1x1, 24x24x64 to 64": ((24, 24), (64, 64), (1, 1), 1, NO_PADS, 1),
    "1x1, 24x24x16 to 32": ((24, 24), (16, 32), (1, 1), 1, NO_PADS, 1),
    "3x3, 32x32x16 to 16": ((32, 32), (16, 16), (3, 3), 1, SAME, 1),
    "3x3, 8x8x64 to 64": ((8, 8), (64, 64), (3, 3), 1, SAME, 1),
    "3x3 stride 2, 48x48x3 to 8": ((48, 48), (3, 8), (3, 3), 2, Pads(0, 0, 1, 1), 1),
    "depthwise 3x3, 24x24x64": ((24, 24), (64, 64), (3, 3), 1, SAME, 64),
    "depthwise 3x3 stride 2, 24x24x64": ((24, 24), (64, 64), (3, 3), 2, Pads(0, 0, 1, 1), 64),
    "fully connected, 640 to 128": ((1, 1), (640, 128), (1, 1), 1, NO_PADS, 1),
}


def int8_cases(power_of_two: bool) -> list[Case]:
    """The layers as the int8 benchmark has them."""
    rng = np.random.default_rng(0)
    return [
        convolution(
            rng, f"l{i}", image, channels, kernel, stride, pads, groups=groups, power_of_two=power_of_two
        )
        for i, (image, channels, kernel, stride, pads, groups) in enumerate(LAYERS.values())
    ]


def int16_case(case: Case) -> Case:
    """The same layer between int16 tensors, symmetric: sums are 256 times larger, and so are outputs.

    A fully connected layer has one factor, as CMSIS-NN wants it.
    """
    op = case.op
    assert isinstance(op, QConv2D)
    form = op.requantize
    multiplier = form.multiplier
    if case.inputs[0].shape[1:3] == (1, 1):
        multiplier = np.full_like(multiplier, multiplier[0])
    wide = replace(
        op,
        pad_value=0,
        bias=op.bias << 8,
        requantize=replace(
            form,
            multiplier=multiplier,
            zero_point=0,
            lo=np.full_like(form.lo, IntType.INT16.minimum),
            hi=np.full_like(form.hi, IntType.INT16.maximum),
        ),
    )
    x, y = (
        replace(t, qtype=QType(IntType.INT16, t.qtype.scale / 256, 0)) for t in (*case.inputs, case.output)
    )
    return Case(wide, (x,), y)


def count(cases: Sequence[Case], target_name: str) -> list[float]:
    """Instructions a MAC of each case."""
    target = load_target(target_name)
    program = program_of("layers", cases)
    program.verify()
    # Side by side they exceed small RAMs, and rows that take turns could not be told apart.
    plan = plan_program(program, target, optimize="speed", stream="off")
    with tempfile.TemporaryDirectory(prefix="dfqgen-wide-") as name:
        work, folder = Path(name), Path(name) / "out"
        write_folder(emit(program, plan, target, optimize="speed", golden=golden_vectors(program, 1)), folder)
        elf = build_firmware(folder, target, work)
        counted = count_segments(elf, target, len(plan.steps), work)
    if counted.wrong_values:
        raise SystemExit(f"{target_name}: {counted.wrong_values} values are wrong")
    places = {step.op.name: index for index, step in enumerate(plan.steps)}
    return [counted.instructions[places[case.op.name]] / case.op.macs(case.output) for case in cases]


def count_cmsis(cases: Sequence[Case], target_name: str, checkout: Path) -> list[float]:
    """The same with CMSIS-NN, a firmware a layer."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-wide-") as name:
        work = Path(name)
        library = build_library(checkout, load_target(target_name), work)
        return [
            count_layers(program_of("layer", [case]), library, work)[0].instructions
            / case.op.macs(case.output)
            for case in cases
        ]


def table(rows: Sequence[tuple[str, str, float, float, float]]) -> str:
    """Markdown."""
    lines = ["| target | layer | int8 | int16 | of int8 | CMSIS-NN s16 | of CMSIS-NN |"]
    lines.append("| --- | --- | --: | --: | --: | --: | --: |")
    for target, layer, narrow, wide, theirs in rows:
        lines.append(
            f"| {target} | {layer} | {narrow:.3f} | {wide:.3f} | {wide / narrow:.2f} | {theirs:.3f} "
            f"| {wide / theirs:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--targets", default=",".join(TARGETS), help="some of %(default)s")
    parser.add_argument("--cmsis-nn", type=Path, metavar="PATH", required=True, help="a checkout")
    parser.add_argument("--write", type=Path, metavar="FILE", help=f"put the table after {MARK} in it")
    arguments = parser.parse_args()
    rows = []
    for target in arguments.targets.split(","):
        narrow = int8_cases(target == "cortex-m0plus")
        wide = [int16_case(case) for case in narrow]
        columns = [count(narrow, target), count(wide, target), count_cmsis(wide, target, arguments.cmsis_nn)]
        rows += [(target, *row) for row in zip(LAYERS, *columns, strict=True)]
        print(table(rows[-len(LAYERS) :]))
    if arguments.write:
        before = arguments.write.read_text().split(MARK)[0]
        arguments.write.write_text(f"{before}{MARK}\n{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
