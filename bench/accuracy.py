"""Accuracy of the generated C, every step of the data-free method on and off, beside the float network.

    python bench/accuracy.py --shared ../shared [--networks mobilenet,ic01] [--write docs/accuracy.md]
    python bench/accuracy.py --shared ../shared --methods dsg    what needs torch: bench/accuracy_dsg.py

Each row is one way to quantize; each figure is of the C, compiled for this machine (every target's
kernels give the same bits). Classification: top-1, then agreement of arg-max with the float network.
`vww01` has no labels here, `kws01` and `ad01` no data: Gaussian inputs of the stated range.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from subjects import NORMAL_SAMPLES, SUBJECTS, replace_table

from dfqgen.commands.evaluate import Evaluation, evaluate, evaluation_facts
from dfqgen.compile import compile_model
from dfqgen.recipe import Choices, make_recipe
from dfqgen.samples.files import Samples

PLAIN = Choices(
    statistics="analytic",
    fold_dead=False,
    equalize=False,
    correct_bias=False,
    rounding="nearest",
    n_sigma=6.0,
    n_sigma_scores=6.0,
)


def plain(**changes: Unpack[Choices]) -> Choices:
    """Nothing but batch normalization's ranges at 6 sigma and rounding to nearest, with some changes."""
    return PLAIN | changes


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table."""

    name: str
    choices: Choices
    calibrate: bool = False
    steps: bool = False  # one of the steps between naive and complete


METHODS = (
    Method("naive per-tensor", plain(weights="per-tensor")),
    Method("+ dead channels folded", plain(weights="per-tensor", fold_dead=True), steps=True),
    Method("+ equalization", plain(weights="per-tensor", fold_dead=True, equalize=True), steps=True),
    Method(
        "+ bias correction",
        plain(weights="per-tensor", fold_dead=True, equalize=True, correct_bias=True),
        steps=True,
    ),
    Method(
        "the paper's DFQ: ReLU6 replaced, absorption",
        plain(
            weights="per-tensor",
            fold_dead=True,
            equalize=True,
            relu6="replace",
            absorb_bias=True,
            correct_bias=True,
        ),
        steps=True,
    ),
    Method("**per-tensor (default steps)**", Choices(weights="per-tensor")),
    Method("naive per-channel", plain(), steps=True),
    Method("per-channel, analytic statistics", Choices(statistics="analytic"), steps=True),
    Method("per-channel, 6 sigma", Choices(n_sigma=6.0), steps=True),
    Method("per-channel, least-squares ranges", Choices(ranges="mse"), steps=True),
    Method("per-channel, no bias correction", Choices(correct_bias=False), steps=True),
    Method("per-channel, equalized", Choices(equalize=True), steps=True),
    Method("per-channel, SQuant rounding", Choices(rounding="squant"), steps=True),
    Method("**per-channel (default)**", Choices()),
    Method("per-channel, real images for calibration", Choices(), calibrate=True),
    Method("**power-of-two, per-channel**", Choices(scales="power-of-two")),
    Method("power-of-two, per-tensor", Choices(scales="power-of-two", weights="per-tensor"), steps=True),
)


@dataclass(slots=True)
class Column:
    """A network with its measured cells, by method name."""

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    float_cell: str = ""
    prepare_seconds: float = 0.0


def cell(evaluation: Evaluation) -> str:
    """One figure of merit: top-1, else agreement, else SQNR."""
    output = evaluation_facts(evaluation)["outputs"][0]
    if "top1" in output:
        return f"{100 * output['top1']:.1f} ({100 * output['top1_agreement']:.1f})"
    if evaluation.samples.raw and "top1_agreement" in output and evaluation.samples.count != NORMAL_SAMPLES:
        return f"({100 * output['top1_agreement']:.1f})"
    return f"{output['sqnr_db']:.1f} dB"


def measure(name: str, shared: Path, methods: Sequence[Method]) -> Iterator[Column]:
    """Fill one column, method by method, and give it after each."""
    subject = SUBJECTS[name]
    samples = subject.samples(shared)
    column = Column(name)
    reference = None
    # Calibration on the odd samples; measured on all, as without it.
    tensor, raw = next(iter(samples.raw.items()))
    for method in methods:
        if method.calibrate and subject.data is None:
            column.cells[method.name] = "-"
            continue
        choices: Choices = {"activations": "int8", **method.choices, "target": "cortex-m4"}
        choices["meaning"] = subject.meaning
        if method.calibrate:
            choices = {**choices, "calibration_data": Samples({tensor: raw[1::2][:64]})}
        recipe = make_recipe(**choices)
        evaluation = evaluate(shared / "models" / subject.file, samples, recipe, float_outputs=reference)
        if reference is None:
            reference = evaluation.float_outputs
            first = evaluation_facts(evaluation)["outputs"][0]
            column.float_cell = f"{100 * first['float_top1']:.1f}" if "float_top1" in first else ""
        column.cells[method.name] = cell(evaluation)
        print(f"{name:18s} {method.name:45s} {column.cells[method.name]}", file=sys.stderr, flush=True)
        yield column
    started = time.process_time()
    compile_model(shared / "models" / subject.file, make_recipe(meaning=subject.meaning))
    column.prepare_seconds = time.process_time() - started
    yield column


def table(columns: Sequence[Column], methods: Sequence[Method]) -> str:
    """Markdown."""
    lines = ["| | " + " | ".join(column.name for column in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    lines.append("| float (onnxruntime) | " + " | ".join(column.float_cell for column in columns) + " |")
    for method in methods:
        cells = " | ".join(column.cells.get(method.name, "") for column in columns)
        lines.append(f"| {method.name} | {cells} |")
    seconds = " | ".join(f"{column.prepare_seconds:.1f} s" for column in columns)
    lines.append(f"| reading and all passes, CPU time | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--methods", choices=("dfq", "dsg"), default="dfq")
    parser.add_argument("--networks", help="a list with commas between")
    parser.add_argument("--quick", action="store_true", help="only the rows that the goals are about")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    arguments = parser.parse_args()
    names = arguments.networks.split(",") if arguments.networks else None
    if arguments.methods == "dsg":
        import accuracy_dsg  # needs torch

        text = accuracy_dsg.run(Path(arguments.shared), names or accuracy_dsg.NETWORKS)
        print(text)
        if arguments.write:
            replace_table(arguments.write, text)
        return
    methods = [method for method in METHODS if not (arguments.quick and method.steps)]
    columns = []
    for name in names or SUBJECTS:
        *_, column = measure(name, arguments.shared, methods)
        columns.append(column)
    text = table(columns, methods)
    print(text)
    if arguments.write:
        replace_table(arguments.write, text)


if __name__ == "__main__":
    main()
