"""Instructions of whole networks and single layers on emulated cores, beside CMSIS-NN.

    python bench/cortex_m.py [--shared ../shared] [--networks ic01,kws01] [--targets cortex-m4]
                             [--cmsis-nn PATH] [--layers] [--large] [--host] [--results FILE] [--write-docs]

Builds every network for every target, runs its golden vectors in QEMU, and prints instructions for one
inference (the sum of its layers; filling the input is the caller's), their ratio to CMSIS-NN's, the estimate
that `dfqgen inspect` makes before building, and sizes. The M0+ has power-of-two scales, its target's default.

`--cmsis-nn` builds a checkout of CMSIS-NN in the same run, counts the same layers with it (bench/cmsis_nn.py)
and puts instructions and estimated cycles beside ours. `--layers` measures single layers instead of networks,
`--large` how far estimates are off for two larger networks, `--host` MobileNet on this machine. `--results`
keeps what was measured in a file, run after run; `--write-docs` turns all of it into docs/speed.md. Fails
when a bit is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cmsis_nn import Library, build_library, count_layers
from rich.console import Console
from rich.table import Table
from single_layers import LAYERS, layers_program, work_units
from speed_docs import render_docs

from dfqgen.compile import compile_model
from dfqgen.emit.package import emit, write_folder
from dfqgen.errors import DfqgenError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import golden_vectors, make_inputs
from dfqgen.ops.conv import QConv2D
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.recipe import make_recipe
from dfqgen.recipe.records import Winograd
from dfqgen.samples.meaning import UNSTATED, state_meaning
from dfqgen.targets import Target, load_target
from dfqgen.verify.firmware import build_firmware, section_sizes_bytes
from dfqgen.verify.host import HostNetwork
from dfqgen.verify.profile import Counted, count_segments

Mode = Literal["speed", "balanced", "size"]
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the shared folder: its file, and what its input means."""

    file: str
    input_std: float | None = None
    input_range: tuple[float, float] | None = None
    fold_dead: bool = True
    input_mean: float | None = None


NETWORKS = {
    "ic01": Network("ic01_resnet8.onnx", input_range=(0.0, 255.0)),
    "vww01": Network("vww01_mobilenetv1_025.onnx", input_std=255.0),
    # Many channels of vww01 are dead, and dfqgen takes them out; here they are computed, as by CMSIS-NN.
    "vww01-dead": Network("vww01_mobilenetv1_025.onnx", input_std=255.0, fold_dead=False),
    "kws01": Network("kws01_dscnn.onnx", input_range=(-100.0, 100.0)),
    "ad01": Network("ad01_autoencoder.onnx", input_range=(-60.0, 20.0)),
}

# Without goals of their own, but the estimate before building is to hold for them too.
LARGE = {
    "face": Network("face_slim_320.onnx", input_mean=127.0, input_std=128.0),
    "mobilenet": Network("mobilenetv1_075_224.onnx", input_mean=127.5, input_std=127.5),
}

# Millions of instructions of CMSIS-NN inside the TFLite Micro interpreter, its best configuration, int8, the
# same shapes, counted in QEMU (GCC 12.2, -O3): measured once for this project.
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
TARGETS = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m3", "cortex-m0plus", "riscv32imc")

# What the project wants, as a ratio of CMSIS-NN's instructions, and as arena bytes.
FLASH_FACTOR, FLASH_CODE_BYTES = 1.15, 12 * 1024
GOAL_ARENA_BYTES = {"ic01": 36 * 1024, "vww01": 40 * 1024, "kws01": 16_896, "ad01": 1024}


def shape_of(network: str) -> str:
    """The network whose goals and quoted figures are also those of a variant."""
    return network.removesuffix("-dead")


def goal_ratio(network: str, target: str) -> float | None:
    """To the quoted figure, where there is one."""
    if target not in CMSIS_NN_MILLIONS[network]:
        return None
    if target in ("cortex-m4", "cortex-m7"):
        return 0.65 if network == "ad01" else 0.45
    return 0.6 if target == "cortex-m55" else 0.75


