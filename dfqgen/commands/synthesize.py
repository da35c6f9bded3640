"""Samples synthesized from a model file. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from dfqgen.compile import read_network
from dfqgen.errors import UserError
from dfqgen.recipe.records import Recipe
from dfqgen.report.facts import Facts
from dfqgen.samples.doubts import input_warnings

if TYPE_CHECKING:
    from dfqgen.synthesis import Diversity

SynthesisProgress = Callable[[int, int, str], None]
"""Called with (work done, of how much, what is being done)."""


class SynthesisChoices(TypedDict, total=False):
    """How samples are made; what is not said is by the network's size (`SynthesisOptions`)."""

    count: int | None
    iterations: int | None
    slack: bool
    enhance: bool
    start: Literal["procedural", "noise"]
    seed: int


@dataclass(frozen=True, slots=True)
class SynthesisFiles:
    """What is written: the samples (.npz), all of them as one picture, a plot of their statistics beside
    those of samples without slack and enhancement (which are made for it). `force` replaces files.
    """

    samples: Path
    contact_sheet: Path | None = None
    diversity: Path | None = None
    force: bool = False

    @property
    def all(self) -> list[Path]:
        files = (self.samples, self.contact_sheet, self.diversity)
        return [file for file in files if file is not None]

    def check(self) -> None:
        """Raise UserError unless all may be written."""
        if self.samples.suffix != ".npz":
            raise UserError(
                f"{self.samples}: samples are written as .npz", "Give a file name that ends in .npz."
            )
        for file in self.all:
            if file.exists() and not self.force:
                hint = "Replace it with --force, or choose another name."
                raise UserError(f"{file} is there already", hint)


def synthesize(
    model: str | Path,
    files: SynthesisFiles,
    recipe: Recipe,
    choices: SynthesisChoices,
    progress: SynthesisProgress = lambda done, total, stage: None,
) -> Facts:
    """Make samples and write them as raw values, what `--calibration-data` reads.

    Of the recipe it takes how the model is read. Raises UserError: without torch, for files that are there
    already, for operators without gradients.
    """
    from dfqgen import synthesis

    files.check()
    network = read_network(Path(model), recipe.input, recipe.code)
    graph, meanings = network.graph, network.meanings
    chosen = synthesis.SynthesisOptions.for_graph(graph, **choices)
    compared = files.diversity is not None and chosen.diverse
    parts = 2 if compared else 1

    def part(index: int, stage: str) -> Callable[[int, int, float], None]:
        return lambda done, total, loss: progress(
            index * total + done, parts * total, f"{stage}, loss {loss:.3g}"
        )

    made = synthesis.generate_samples(graph, meanings, chosen, part(0, "synthesizing"))
    sets = {"samples": made}
    if compared:
        sets["without SDA and LSE"] = synthesis.generate_samples(
            graph, meanings, chosen.plain(), part(1, "without SDA and LSE")
        )
    inputs = {port.tensor: meanings[port.name].statistics(port.shape[-1]) for port in graph.inputs}
    measured = {name: synthesis.diversity(graph, result.samples, inputs) for name, result in sets.items()}
    files.samples.parent.mkdir(parents=True, exist_ok=True)
    synthesis.save_samples(files.samples, graph, meanings, made.samples, f"synthesized from {made.source}")
    if files.contact_sheet is not None:
        synthesis.save_contact_sheet(files.contact_sheet, graph, meanings, made.samples)
    if files.diversity is not None:
        synthesis.plot_diversity(files.diversity, measured)
    return {
        "model": Path(model).name,
        "files": [str(file) for file in files.all],
        "samples": chosen.count,
        "source": made.source,
        "iterations": chosen.iterations,
        "slack": chosen.slack,
        "enhance": chosen.enhance,
        "start": chosen.start,
        "seed": chosen.seed,
        "loss": [float(made.losses[0]), float(made.losses[-1])] if len(made.losses) else None,
        "diversity": {name: diversity_facts(result) for name, result in measured.items()},
        "warnings": [
            *input_warnings(graph, recipe.input.meaning, recipe.input.meanings),
            *([] if made.exact else [PROPAGATED_WARNING]),
        ],
    }


PROPAGATED_WARNING = (
    "the model has no batch normalization left, so the samples match statistics propagated from its input, "
    "an estimate that falls short in deep layers"
)


def diversity_facts(measured: Diversity) -> Facts:
    """By layer, in units of its deviation: spread from sample to sample, and what is off on average."""
    rows = zip(measured.layers, measured.spread, measured.bias, strict=True)
    return {
        "spread": float(measured.spread.mean()),
        "off": float(measured.bias.mean()),
        "layers": [
            {"layer": layer, "spread": float(spread), "off": float(off)} for layer, spread, off in rows
        ],
    }
