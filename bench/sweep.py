"""Single layers of many shapes on emulated Cortex-M cores, each beside CMSIS-NN: where are we slower?

    python bench/sweep.py --cmsis-nn PATH [--targets cortex-m4,cortex-m55] [--only depthwise] [--winograd off]
                          [--results FILE] [--write-docs]

Builds the layers of bench/sweep_layers.py a dozen a firmware, with the kernel the planner chooses for each,
and the same layers with a checkout of CMSIS-NN (bench/cmsis_nn.py); counts instructions exactly in QEMU.
`--only` takes layers whose description has the word. `--results` keeps what was measured in a file, run after
run; `--write-docs` turns all of it into docs/sweep.md. Fails when a bit is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cmsis_nn import Library, build_library, count_layers
from cost_cases import Case
from rich.console import Console
from single_layers import program_of, work_units
from sweep_layers import sweep
from sweep_reasons import TEXT as REASONS

from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.plan import plan_program
from dfqgen.recipe.records import Winograd
from dfqgen.targets import Target, load_target
from dfqgen.verify.firmware import build_firmware
from dfqgen.verify.profile import count_segments

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 12
"""Layers in a firmware: their inputs, outputs and constants fit the boards."""

INTRODUCTION = """# Single layers beside CMSIS-NN

Written by `bench/sweep.py --write-docs`; do not edit. Instructions counted in QEMU, per multiply-accumulate,
or per element of the output where there are none; CMSIS-NN (99f736a, GCC 12.2 -O2) built and called in one
run with ours on the same weights, its wrapper functions alone. Kernels are the planner's choice for speed. A
ratio in **bold** is above 1: there CMSIS-NN is faster. The last section says why some layers take longer than
others.

    python bench/sweep.py --cmsis-nn ../CMSIS-NN --results sweep.json --write-docs
"""

Counts = tuple[int, int, int, str]
"""Units of work, our instructions, CMSIS-NN's, our kernel."""


def measure(
    layers: Sequence[tuple[str, Case]], target: Target, library: Library, work: Path, winograd: Winograd
) -> Iterator[tuple[str, Counts]]:
    """Each layer's counts."""
    for start in range(0, len(layers), AT_ONCE):
        some = layers[start : start + AT_ONCE]
        program = program_of("sweep", [case for _, case in some])
        plan = plan_program(program, target, winograd=winograd)
        with tempfile.TemporaryDirectory(dir=work) as name:
            folder = Path(name) / "out"
            write_folder(emit(program, plan, target, golden=golden_vectors(program, 1)), folder)
            counted = count_segments(
                build_firmware(folder, target, Path(name)), target, len(plan.steps), Path(name)
            )
        if counted.wrong_values:
            raise SystemExit(f"{target.name}: {counted.wrong_values} values are wrong")
        ours = {
            step.op.name: (count, step.kernel.function)
            for step, count in zip(plan.steps, counted.instructions, strict=True)
        }
        theirs = {layer.name: layer.instructions for layer in count_layers(program, library, work)}
        for index, (text, case) in enumerate(some):
            count, function = ours[case.op.name]
            yield text, (work_units(program, index), count, theirs[case.op.name], function)


def render(results: Mapping[str, Mapping[str, Counts]]) -> str:
    """The page: one table a target, in the order of the layers, and the reasons."""
    parts = [INTRODUCTION.strip()]
    for target, found in results.items():
        slower = sum(ours > theirs for _, ours, theirs, _ in found.values())
        lines = [f"## {target}", "", f"{len(found)} layers, {slower} of them slower than CMSIS-NN.", ""]
        lines += ["| layer | dfqgen | CMSIS-NN | ratio | kernel |", "| --- | --: | --: | --: | --- |"]
        for text, (units, ours, theirs, function) in found.items():
            ratio = f"{ours / theirs:.2f}"
            told = f"**{ratio}**" if ours > theirs else ratio
            lines.append(f"| {text} | {ours / units:.3f} | {theirs / units:.3f} | {told} | `{function}` |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, REASONS])


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cmsis-nn", type=Path, metavar="PATH", help="a checkout to build and put beside")
    parser.add_argument("--targets", default="cortex-m4,cortex-m55", help="default: %(default)s")
    parser.add_argument("--only", default="", help="layers whose description has this")
    parser.add_argument("--winograd", choices=("auto", "off"), default="auto", help="as of dfqgen build")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to add the results to")
    parser.add_argument("--write-docs", action="store_true", help="docs/sweep.md, from all results")
    arguments = parser.parse_args()
    console = Console(width=150)
    results: dict[str, dict[str, Counts]] = {}
    if arguments.results and arguments.results.is_file():
        results = json.loads(arguments.results.read_text())
    layers = sweep()
    wanted = [(text, case) for text, case in layers if arguments.only in text]
    for name in filter(None, arguments.targets.split(",") if arguments.cmsis_nn else ()):
        target = load_target(name)
        with tempfile.TemporaryDirectory(prefix="dfqgen-sweep-") as folder:
            work = Path(folder)
            library = build_library(arguments.cmsis_nn, target, work)
            found = dict(results.get(name, {}))
            for text, counts in measure(wanted, target, library, work, arguments.winograd):
                found[text] = counts
                units, ours, theirs, function = counts
                told = f"{ours / units:9.3f}{theirs / units:9.3f}{ours / theirs:7.2f}"
                console.print(f"{name}  {text:45}{told}  {function}")
        results[name] = {text: found[text] for text, _ in layers if text in found}
    if arguments.results:
        arguments.results.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write_docs:
        (ROOT / "docs" / "sweep.md").write_text(render(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
