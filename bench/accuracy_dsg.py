"""What synthetic samples are worth: DSG and AdaRound beside nearest rounding, other samples and real images.

    python bench/accuracy.py --methods dsg --shared ../shared [--networks ic01,mobilenet]
    python bench/accuracy_dsg.py --shared ../shared [--rows w8-dfq,w4-dsg] [--write docs/dsg.md]
    python bench/accuracy_dsg.py --shared ../shared --networks ic01 --diversity docs/dsg.png

Top-1 of the generated C, compiled for this machine (every target's kernels give the same bits). "real" is
every n-th image of the set; figures in brackets leave these out, in all rows, so that they compare. At 4
and 3 bits the first and the last layer and depthwise layers keep 8. Times are of making samples and of
compiling, on the clock and of the processor.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from subjects import SUBJECTS, replace_table

from dfqgen.commands.evaluate import Evaluation, evaluate
from dfqgen.frontend import load
from dfqgen.graph.ir import Array, Graph
from dfqgen.methods import make_samples
from dfqgen.ops.conv import Conv2D
from dfqgen.recipe import Choices, make_recipe
from dfqgen.samples.files import Samples
from dfqgen.samples.made import default_count
from dfqgen.synthesis import (
    SynthesisOptions,
    diversity,
    generate_samples,
    load_samples,
    plot_diversity,
    save_samples,
)

NETWORKS = ("mobilenet", "ic01")
Source = Literal["noise", "procedural", "plain", "dsg", "real"]


@dataclass(frozen=True, slots=True)
class Row:
    """A way to quantize: `bits` of inner weights, and the samples that statistics or rounding come from."""

    key: str
    title: str
    choices: Choices
    bits: int = 8
    statistics: Source | None = None
    rounding: Source | None = None


PER_TENSOR = Choices(weights="per-tensor")
NEAREST = Choices(rounding="nearest", compensate="none")
ADAROUND = Choices(rounding="adaround")

GOALS = ("w8-dfq", "w8-dsg", "w4-nearest", "w4-dsg", "w4-real")
"""The rows that the goals are about; the others take as long again."""

ROWS = (
    Row("w8-dfq", "W8A8 per-tensor, DFQ", PER_TENSOR),
    Row(
        "w8-dsg",
        "**W8A8 per-tensor, ranges and biases by DSG**",
        {**PER_TENSOR, **Choices(empirical_bias=True)},
        statistics="dsg",
        rounding="dsg",
    ),
    Row("w4-nearest", "W4A8 per-channel, nearest", NEAREST, 4),
    Row("w4-dsg", "**W4A8 per-channel, DSG + AdaRound**", ADAROUND, 4, rounding="dsg"),
    Row("w4-real", "W4A8 per-channel, real images + AdaRound", ADAROUND, 4, rounding="real"),
    Row("w4-noise", "W4A8 per-channel, noise + AdaRound", ADAROUND, 4, rounding="noise"),
    Row(
        "w4-procedural", "W4A8 per-channel, procedural images + AdaRound", ADAROUND, 4, rounding="procedural"
    ),
    Row(
        "w4-plain", "W4A8 per-channel, samples without SDA and LSE + AdaRound", ADAROUND, 4, rounding="plain"
    ),
    Row("w4-closed", "W4A8 per-channel, closed forms (no samples)", Choices(), 4),
    Row(
        "w8-adaround",
        "W8A8 per-tensor, DSG + AdaRound",
        {**PER_TENSOR, **Choices(rounding="adaround")},
        rounding="dsg",
    ),
    Row("w3-nearest", "W3A8 per-channel, nearest", NEAREST, 3),
    Row("w3-dsg", "W3A8 per-channel, DSG + AdaRound", ADAROUND, 3, rounding="dsg"),
)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Times:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Times) -> str:
        return f"{self.clock - start.clock:.0f} s ({self.processor - start.processor:.0f} s of processor)"


class Experiment:
    """One network with what its rows share."""

    def __init__(self, name: str, shared: Path, keep: Path | None, count: int | None = None) -> None:
        self.name, self.keep = name, keep
        subject = SUBJECTS[name]
        self.model = shared / "models" / subject.file
        self.meaning = subject.meaning
        self.graph: Graph = load(self.model)
        self.port = self.graph.inputs[0]
        self.test = subject.samples(shared)
        assert self.test.labels is not None
        self.count = default_count(self.graph) if count is None else count
        self.calibration = np.arange(self.count) * (self.test.count // self.count)
        layers = [node for node in self.graph.nodes if isinstance(node.op, Conv2D)]
        self.inner = [n.name for n in layers[1:-1] if isinstance(n.op, Conv2D) and not n.op.depthwise]
        self.float_outputs: dict[str, Array] | None = None
        self._samples: dict[Source, Samples] = {}

    def samples(self, source: Source) -> Samples:
        """Raw samples of one kind; made once, and kept in files where there is a folder for them."""
        if source not in self._samples:
            started = Times.now()
            meanings = {self.port.name: self.meaning}
            file = None if self.keep is None else self.keep / f"{self.name}-{source}.npz"
            if source == "real":
                raw = self.test.raw[self.port.tensor][self.calibration]
                return self._samples.setdefault(source, Samples({self.port.tensor: raw}))
            if file is not None and file.exists():
                made = load_samples(file, self.graph, meanings)
            elif source in ("noise", "procedural"):
                made = dict(make_samples(self.graph, meanings, source, count=self.count).values)
            else:
                options = SynthesisOptions.for_graph(self.graph, count=self.count)
                options = options.plain() if source == "plain" else options
                made = dict(generate_samples(self.graph, meanings, options).samples)
            if file is not None and not file.exists():
                save_samples(file, self.graph, meanings, made)
            self._samples[source] = Samples(
                {self.port.tensor: made[self.port.tensor] * self.meaning.std + self.meaning.mean},
                made=source,
            )
            print(f"{self.name} {source} samples: {Times.now().since(started)}", file=sys.stderr, flush=True)
        return self._samples[source]

    def measure(self, row: Row) -> str:
        """Top-1, and in brackets without the calibration images."""
        choices: Choices = {"activations": "int8", **row.choices, "target": "cortex-m4"}
        choices["meaning"] = self.meaning
        if row.bits != 8:
            choices["bits_map"] = dict.fromkeys(self.inner, row.bits)
        if row.statistics is not None:
            choices["calibration_data"] = self.samples(row.statistics)
        if row.rounding is not None:
            choices["rounding_data"] = self.samples(row.rounding)
        recipe = make_recipe(**choices)
        started, compiled = Times.now(), []

        def progress(stage: str) -> None:
            if stage.startswith("compiling the C"):
                compiled.append(Times.now())

        result = evaluate(self.model, self.test, recipe, float_outputs=self.float_outputs, progress=progress)
        self.float_outputs = result.float_outputs
        figures = self.top1(result, result.outputs)
        note = result.compiled.quantized.notes[-1]
        print(
            f"{self.name} {row.key}: {figures}; {compiled[0].since(started)}; {note.step}: {note.effect}",
            file=sys.stderr,
            flush=True,
        )
        return figures

    def top1(self, result: Evaluation, outputs: dict[str, Array]) -> str:
        scores = next(iter(outputs.values()))
        assert result.samples.labels is not None
        right = scores.reshape(len(scores), -1).argmax(axis=1) == result.samples.labels
        others = np.delete(right, self.calibration)
        return f"{100 * right.mean():.1f} ({100 * others.mean():.1f})"

    def rows(self, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
        for row in rows:
            yield row.title, self.measure(row)


def show_diversity(experiment: Experiment, file: Path) -> str:
    """Plot how samples' statistics lie around the trained ones; the same as a Markdown table."""
    sources: dict[str, Source] = {"noise": "noise", "without SDA and LSE": "plain"}
    sources |= {"DSG": "dsg", "real images": "real"}
    tensor = experiment.port.tensor
    measured = {
        name: diversity(
            experiment.graph, {tensor: experiment.meaning.normalize(experiment.samples(source).raw[tensor])}
        )
        for name, source in sources.items()
    }
    plot_diversity(file, measured)
    lines = ["| samples | spread from sample to sample | off on average |", "|---|--:|--:|"]
    for name, found in measured.items():
        lines.append(f"| {name} | {found.spread.mean():.2f} | {found.bias.mean():.2f} |")
    return "\n".join(lines)


