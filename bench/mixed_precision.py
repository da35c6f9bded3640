"""Accuracy of the generated C with weights of few bits, against the flash its constants take.

    python bench/mixed_precision.py --shared ../shared [--networks ic01,vww01] [--write docs/df-mpc.md]
    python bench/mixed_precision.py --shared ../shared --plot docs/df-mpc.png [--points FILE]

Every figure is of the C, compiled for this machine (every target's kernels give the same bits); bytes are the
constants of the C for a Cortex-M4, packed weights, biases and tables. Top-1 where there are labels, in
brackets the agreement of arg-max with the float network. Goals marked in the table are checked: the
command fails where one is missed. --points keeps what was measured, so that an interrupted run goes on where
it was and the plot need not measure again what the tables have.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from subjects import SUBJECTS, replace_table

from dfqgen.commands.evaluate import Evaluation, evaluate, evaluation_facts
from dfqgen.plan import plan_program
from dfqgen.recipe import Choices, make_recipe

PLAIN: Choices = {"rounding": "nearest", "compensate": "none", "correct_bias": False}
NO_COMPENSATION: Choices = {"compensate": "none"}


@dataclass(frozen=True, slots=True)
class Goal:
    """Least figure of merit (top-1, or agreement without labels), most bytes relative to 8 bits."""

    merit: float
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """A way to quantize."""

    name: str
    choices: Choices
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured."""

    bytes: int
    merit: float
    agreement: float
    sqnr_db: float
    seconds: float
    effect: str


def rows_of(network: str) -> list[Row]:
    """The table of one network; its first row is 8 bits."""
    eight = Row("8 bits", Choices())
    if network == "ic01":
        return [eight, *patterns(), *steps("2/6")]
    budget = Choices(flash_budget="60%")
    goal = Goal(0.82 if network == "mobilenet" else 0.92, 0.6)
    rows = [
        eight,
        Row("budget of 60 %", budget, goal),
        Row("- without compensation", {**budget, **NO_COMPENSATION}),
    ]
    if network == "mobilenet":
        # The last layer has three tenths of the weights: at 8 bits it leaves the others 3.2.
        rows.append(Row("budget of 60 %, ends at 8 bits", {**budget, **Choices(low_ends=False)}))
    if network == "vww01":
        rows.append(Row("8 bits, dead channels left in", Choices(fold_dead=False)))
        rows.append(Row("budget of 60 %, dead channels left in", {**budget, **Choices(fold_dead=False)}))
    return rows


def patterns() -> list[Row]:
    """Widths of all layers between the first and the last, with and without compensation."""
    float_top1 = 0.751
    rows = []
    goals = {"4": Goal(float_top1 - 0.015, 0.6), "2/6": Goal(float_top1 - 0.06)}
    for bits in ("4/8", "8/4", "4", "2/6"):
        options = Choices(bits=bits)
        rows.append(Row(f"{bits} bits", options, goals.get(bits)))
        rows.append(Row("- without compensation", {**options, **NO_COMPENSATION}))
    budget = Choices(flash_budget="60%")
    rows.append(Row("budget of 60 %", budget, Goal(float_top1 - 0.015, 0.6)))
    rows.append(Row("- without compensation", {**budget, **NO_COMPENSATION}))
    return rows


def steps(bits: str) -> list[Row]:
    """What each method adds at these bits, from the paper's ternary weights on."""
    plain: Choices = {**PLAIN, "bits": bits}
    ternary: Choices = {**plain, "ternary": "threshold"}
    full = Choices(bits=bits)
    return [
        Row(f"{bits}: plain ternary", ternary),
        Row(
            f"{bits}: ternary, the paper's factors",
            {**ternary, **Choices(compensate="plain", correct_bias=True)},
        ),
        Row(f"{bits}: least-squares scales, to nearest", plain),
        Row("- + equalization", {**plain, **Choices(equalize=True)}),
        Row("- + bias correction", {**plain, **Choices(correct_bias=True)}),
        Row("- + SQuant rounding", {**plain, **Choices(correct_bias=True, rounding="squant")}),
        Row("- + feedback rounding", {**full, **NO_COMPENSATION}),
        Row("- + compensation, error of weights", {**full, **Choices(compensate="plain")}),
        Row("- + compensation, error of outputs", {**full, **Choices(compensate="weighted")}),
        Row("- + compensation, error of activations", full),
        Row("- + equalization", {**full, **Choices(equalize=True)}),
    ]


class Bench:
    """One network and its samples; the float network runs once."""

    def __init__(self, name: str, shared: Path, points: Path | None = None) -> None:
        self.name, self.subject = name, SUBJECTS[name]
        self.model = shared / "models" / self.subject.file
        self.samples = self.subject.samples(shared)
        self._reference: dict[str, Any] | None = None
        self._file = points
        self._known = json.loads(points.read_text()) if points is not None and points.exists() else {}
        self.float_merit = self._known.get(name, 1.0)

    def measure(self, row: Row) -> Point:
        """Compile, run the C, count the bytes; or what is known of these options already."""
        key = f"{self.name} {row.choices}"
        if key not in self._known:
            self._known |= {key: asdict(self._measure(row)), self.name: self.float_merit}
            if self._file is not None:
                self._file.write_text(json.dumps(self._known, indent=1))
        return Point(**self._known[key])

    def _measure(self, row: Row) -> Point:
        started = time.process_time()
        choices: Choices = {"activations": "int8", **row.choices, "target": "cortex-m4"}
        choices["meaning"] = self.subject.meaning
        recipe = make_recipe(**choices)
        found = evaluate(self.model, self.samples, recipe, float_outputs=self._reference)
        self._reference = found.float_outputs
        output = evaluation_facts(found)["outputs"][0]
        self.float_merit = output.get("float_top1", 1.0)
        point = Point(
            bytes=constant_bytes(found),
            merit=output.get("top1", output["top1_agreement"]),
            agreement=output["top1_agreement"],
            sqnr_db=output["sqnr_db"],
            seconds=time.process_time() - started,
            effect=next((n.effect for n in found.compiled.quantized.notes if n.step == "what each adds"), ""),
        )
        print(f"{self.name:10s} {row.name:42s} {point}", file=sys.stderr, flush=True)
        return point


