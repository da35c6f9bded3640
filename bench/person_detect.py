"""TFLite Micro's person detector on Cortex-M: dfqgen, and the CMSIS-NN calls that TFLite Micro makes.

    python bench/person_detect.py SHARED --cmsis-nn ../CMSIS-NN [--target cortex-m4]

The model is quantized already (tflm_person_detect.onnx in SHARED/models), so both compute with its integers:
every result of CMSIS-NN is checked against ours, to the difference that its second rounding makes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from cortex_m import Bench

from dfqgen import make_recipe
from dfqgen.compile import compile_model
from dfqgen.targets import load_target


def main(
    shared: Annotated[Path, typer.Argument(help="The folder with models/.")],
    cmsis_nn: Annotated[Path, typer.Option(help="A checkout of CMSIS-NN.")],
    target: Annotated[list[str] | None, typer.Option(help="Targets.")] = None,
) -> None:
    """Print the table."""
    print("| core | multiply-accumulates | instructions | with CMSIS-NN | ratio | arena | wrong values |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in target or ["cortex-m4"]:
        core = load_target(name)
        program = compile_model(
            shared / "models" / "tflm_person_detect.onnx", make_recipe(target=name)
        ).program
        with tempfile.TemporaryDirectory(prefix="dfqgen-") as work:
            bench = Bench(shared / "models", cmsis_nn, Path(work))
            counted, _, arena_bytes = bench.count(program, core, "speed")
            ours = sum(counted.instructions)
            theirs = sum(instructions for instructions, _ in bench.count_cmsis(program, core))
        cells = [name, f"{program.macs:,}", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.2f}"]
        cells += [f"{arena_bytes:,} B", str(counted.wrong_values)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
