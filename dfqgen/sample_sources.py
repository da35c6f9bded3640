"""Samples made for a network: synthesized from what training left in it, procedural images, or noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from dfqgen.graph.ir import Array, Graph
from dfqgen.inputs import normalize_inputs, random_samples
from dfqgen.ops.norm import BatchNorm
from dfqgen.quantization.options import InputMeaning
from dfqgen.sample_count import default_count
from dfqgen.statistics.procedural import is_image, procedural_samples

SampleSource = Literal["synthetic", "procedural", "noise"]
SAMPLE_SOURCES: tuple[SampleSource, ...] = get_args(SampleSource)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class MadeSamples:
    """Samples [N, ...] by input tensor, as the float network sees them, and what they are in words.

    `synthetic` ones are not real.
    """

    samples: Mapping[str, Array]
    description: str
    synthetic: bool = True

    @property
    def count(self) -> int:
        return len(next(iter(self.samples.values())))


def default_source(graph: Graph) -> SampleSource:
    """Synthetic where batch normalization says what they should be like; statistics propagated in its place
    make worse samples than procedural ones (docs/dsg.md).
    """
    normalized = any(isinstance(node.op, BatchNorm) for node in graph.nodes)
    return "synthetic" if normalized else "procedural"


def make_samples(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    source: SampleSource,
    *,
    count: int | None = None,
    seed: int = 0,
    progress: Progress = lambda stage: None,
) -> MadeSamples:
    """Samples for a graph as loaded (batch normalization not folded), the same for the same seed.

    "synthetic" needs torch (UserError without); "noise" is the baseline: white noise of the stated meaning.
    """
    count = default_count(graph) if count is None else count
    if source == "synthetic":
        return _synthesized(graph, meanings, count, seed, progress)
    if source == "procedural":
        progress("making procedural samples")
        made = {}
        for i, port in enumerate(graph.inputs):
            statistics = meanings[port.name].statistics(port.shape[-1], image=is_image(port.shape))
            made[port.tensor] = procedural_samples(statistics, port.shape, count, seed + i)
        return MadeSamples(made, "procedural samples")
    raw = random_samples(graph, meanings, count, seed, smooth=False).raw
    return MadeSamples(normalize_inputs(graph, meanings, raw), "samples of noise")


def _synthesized(
    graph: Graph, meanings: Mapping[str, InputMeaning], count: int, seed: int, progress: Progress
) -> MadeSamples:
    # Here, not above: torch is an extra.
    from dfqgen.synthesis import SynthesisOptions, synthesize

    progress("synthesizing samples")
    options = SynthesisOptions.for_graph(graph, count=count, seed=seed)

    def step(done: int, total: int, loss: float) -> None:
        progress(f"synthesizing samples: {100 * done // total} %")

    result = synthesize(graph, meanings, options, step)
    return MadeSamples(result.samples, f"samples synthesized from {result.source}")
