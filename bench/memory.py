"""The arena with whole layers, with the first layers row by row, and with an input that comes in rows.

    python bench/memory.py shared/models [NAME ...] [--target cortex-m4] [--count vww01_mobilenetv1_025,...]

For every network its arenas in bytes, how many layers run row by row, and how long planning takes. With
`--count`, the instructions of one inference on the emulated target too, beside those with whole layers.
Names like mobilenetv2_035_160, the width times 100 and the side, are made by bench/mobilenet_v2.py, those
like densenet_100_8, depth and growth, by bench/densenet.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import densenet
import mobilenet_v2
from rich.console import Console

from dfqgen.compile import quantize
from dfqgen.emit.package import emit, write_files
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.kernels.base import Plan
from dfqgen.plan import plan_program
from dfqgen.recipe import make_recipe
from dfqgen.targets import Target, load_target
from dfqgen.verify.firmware import run_firmware

INPUTS: dict[str, tuple[float, float]] = {
    "mobilenetv1_075_224": (127.5, 127.5),
    "vww01_mobilenetv1_025": (0.0, 255.0),
    "face_slim_320": (127.0, 128.0),
    "deeplab_mnv2_050_513": (127.5, 127.5),
    "effnet_lite0": (127.0, 128.0),
    "mobilenetv2_035_160": (127.5, 127.5),
    "densenet_100_8": (127.5, 127.5),
}
"""Networks, with the mean and the deviation of their pixels."""


def programs(models: Path, names: list[str]) -> Iterator[tuple[str, Program]]:
    """The networks as the compiler makes them of the files, statistics in closed form to save time."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            made = name.startswith(("mobilenetv2_", "densenet_"))
            path = (Path(folder) if made else models) / f"{name}.onnx"
            if made:
                first, second = map(int, name.split("_")[1:])
                if name.startswith("densenet_"):
                    densenet.save(first, second, path)
                else:
                    mobilenet_v2.save(first / 100, second, path)
            mean, std = INPUTS.get(name, INPUTS["mobilenetv2_035_160"])
            recipe = make_recipe(
                target="cortex-m4",
                activations="int8",
                statistics="analytic",
                fold_dead=not made,  # an untrained network has channels that seem dead
                input_mean=(mean,),
                input_std=(std,),
                input_range=(0.0, 255.0),
            )
            yield name, quantize(path, recipe)


def count(program: Program, plan: Plan, target: Target) -> int:
    """Instructions of one inference. The self-test runs frame and rows; both are averaged."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(emit(program, plan, target, golden=golden_vectors(program, 1)), Path(folder))
        result = run_firmware(Path(folder), target)
    assert result.passed, "the C on the target is not the program"
    return result.instructions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--count", default="")
    arguments = parser.parse_args()
    target, console = load_target(arguments.target), Console(width=160)
    counted = arguments.count.split(",")
    for name, program in programs(arguments.models, arguments.names or list(INPUTS)):
        fastest = 0
        for way, options in (
            ("whole", {"stream": "off"}),
            ("rows", {"stream": "on"}),
            ("fed", {"input_rows": True}),
        ):
            begin = time.process_time()
            plan = plan_program(program, target, winograd="off", **options)
            seconds = time.process_time() - begin
            layers = sum(map(len, plan.segments))
            text = f"{name} {way}: {plan.arena_bytes:,} bytes, {layers} of {len(plan.steps)} layers"
            text += f", {seconds:.1f} s"
            if name in counted:
                instructions = count(program, plan, target)
                fastest = fastest or instructions
                text += f", {instructions:,} instructions, {instructions / fastest:.3f} x"
            console.print(text)


if __name__ == "__main__":
    main()