@dataclass(frozen=True, slots=True)
class Row:
    """One network on one target. Cycles are estimated, None where the target has no cycle model.

    `cmsis_` is what a CMSIS-NN checkout took in the same run, None without one.
    """

    network: str
    target: str
    optimize: str
    macs: int
    instructions: int
    quoted: int | None
    goal: float | None
    estimate: int
    cycles: int | None
    cmsis_instructions: int | None
    cmsis_cycles: int | None
    text_bytes: int
    rodata_bytes: int
    flash_goal_bytes: int
    arena_bytes: int
    arena_goal_bytes: int
    stack_bytes: int
    wrong_values: int


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A single layer; `units` are MACs, or elements of a sum."""

    layer: str
    target: str
    units: int
    quoted_per_unit: float | None
    instructions: int
    cycles: int | None
    cmsis_instructions: int | None
    cmsis_cycles: int | None


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """Counted and estimated instructions of a network on a target."""

    network: str
    target: str
    optimize: str
    instructions: int
    estimate: int


class Bench:
    """Measures; builds CMSIS-NN once a target, if there is a checkout."""

    def __init__(self, models: Path, cmsis_nn: Path | None, work: Path, winograd: Winograd = "auto") -> None:
        self.winograd = winograd
        self.models = models
        self.cmsis_nn = cmsis_nn
        self.work = work
        self.libraries: dict[str, Library] = {}

    def network(self, network: str, target_name: str, mode: Mode) -> Row:
        """Build, run and count."""
        target = load_target(target_name)
        program = self.program(network, target_name, mode)
        counted, sizes, arena_bytes = self.count(program, target, mode)
        cmsis = self.count_cmsis(program, target)
        millions = CMSIS_NN_MILLIONS[shape_of(network)].get(target_name)
        # The goal is of the network as given, dead channels included.
        given = self.program(network, target_name, mode, fold_dead=False)
        weights = sum(op.weight.size for op in given.ops if isinstance(op, QConv2D))
        return Row(
            network=network,
            target=target_name,
            optimize=mode,
            macs=program.macs,
            instructions=sum(counted.instructions),
            quoted=None if millions is None else round(millions * 1e6),
            goal=goal_ratio(shape_of(network), target_name),
            estimate=instructions_of(program, target, mode, self.winograd),
            cycles=_sum(counted.cycles),
            cmsis_instructions=_sum([layer[0] for layer in cmsis]),
            cmsis_cycles=_sum([layer[1] for layer in cmsis]),
            text_bytes=sizes.get(".network_text", 0),
            rodata_bytes=sizes.get(".network_rodata", 0) + sizes.get(".network_data", 0),
            flash_goal_bytes=round(FLASH_FACTOR * weights) + FLASH_CODE_BYTES,
            arena_bytes=arena_bytes,
            arena_goal_bytes=GOAL_ARENA_BYTES[shape_of(network)],
            stack_bytes=counted.stack_bytes,
            wrong_values=counted.wrong_values,
        )

    def program(self, network: str, target_name: str, mode: Mode, *, fold_dead: bool = True) -> Program:
        source = (NETWORKS | LARGE)[network]
        mean, std = ((value,) if value else None for value in (source.input_mean, source.input_std))
        meaning = state_meaning(mean, std, source.input_range) or UNSTATED
        recipe = make_recipe(
            target=target_name,
            name=shape_of(network),
            meaning=meaning,
            activations="int8",  # as CMSIS-NN and the others
            optimize=mode,
            fold_dead=source.fold_dead and fold_dead,
        )
        return compile_model(self.models / source.file, recipe).program

    def estimate(self, network: str, target_name: str, mode: Mode) -> EstimateRow:
        """Build, run, and compare with the estimate."""
        target = load_target(target_name)
        program = self.program(network, target_name, mode)
        counted, _, _ = self.count(program, target, mode)
        estimate = instructions_of(program, target, mode)
        return EstimateRow(network, target_name, mode, sum(counted.instructions), estimate)

    def count(self, program: Program, target: Target, mode: Mode) -> tuple[Counted, dict[str, int], int]:
        """Counts by layer, sizes of the firmware's sections, bytes of the arena."""
        plan = plan_program(program, target, optimize=mode, winograd=self.winograd)
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            folder, work = Path(name) / "out", Path(name)
            golden = golden_vectors(program, 1)
            write_folder(emit(program, plan, target, optimize=mode, golden=golden), folder)
            elf = build_firmware(folder, target, work)
            sizes = section_sizes_bytes(elf, target)
            return count_segments(elf, target, len(plan.steps), work), sizes, plan.arena_bytes

    def count_cmsis(self, program: Program, target: Target) -> list[tuple[int, int | None]]:
        """Instructions and cycles of each layer with CMSIS-NN; empty without it and off Arm's cores."""
        if self.cmsis_nn is None or not target.core.startswith("cortex"):
            return []
        if target.name not in self.libraries:
            folder = self.work / f"cmsis-{target.name}"
            folder.mkdir()
            self.libraries[target.name] = build_library(self.cmsis_nn, target, folder)
        layers = count_layers(program, self.libraries[target.name], self.work)
        return [(layer.instructions, layer.cycles) for layer in layers]

    def layers(self, target_name: str, mode: Mode) -> list[LayerRow]:
        """The single layers on one target."""
        target, program = load_target(target_name), layers_program()
        counted, _, _ = self.count(program, target, mode)
        plan = plan_program(program, target, optimize=mode)
        place = {step.op.name: index for index, step in enumerate(plan.steps)}
        missing: list[tuple[int | None, int | None]] = [(None, None)] * len(LAYERS)
        cmsis = [*self.count_cmsis(program, target)] or missing
        return [
            LayerRow(
                layer=layer.name,
                target=target_name,
                units=work_units(program, index),
                quoted_per_unit=layer.quoted.get(target_name),
                instructions=counted.instructions[place[f"l{index}"]],
                cycles=counted.cycles[place[f"l{index}"]],
                cmsis_instructions=cmsis[index][0],
                cmsis_cycles=cmsis[index][1],
            )
            for index, layer in enumerate(LAYERS)
        ]

    def host_ms(self) -> float:
        """Milliseconds of one image of MobileNetV1 0.75 in C on one core, the best of several."""
        target = load_target("host")
        recipe = make_recipe(
            target="host", name="mobilenet", activations="int8", input_mean=(127.5,), input_std=(127.5,)
        )
        program = compile_model(self.models / "mobilenetv1_075_224.onnx", recipe).program
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            folder = Path(name) / "out"
            write_folder(emit(program, plan_program(program, target), target), folder)
            network = HostNetwork(folder, native=True)
        inputs = make_inputs(program, "random")
        times = []
        for _ in range(10):
            start = time.perf_counter()
            network.run(inputs)
            times.append(time.perf_counter() - start)
        return round(1e3 * min(times), 1)


