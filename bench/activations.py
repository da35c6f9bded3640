"""int8, auto and int16 activations on networks of the zoo: accuracy, instructions and RAM on the Cortex-M4.

    python bench/activations.py --shared ../shared --write docs/int16.md [--only ic01_resnet8] [--limit 16]

Built without data by default options; figures as those of bench/zoo.py. Instructions are the planner's
estimate, RAM is the arena.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from subjects import replace_table
from zoo import Cache, Measurement, first_line
from zoo_networks import read_zoo

from dfqgen.commands.evaluate import c_outputs
from dfqgen.compile import compile_model
from dfqgen.errors import DfqgenError
from dfqgen.passes.contract import Note
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.records import ActivationChoice

NETWORKS = (
    "effnet_lite0", "ic01_resnet8", "ppocr_det_v4", "mp_face_detection_short_range", "minifasnet_v2",
    "bcresnet8", "armkws_CNN", "armkws_DS_CNN", "armkws_DNN", "mlc_kws_float", "face_slim_320-folded",
)  # fmt: skip
WIDTHS: tuple[ActivationChoice, ...] = ("int8", "auto", "int16")


@dataclass(frozen=True, slots=True)
class Row:
    """One network with one choice."""

    network: str
    width: str
    scores: str
    wide: int
    tensors: int
    instructions: float
    arena_bytes: int
    notes: tuple[Note, ...] = ()


def measure(measurement: Measurement, width: ActivationChoice) -> Row:
    """Compile, run the C on the samples, judge by the float network. Raises DfqgenError."""
    choices = Choices(target="cortex-m4", input_shape=measurement.network.shapes, activations=width)
    if measurement.network.meaning is not None:
        choices["meaning"] = measurement.network.meaning
    compiled = compile_model(measurement.model, make_recipe(**choices))
    inputs = compiled.network.normalize(measurement.samples(compiled.network.graph).raw)
    found, _ = c_outputs(compiled, inputs)
    outputs = {port.name: port.to_model(found[port.name]) for port in compiled.network.graph.outputs}
    name = measurement.network.name
    scores = measurement.score(outputs)
    tensors = compiled.program.tensors.values()
    plan = plan_program(compiled.program, compiled.target)
    return Row(
        name,
        width,
        scores.text,
        sum(tensor.qtype.dtype.bits == 16 for tensor in tensors),
        len(tensors),
        sum(layer.instructions for layer in estimate(plan)),
        plan.arena_bytes,
        tuple(note for note in compiled.quantized.notes if "int16" in note.step + note.effect),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| network | activations | against float | int16 | instructions | arena |"]
    lines.append("| --- | --- | --- | --: | --: | --: |")
    for row in rows:
        cells = [
            row.network if row.width == WIDTHS[0] else "",
            row.width,
            row.scores,
            f"{row.wide} of {row.tensors}",
            f"{row.instructions / 1e6:.2f} M",
            f"{row.arena_bytes / 1024:.1f} KB",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--only", default=",".join(NETWORKS), help="names of networks, with commas between")
    parser.add_argument("--limit", type=int, default=64, help="samples of each network")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    zoo = read_zoo(arguments.shared)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only.split(","):
            measurement = Measurement(zoo[name], arguments.shared, arguments.limit, Cache(Path(folder)))
            for width in WIDTHS:
                try:
                    rows.append(measure(measurement, width))
                except DfqgenError as error:
                    print(f"{name} {width}: {first_line(error)}", file=sys.stderr)
                    continue
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
                for note in rows[-1].notes:
                    print(f"    {note.step}: {note.effect}", file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.write:
        replace_table(arguments.write, table(rows), "activations")


if __name__ == "__main__":
    main()
