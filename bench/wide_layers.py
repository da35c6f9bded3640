"""Single layers with int8 and with int16 activations, beside CMSIS-NN's s16 functions: instructions a MAC.

    python bench/wide_layers.py [--targets cortex-m4] [--cmsis-nn PATH] [--json]

Every layer runs in QEMU on the target, its weights the same in both; results are checked bit by bit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from cost_cases import Case, convolution
from single_layers import program_of

from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.plan import plan_program
from dfqgen.targets import load_target
from dfqgen.verify.firmware import build_firmware
from dfqgen.verify.profile import count_segments

TARGETS = ("cortex-m4", "cortex-m55", "cortex-m3", "cortex-m0plus")
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


def int16_case(case: Case, power_of_two: bool) -> Case:
    """The same layer between int16 tensors: sums are 256 times larger, and so are outputs."""
    op = case.op
    assert isinstance(op, QConv2D)
    form = op.requantize
    limits = IntType.INT16.minimum, IntType.INT16.maximum
    zero_points = (0, 0) if power_of_two else (256 * op.pad_value, 256 * form.zero_point)
    wide = replace(
        op,
        pad_value=zero_points[0],
        bias=op.bias << 8,
        requantize=replace(
            form,
            zero_point=zero_points[1],
            lo=np.full_like(form.lo, limits[0]),
            hi=np.full_like(form.hi, limits[1]),
        ),
    )
    tensors = [
        replace(t, qtype=replace(t.qtype, dtype=IntType.INT16, scale=t.qtype.scale / 256, zero_point=zp))
        for t, zp in zip((*case.inputs, case.output), zero_points, strict=True)
    ]
    return Case(wide, (tensors[0],), tensors[1])


def count(cases: Sequence[Case], target_name: str) -> list[float]:
    """Instructions a MAC of each case."""
    target = load_target(target_name)
    program = program_of("layers", cases)
    program.verify()
    plan = plan_program(program, target, optimize="speed")
    with tempfile.TemporaryDirectory(prefix="dfqgen-wide-") as name:
        work, folder = Path(name), Path(name) / "out"
        write_folder(emit(program, plan, target, optimize="speed", golden=golden_vectors(program, 1)), folder)
        elf = build_firmware(folder, target, work)
        counted = count_segments(elf, target, len(plan.steps), work)
    if counted.wrong_values:
        raise SystemExit(f"{target_name}: {counted.wrong_values} values are wrong")
    places = {step.op.name: index for index, step in enumerate(plan.steps)}
    print([step.kernel.function for step in plan.steps], file=sys.stderr)
    return [counted.instructions[places[case.op.name]] / case.op.macs(case.output) for case in cases]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for target in arguments.targets.split(","):
        shifts = target == "cortex-m0plus"
        narrow = int8_cases(shifts)
        wide = [int16_case(case, shifts) for case in narrow]
        rows = zip(LAYERS, count(narrow, target), count(wide, target), strict=True)
        for layer, a, b in rows:
            print(f"{target:14} {layer:34} int8 {a:7.3f}  int16 {b:7.3f}  ratio {b / a:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
