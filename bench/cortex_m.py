"""Instructions of whole networks on emulated Cortex-M cores, beside CMSIS-NN.

    python bench/cortex_m.py --shared ../shared [--networks ic01,kws01] [--targets cortex-m4] [--cycles]

Builds every network for every target, runs its golden vectors in QEMU, and prints instructions for one
inference (the sum of its layers; filling the input is the caller's) and their ratio to CMSIS-NN's. The
M0+ has power-of-two scales, its target's default. Fails when a bit is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dfqgen.compilation import CompileOptions, compile_model
from dfqgen.emit.package import emit, write_folder
from dfqgen.errors import DfqgenError
from dfqgen.inputs import state_meaning
from dfqgen.plan import plan_program
from dfqgen.targets import load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.profile import profile_firmware


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the shared folder: its file, and what its input means."""

    file: str
    input_std: float | None = None
    input_range: tuple[float, float] | None = None


NETWORKS = {
    "ic01": Network("ic01_resnet8.onnx", input_range=(0.0, 255.0)),
    "vww01": Network("vww01_mobilenetv1_025.onnx", input_std=255.0),
    "kws01": Network("kws01_dscnn.onnx", input_range=(-100.0, 100.0)),
    "ad01": Network("ad01_autoencoder.onnx", input_range=(-60.0, 20.0)),
}

# Millions of instructions of CMSIS-NN inside the TFLite Micro interpreter, its best configuration, int8, the
# same shapes, counted in QEMU (GCC 12.2, -O3): quoted from the project's issue "Fast on the core".
CMSIS_NN_MILLIONS = {
    "ic01": {
        "cortex-m4": 28.45, "cortex-m7": 29.9, "cortex-m55": 4.81, "cortex-m3": 41.8, "cortex-m0plus": 97.5,
    },
    "vww01": {
        "cortex-m4": 23.31, "cortex-m7": 24.5, "cortex-m55": 6.42, "cortex-m3": 32.1, "cortex-m0plus": 86.8,
    },
    "kws01": {
        "cortex-m4": 7.41, "cortex-m7": 7.8, "cortex-m55": 1.78, "cortex-m3": 10.5, "cortex-m0plus": 29.0,
    },
    "ad01": {
        "cortex-m4": 0.570, "cortex-m7": 0.580, "cortex-m55": 0.147, "cortex-m3": 0.953, "cortex-m0plus": 1.75
    },
}  # fmt: skip
TFLM_ARENA_BYTES = {"ic01": 54_996, "vww01": 100_708, "kws01": 22_820, "ad01": 2_580}
TARGETS = ("cortex-m4", "cortex-m7", "cortex-m55", "cortex-m3", "cortex-m0plus")

# What the project wants, as a ratio of CMSIS-NN's instructions, and as arena bytes.
GOAL_ARENA_BYTES = {"ic01": 36 * 1024, "vww01": 40 * 1024, "kws01": 16_896, "ad01": 1024}


def goal_ratio(network: str, target: str) -> float:
    if target in ("cortex-m4", "cortex-m7"):
        return 0.65 if network == "ad01" else 0.45
    return 0.6 if target == "cortex-m55" else 0.75


@dataclass(frozen=True, slots=True)
class Row:
    """One network on one target. `cycles` are estimated, and None unless asked for."""

    network: str
    target: str
    instructions: int
    ratio: float
    goal: float
    cycles: int | None
    text_bytes: int
    rodata_bytes: int
    arena_bytes: int
    stack_bytes: int
    wrong_values: int


def measure(models: Path, network: str, target_name: str, optimize: str, cycles: bool) -> Row:
    """Build, run and count."""
    source, target = NETWORKS[network], load_target(target_name)
    meaning = state_meaning(None, (source.input_std,) if source.input_std else None, source.input_range)
    options = CompileOptions(
        target=target_name, name=network, meaning=meaning, optimize="size" if optimize == "size" else "speed"
    )
    program = compile_model(models / source.file, options).program
    plan = plan_program(program, target, optimize=optimize)
    with tempfile.TemporaryDirectory(prefix="dfqgen-bench-") as folder:
        out = Path(folder) / network
        write_folder(emit(program, plan, target, optimize=options.optimize), out)
        result = run_firmware(out, target)
        profile = profile_firmware(out, target) if cycles else None
    instructions = result.instructions if profile is None else profile.instructions
    return Row(
        network=network,
        target=target_name,
        instructions=instructions,
        ratio=instructions / 1e6 / CMSIS_NN_MILLIONS[network][target_name],
        goal=goal_ratio(network, target_name),
        cycles=None if profile is None else profile.cycles,
        text_bytes=result.text_bytes,
        rodata_bytes=result.rodata_bytes,
        arena_bytes=result.arena_bytes,
        stack_bytes=result.stack_bytes,
        wrong_values=result.wrong_values,
    )


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(title="Instructions of one inference, beside CMSIS-NN in TFLite Micro")
    table.add_column("network")
    table.add_column("target")
    counts = ("instructions", "CMSIS-NN", "ratio", "goal", "est. cycles")
    for name in (*counts, "code", "constants", "arena", "goal", "TFLM arena"):
        table.add_column(name, justify="right")
    for row in rows:
        style = "" if row.ratio <= row.goal else "yellow"
        table.add_row(
            row.network,
            row.target,
            f"{row.instructions:,}",
            f"{CMSIS_NN_MILLIONS[row.network][row.target]:.3f} M",
            f"[{style}]{row.ratio:.2f}[/]" if style else f"{row.ratio:.2f}",
            f"{row.goal:.2f}",
            "" if row.cycles is None else f"{row.cycles:,}",
            f"{row.text_bytes:,}",
            f"{row.rodata_bytes:,}",
            f"{row.arena_bytes:,}",
            f"{GOAL_ARENA_BYTES[row.network]:,}",
            f"{TFLM_ARENA_BYTES[row.network]:,}",
        )
    console.print(table)


def rows(arguments: argparse.Namespace, console: Console) -> Iterator[Row]:
    models = Path(arguments.shared) / "models"
    for network in arguments.networks.split(","):
        for target in arguments.targets.split(","):
            with console.status(f"{network} on {target}"):
                yield measure(models, network, target, arguments.optimize, arguments.cycles)


def main() -> int:
    beside = str(Path(__file__).resolve().parents[2] / "shared")
    shared = os.environ.get("DFQGEN_SHARED", beside)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", default=shared, help="folder that has models/ (or DFQGEN_SHARED)")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of %(default)s")
    parser.add_argument("--targets", default=",".join(TARGETS), help="some of %(default)s")
    parser.add_argument("--optimize", choices=("speed", "size"), default="speed")
    parser.add_argument("--cycles", action="store_true", help="estimate cycles too (a second run)")
    parser.add_argument("--json", action="store_true", help="one JSON list on standard output")
    arguments = parser.parse_args()
    unknown = {*arguments.networks.split(",")} - {*NETWORKS} | {*arguments.targets.split(",")} - {*TARGETS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    console = Console(stderr=True)
    try:
        measured = list(rows(arguments, console))
    except DfqgenError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return error.exit_code
    if arguments.json:
        print(json.dumps([asdict(row) for row in measured], indent=2))
    else:
        show(measured, Console(width=150))
    wrong = [row for row in measured if row.wrong_values]
    for row in wrong:
        console.print(f"{row.network} on {row.target}: {row.wrong_values} values are wrong", style="red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
