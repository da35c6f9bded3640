"""Samples synthesized from a model file: what `dfqgen synthesize` does. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfqgen.compilation import UNSTATED_WARNING, CompileOptions, load_graph
from dfqgen.errors import UserError
from dfqgen.inputs import meanings_for
from dfqgen.report.facts import Facts

if TYPE_CHECKING:
    from dfqgen.synthesis import Diversity

Progress = Callable[[int, int, str], None]
"""Called with (work done, of how much, what is being done)."""


@dataclass(frozen=True, slots=True)
class SynthesizeOptions:
    """What `synthesize` can be told; None is by the network's size.

    `slack` and `enhance` are slack distribution alignment and layerwise sample enhancement; without both it
    is the loss of ZeroQ. `diversity` is a plot of these samples' statistics beside those of samples without
    the two, which are made for it.
    """

    compile: CompileOptions = field(default_factory=CompileOptions)
    count: int | None = None
    iterations: int | None = None
    slack: bool = True
    enhance: bool = True
    start: Literal["procedural", "noise"] = "procedural"
    seed: int = 0
    contact_sheet: Path | None = None
    diversity: Path | None = None
    force: bool = False


def synthesize(
    model: str | Path,
    output: Path,
    options: SynthesizeOptions,
    progress: Progress = lambda done, total, stage: None,
) -> Facts:
    """Make samples and write them to `output` (.npz) as raw values, what `--calibration-data` reads.

    Raises UserError: without torch, for files that are there already, for operators without gradients.
    """
    from dfqgen import synthesis

    _check_files(output, options)
    graph = load_graph(Path(model), options.compile)
    meanings = meanings_for(graph, options.compile.meaning)
    chosen = synthesis.SynthesisOptions.for_graph(
        graph,
        count=options.count,
        iterations=options.iterations,
        slack=options.slack,
        enhance=options.enhance,
        start=options.start,
        seed=options.seed,
    )
    compared = options.diversity is not None and chosen.diverse
    parts = 2 if compared else 1

    def part(index: int, stage: str) -> Callable[[int, int, float], None]:
        return lambda done, total, loss: progress(
            index * total + done, parts * total, f"{stage}, loss {loss:.3g}"
        )

    made = synthesis.synthesize(graph, meanings, chosen, part(0, "synthesizing"))
    sets = {"samples": made}
    if compared:
        sets["without SDA and LSE"] = synthesis.synthesize(
            graph, meanings, chosen.plain(), part(1, "without SDA and LSE")
        )
    inputs = {port.tensor: meanings[port.name].statistics(port.shape[-1]) for port in graph.inputs}
    measured = {name: synthesis.diversity(graph, result.samples, inputs) for name, result in sets.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    synthesis.save_samples(output, graph, meanings, made.samples, f"synthesized from {made.source}")
    if options.contact_sheet is not None:
        synthesis.save_contact_sheet(options.contact_sheet, graph, meanings, made.samples)
    if options.diversity is not None:
        synthesis.plot_diversity(options.diversity, measured)
    files = (output, options.contact_sheet, options.diversity)
    return {
        "model": Path(model).name,
        "files": [str(file) for file in files if file is not None],
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
            *([] if options.compile.meaning is not None else [UNSTATED_WARNING]),
            *([] if made.exact else [PROPAGATED_WARNING]),
        ],
    }


PROPAGATED_WARNING = (
    "the model has no batch normalization left, so the samples match statistics propagated from its input, "
    "an estimate that falls short in deep layers"
)


def _check_files(output: Path, options: SynthesizeOptions) -> None:
    if output.suffix != ".npz":
        raise UserError(f"{output}: samples are written as .npz", "Give a file name that ends in .npz.")
    for file in (output, options.contact_sheet, options.diversity):
        if file is not None and file.exists() and not options.force:
            raise UserError(f"{file} is there already", "Replace it with --force, or choose another name.")


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