def instructions_of(program: Program, target: Target, mode: Mode, winograd: Winograd = "auto") -> int:
    """What the cost table tells."""
    plan = plan_program(program, target, optimize=mode, winograd=winograd)
    return sum(layer.instructions for layer in estimate(plan))


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(
        title="One inference; ratios are to CMSIS-NN in TFLite Micro as quoted, and as measured here"
    )
    for name in ("network", "target"):
        table.add_column(name)
    columns = (
        "instructions",
        "quoted",
        "ratio",
        "goal",
        "CMSIS-NN",
        "ratio",
        "est. cycles",
        "CMSIS-NN",
        "ratio",
    )
    for name in (*columns, "inspect", "code", "constants", "flash goal", "arena", "goal"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.network,
            row.target,
            f"{row.instructions:,}",
            "" if row.quoted is None else f"{row.quoted:,}",
            _judged(row),
            "" if row.goal is None else f"{row.goal:.2f}",
            "" if row.cmsis_instructions is None else f"{row.cmsis_instructions:,}",
            _ratio(row.instructions, row.cmsis_instructions),
            "" if row.cycles is None else f"{row.cycles:,}",
            "" if row.cmsis_cycles is None else f"{row.cmsis_cycles:,}",
            _ratio(row.cycles, row.cmsis_cycles),
            f"{100 * (row.estimate / row.instructions - 1):+.1f} %",
            f"{row.text_bytes:,}",
            f"{row.rodata_bytes:,}",
            f"{row.flash_goal_bytes:,}",
            f"{row.arena_bytes:,}",
            f"{row.arena_goal_bytes:,}",
        )
    console.print(table)


def _ratio(ours: int | None, theirs: int | None) -> str:
    return "" if ours is None or theirs is None else f"{ours / theirs:.2f}"


def _judged(row: Row) -> str:
    if row.quoted is None or row.goal is None:
        return ""
    ratio = row.instructions / row.quoted
    return f"{ratio:.2f}" if ratio <= row.goal else f"[yellow]{ratio:.2f}[/]"