def table(networks: Sequence[str], rows: Sequence[Row], cells: dict[tuple[str, str], str]) -> str:
    """Markdown, rows by network."""
    lines = ["| | " + " | ".join(networks) + " |", "|---|" + "---|" * len(networks)]
    for title in ("float (onnxruntime)", *(row.title for row in rows)):
        lines.append(f"| {title} | " + " | ".join(cells.get((name, title), "") for name in networks) + " |")
    return "\n".join(lines)


def run(
    shared: Path,
    networks: Sequence[str] = NETWORKS,
    keys: Sequence[str] = GOALS,
    keep: Path | None = None,
    count: int | None = None,
) -> str:
    """Measure and give the table; each figure goes to standard error as soon as it is there."""
    rows = [row for row in ROWS if row.key in keys]
    cells = {}
    for name in networks:
        experiment = Experiment(name, shared, keep, count)
        for title, figures in experiment.rows(rows):
            cells[name, title] = figures
        scores = experiment.float_outputs
        assert scores is not None
        result = next(iter(scores.values()))
        right = result.reshape(len(result), -1).argmax(axis=1) == experiment.test.labels
        others = np.delete(right, experiment.calibration)
        cells[name, "float (onnxruntime)"] = f"{100 * right.mean():.1f} ({100 * others.mean():.1f})"
    return table(networks, rows, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rows", default=",".join(row.key for row in ROWS), help="default: all")
    parser.add_argument("--samples", type=int, help="how many; default: as dfqgen takes")
    parser.add_argument("--keep", type=Path, help="a folder for the samples; read again where they are there")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    parser.add_argument("--diversity", type=Path, help="plot samples' statistics to this PNG instead")
    arguments = parser.parse_args()
    if arguments.diversity:
        (name,) = arguments.networks.split(",")
        experiment = Experiment(name, Path(arguments.shared), arguments.keep, arguments.samples)
        print(show_diversity(experiment, arguments.diversity))
        return
    text = run(
        Path(arguments.shared),
        arguments.networks.split(","),
        arguments.rows.split(","),
        arguments.keep,
        arguments.samples,
    )
    print(text)
    if arguments.write:
        replace_table(arguments.write, text)


if __name__ == "__main__":
    main()
