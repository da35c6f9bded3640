"""What `--optimize balanced` saves and costs beside speed: the table of docs/kernels.md.

    python bench/balanced.py --shared ../shared [--targets cortex-m4] [--networks kws01,densenet]

Instructions are counted in QEMU, code is what the target's compiler makes of the network. `densenet` is that
of bench/densenet.py with depth 100 and growth 8.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cortex_m import LARGE, NETWORKS, Bench
from densenet import save

from dfqgen.compile import compile_model
from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.plan import plan_program
from dfqgen.recipe import make_recipe
from dfqgen.recipe.records import Optimize
from dfqgen.targets import Target, load_target
from dfqgen.verify.code_size import measure_code
from dfqgen.verify.firmware import build_firmware
from dfqgen.verify.profile import count_segments

WAYS: tuple[Optimize, ...] = ("speed", "balanced")


def measure(program: Program, target: Target, way: Optimize, folder: Path) -> tuple[int, int, int]:
    """Bytes of code and of constants, and instructions."""
    plan = plan_program(program, target, optimize=way)
    files = emit(program, plan, target, optimize=way, golden=golden_vectors(program, 1))
    size = measure_code(files, target, way)
    if size is None:
        raise SystemExit(f"{target.compiler.command} is not installed")
    work = folder / f"{program.name}-{target.name}-{way}"
    write_folder(files, work / "out")
    counted = count_segments(build_firmware(work / "out", target, work), target, len(plan.steps), work)
    if counted.wrong_values:
        raise SystemExit(f"{program.name} on {target.name}: {counted.wrong_values} values are wrong")
    return size.code_bytes, plan.array_bytes, sum(counted.instructions)


def densenet(target: str, folder: Path) -> Program:
    """Its input is noise, as for its batch normalization."""
    model = folder / "densenet.onnx"
    save(100, 8, model)
    recipe = make_recipe(target=target, activations="int8", input_std=(1.0,), input_range=(-3.0, 3.0))
    return compile_model(model, recipe).program


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="where models/ is")
    parser.add_argument("--targets", default="cortex-m4", help="default: %(default)s")
    parser.add_argument(
        "--networks", default=",".join([*NETWORKS, *LARGE, "densenet"]), help="of %(default)s"
    )
    arguments = parser.parse_args()
    print("| target | network | constants | code, speed | balanced | instructions, speed | balanced |")
    print("| --- | --- " + "| --: " * 5 + "|")
    with tempfile.TemporaryDirectory(prefix="dfqgen-balanced-") as name:
        folder = Path(name)
        bench = Bench(arguments.shared / "models", None, folder)
        for machine in arguments.targets.split(","):
            for network in arguments.networks.split(","):
                if network == "densenet":
                    program = densenet(machine, folder)
                else:
                    program = bench.program(network, machine, "speed")
                found = [measure(program, load_target(machine), way, folder / network) for way in WAYS]
                code = " | ".join(f"{each[0]:,}" for each in found)
                times = " | ".join(f"{each[2] / found[0][2]:.4f}" for each in found[1:])
                text = f"{found[0][1]:,} | {code} | {found[0][2]:,} | {times} |"
                print(f"| {machine} | {network} | {text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