def show_layers(rows: Sequence[LayerRow], console: Console) -> None:
    table = Table(title="Single layers: instructions per MAC, or per element of a sum")
    for name in ("layer", "target"):
        table.add_column(name)
    for name in ("ours", "quoted", "CMSIS-NN", "ratio", "est. cycles", "CMSIS-NN", "ratio"):
        table.add_column(name, justify="right")
    for row in rows:
        theirs = row.cmsis_instructions
        table.add_row(
            row.layer,
            row.target,
            f"{row.instructions / row.units:.3f}",
            "" if row.quoted_per_unit is None else f"{row.quoted_per_unit:g}",
            "" if theirs is None else f"{theirs / row.units:.3f}",
            _ratio(row.instructions, theirs),
            "" if row.cycles is None else f"{row.cycles:,}",
            "" if row.cmsis_cycles is None else f"{row.cmsis_cycles:,}",
            _ratio(row.cycles, row.cmsis_cycles),
        )
    console.print(table)


def measure(bench: Bench, arguments: argparse.Namespace, console: Console) -> Iterator[tuple[str, Any]]:
    """(key, row) of everything asked for."""
    for target in filter(None, arguments.targets.split(",")):
        if arguments.layers:
            with console.status(f"single layers on {target}"):
                for layer in bench.layers(target, arguments.optimize):
                    yield f"layer/{target}/{layer.layer}", layer
            continue
        if arguments.large:
            for network in LARGE:
                with console.status(f"{network} on {target}"):
                    estimate = bench.estimate(network, target, arguments.optimize)
                    yield f"estimate/{target}/{network}/{arguments.optimize}", estimate
            continue
        for network in filter(None, () if arguments.host else arguments.networks.split(",")):
            with console.status(f"{network} on {target}"):
                row = bench.network(network, target, arguments.optimize)
                key = arguments.optimize if bench.winograd == "auto" else "no-winograd"
                yield f"network/{target}/{network}/{key}", row
    if arguments.host:
        with console.status("MobileNet on this machine"):
            yield "host", bench.host_ms()


def main() -> int:
    shared = os.environ.get("DFQGEN_SHARED", str(ROOT.parent / "shared"))
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", default=shared, help="folder that has models/ (or DFQGEN_SHARED)")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of %(default)s, or none")
    parser.add_argument("--targets", help=f"some of {','.join(TARGETS)}; default: all")
    parser.add_argument("--optimize", choices=("speed", "balanced", "size"), default="speed")
    parser.add_argument("--winograd", choices=("auto", "off"), default="auto", help="as of dfqgen build")
    parser.add_argument("--cmsis-nn", type=Path, metavar="PATH", help="a checkout to build and put beside")
    parser.add_argument("--layers", action="store_true", help="single layers instead of networks")
    parser.add_argument("--large", action="store_true", help="estimates of larger networks instead")
    parser.add_argument("--host", action="store_true", help="MobileNet on this machine instead")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to add the results to")
    parser.add_argument("--write-docs", action="store_true", help="docs/speed.md, from all results")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    arguments = parser.parse_args()
    known = TARGETS
    if arguments.targets is None:
        arguments.targets = ",".join(known)
    networks, targets = ({*text.split(",")} for text in (arguments.networks, arguments.targets))
    if unknown := networks - {*NETWORKS, ""} | targets - {*known, ""}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    console = Console(stderr=True)
    found: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="dfqgen-bench-") as work:
            bench = Bench(
                Path(arguments.shared) / "models", arguments.cmsis_nn, Path(work), arguments.winograd
            )
            for key, row in measure(bench, arguments, console):
                found[key] = row
    except DfqgenError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return error.exit_code
    rows = [row for row in found.values() if isinstance(row, Row)]
    layers = [row for row in found.values() if isinstance(row, LayerRow)]
    plain = {key: row if isinstance(row, float) else asdict(row) for key, row in found.items()}
    if arguments.json:
        print(json.dumps(plain, indent=2))
    else:
        if rows:
            show(rows, Console(width=190))
        if layers:
            show_layers(layers, Console(width=150))
        for row in found.values():
            if isinstance(row, EstimateRow):
                off = 100 * (row.estimate / row.instructions - 1)
                print(f"{row.network} on {row.target}: {row.instructions:,}, estimated {off:+.1f} %")
        if "host" in found:
            print(f"MobileNetV1 0.75, 224x224, on this machine: {found['host']} ms an image")
    if arguments.results:
        older = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
        plain = {**older, **plain}
        arguments.results.write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n")
    if arguments.write_docs:
        (ROOT / "docs" / "speed.md").write_text(render_docs(plain), encoding="utf-8")
    wrong = [row for row in rows if row.wrong_values]
    for row in wrong:
        console.print(f"{row.network} on {row.target}: {row.wrong_values} values are wrong", style="red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
