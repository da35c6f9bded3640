"""Samples as the float network sees them: the user's, procedural images, or noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.steps import with_states
from dfqgen.samples.doubts import sample_warnings
from dfqgen.samples.files import Samples, load_samples
from dfqgen.samples.meaning import InputMeaning, normalize_inputs
from dfqgen.samples.noise import random_samples
from dfqgen.statistics.procedural import is_image, procedural_samples

# A network whose tensors have more elements than this for one input is large: synthesis costs minutes there.
LARGE_ELEMENTS = 2_000_000
SAMPLES, SAMPLES_OF_LARGE = 64, 32


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSamples:
    """Samples [N, ...] by input tensor, as the float network sees them, and what they are in words.

    `real` ones are the user's own; no class is certain on others, so their extremes fall short. `warnings`
    say what is odd about them.
    """

    values: Mapping[str, Array]
    description: str
    real: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(next(iter(self.values.values())))


def is_large(graph: Graph) -> bool:
    """Whether samples are dear."""
    return sum(prod(shape) for shape in graph.shapes.values()) > LARGE_ELEMENTS


def default_count(graph: Graph) -> int:
    """How many samples are made when nobody says: as many as a few minutes allow."""
    return SAMPLES_OF_LARGE if is_large(graph) else SAMPLES


def given_samples(graph: Graph, meanings: Mapping[str, InputMeaning], data: Path | Samples) -> NetworkSamples:
    """The user's samples, or those of a file that `dfqgen synthesize` wrote. Raises UserError."""
    samples = data if isinstance(data, Samples) else load_samples(data, graph)
    kind = "samples" if samples.made is None else f"samples {samples.made}"
    return NetworkSamples(
        with_states(graph, normalize_inputs(graph, meanings, samples.raw)),
        kind if isinstance(data, Samples) else f"{kind} ({data.name})",
        real=samples.made is None,
        warnings=sample_warnings(graph, meanings, samples),
    )


def procedural_inputs(
    graph: Graph, meanings: Mapping[str, InputMeaning], count: int, seed: int = 0
) -> NetworkSamples:
    """Images or signals made by rule; the same for the same seed."""
    statistics = {
        port.tensor: meanings[port.name].statistics(port.shape[-1], image=is_image(port.shape))
        for port in graph.fed
    }
    made = procedural_samples(graph, statistics, count, seed)
    return NetworkSamples(with_states(graph, made), "procedural samples")


def noise_inputs(
    graph: Graph, meanings: Mapping[str, InputMeaning], count: int, seed: int = 0
) -> NetworkSamples:
    """White noise of the stated meaning: the baseline."""
    raw = random_samples(graph, meanings, count, seed, smooth=False).raw
    made = normalize_inputs(graph, meanings, raw)
    return NetworkSamples(with_states(graph, made), "samples of noise")