def constant_bytes(found: Evaluation) -> int:
    """Constants of the C for the target compiled for."""
    compiled = found.compiled
    plan = plan_program(compiled.program, compiled.target, winograd="off")
    return sum(array.size_bytes for step in plan.steps for array in step.code.arrays)


def table(bench: Bench, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """Markdown, and the goals that were missed."""
    points = [bench.measure(row) for row in rows]
    labelled = bench.samples.labels is not None
    merit = f"top-1 (float {100 * bench.float_merit:.1f})" if labelled else "agreement with float"
    lines = [f"| {bench.name} | bytes | of 8 bits | {merit} | goal |", "|---|---:|---:|---:|---|"]
    missed = []
    for row, point in zip(rows, points, strict=True):
        ratio = point.bytes / points[0].bytes
        figure = f"{100 * point.merit:.1f}"
        if labelled:
            figure += f" ({100 * point.agreement:.1f})"
        verdict = ""
        if row.goal is not None:
            met = point.merit >= row.goal.merit and ratio <= row.goal.ratio
            verdict = f"≥ {100 * row.goal.merit:.1f}"
            verdict += f" at ≤ {row.goal.ratio:.2f}" if row.goal.ratio < 1 else ""
            verdict += ": met" if met else ": **missed**"
            if not met:
                missed.append(f"{bench.name}: {row.name}: {figure} at {ratio:.3f}")
        lines.append(f"| {row.name} | {point.bytes:,} | {ratio:.2f} | {figure} | {verdict} |")
    return "\n".join(lines), missed


PLOTTED_WIDTHS = ("2", "3", "4", "6")
PLOTTED_BUDGETS = (0.4, 0.5, 0.6)


def curves() -> dict[str, list[Row]]:
    """The lines of the plot."""

    def uniform(**changes: Unpack[Choices]) -> list[Row]:
        return [Row(bits, {**changes, "bits": bits}) for bits in PLOTTED_WIDTHS]

    def budgets(**changes: Unpack[Choices]) -> list[Row]:
        return [
            Row(f"{100 * ratio:.0f} %", {**changes, "flash_budget": f"{100 * ratio:.0f}%"})
            for ratio in PLOTTED_BUDGETS
        ]

    pairs = ("2/6", "4/8", "8/4")
    return {
        "one width, to nearest": uniform(**PLAIN),
        "one width, SQuant rounding": uniform(rounding="squant", compensate="none"),
        "one width, AdaRound (DSG)": uniform(rounding="adaround"),
        "one width, + feedback rounding": uniform(**NO_COMPENSATION),
        "one width, + compensation": uniform(),
        "pairs, compensated": [Row(bits, Choices(bits=bits)) for bits in pairs],
        "flash budget, no compensation": budgets(**NO_COMPENSATION),
        "flash budget, compensated": budgets(),
    }


def plot(bench: Bench, path: Path) -> None:
    """Accuracy against flash, one line a method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    full = Row("8", Choices())
    whole = bench.measure(full)
    for name, rows in curves().items():
        measured = [bench.measure(row) for row in rows] + ([] if name.startswith("pairs") else [whole])
        points = sorted((point.bytes / 1000, 100 * point.merit) for point in measured)
        line = "none" if name.startswith("pairs") else "--" if "no " in name or "nearest" in name else "-"
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linestyle=line, label=name)
    axes.axhline(100 * bench.float_merit, color="grey", linewidth=0.8)
    axes.annotate(
        "float", (axes.get_xlim()[1], 100 * bench.float_merit), ha="right", va="bottom", color="grey"
    )
    axes.set_xlabel("constants in flash [kB]")
    axes.set_ylabel("top-1 of the C [%]")
    axes.set_title(bench.subject.file.removesuffix(".onnx"))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Software": None})


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--networks", default="ic01,vww01,mobilenet")
    parser.add_argument("--write", type=Path, help="replace the tables in this Markdown file")
    parser.add_argument("--plot", type=Path, help="draw ic01's accuracy against flash instead")
    parser.add_argument("--points", type=Path, help="file of what was measured so far")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(Bench("ic01", arguments.shared, arguments.points), arguments.plot)
        return 0
    tables, missed = [], []
    for name in arguments.networks.split(","):
        text, failures = table(Bench(name, arguments.shared, arguments.points), rows_of(name))
        tables.append(text)
        missed += failures
    print("\n\n".join(tables))
    if arguments.write:
        replace_table(arguments.write, "\n\n".join(tables))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
