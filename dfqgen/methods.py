"""The methods that a recipe names, made: samples and rounders. Only here does a build meet PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.ops.norm import BatchNorm
from dfqgen.progress import Part, Progress, silent
from dfqgen.quantization.bias_by_trial import CorrectedByTrial
from dfqgen.quantization.bias_from_samples import CorrectedOnSamples
from dfqgen.quantization.in_turn import InTurn
from dfqgen.quantization.rounding import Independent, Rounder
from dfqgen.recipe.records import (
    LowBitsRecipe,
    RecordedSamples,
    RoundingRecipe,
    SampleSource,
    SamplesRecipe,
    StatisticsRecipe,
    WeightsRecipe,
)
from dfqgen.samples.made import (
    NetworkSamples,
    default_count,
    given_samples,
    noise_inputs,
    procedural_inputs,
)
from dfqgen.samples.meaning import InputMeaning

if TYPE_CHECKING:
    from dfqgen.recipe.records import UserSamples

CORRELATED_SAMPLES = 16
"""Real samples that correlations are told from: of images, more windows than are drawn."""


def make_rounder(
    weights: WeightsRecipe,
    low_bits: LowBitsRecipe,
    rounding: RoundingRecipe,
    samples: SampleRoom,
    progress: Progress = silent,
) -> Rounder:
    """The rounder of this name. Raises UserError: for AdaRound without torch, for samples that are bad."""
    if rounding.method == "adaround":
        driving = samples.for_rounding()
        # Here, not above: torch is an extra.
        from dfqgen.synthesis import AdaRound, AdaRoundSettings

        settings = AdaRoundSettings(iterations=rounding.adaround_iterations, seed=samples.recipe.seed)
        return AdaRound(weights, driving, settings, progress)
    if rounding.bias == "samples":
        return CorrectedOnSamples(weights, samples.for_rounding(), rounding.method)
    if low_bits.mixes:
        return InTurn(weights, low_bits, rounding)
    if rounding.bias == "auto":
        return CorrectedByTrial(weights, rounding.method, samples.graph, samples.real_ones())
    return Independent(weights, rounding.method, rounding.bias == "statistics", samples.real_ones())


@dataclass(frozen=True, slots=True, eq=False)
class SampleRoom:
    """The samples of one build of `graph` (as loaded, batch normalization not folded).

    What is made for one step serves the others that want the same.
    """

    graph: Graph
    meanings: Mapping[str, InputMeaning]
    recipe: SamplesRecipe
    progress: Progress = silent
    _made: dict[SampleSource | Literal["calibration"], NetworkSamples] = field(default_factory=dict)

    def for_statistics(self, statistics: StatisticsRecipe) -> NetworkSamples | None:
        """What replaces procedural samples there, None where nothing does."""
        if statistics.source == "data" and self.recipe.calibration is not None:
            self.progress("measuring statistics on the calibration data")
            return self._calibration(self.recipe.calibration)
        return self.made("synthetic") if statistics.source == "synthetic" else None

    def for_rounding(self) -> NetworkSamples:
        """What AdaRound and bias correction on samples run on."""
        wanted = self.recipe.rounding
        if wanted is None:
            wanted = self.recipe.calibration or default_source(self.graph)
        return self.made(wanted) if isinstance(wanted, str) else self._given(wanted)

    def real_ones(self) -> dict[str, Array] | None:
        """Some of the user's samples, None where there are none: what correlations are told from."""
        if self.recipe.calibration is None:
            return None
        given = self._calibration(self.recipe.calibration)
        if not given.real:
            return None
        spread = np.linspace(0, given.count - 1, min(CORRELATED_SAMPLES, given.count)).round().astype(int)
        return {name: value[spread] for name, value in given.values.items()}

    def made(self, source: SampleSource) -> NetworkSamples:
        """Samples from this source, as many as the recipe says."""
        if source not in self._made:
            self._made[source] = make_samples(
                self.graph,
                self.meanings,
                source,
                count=self.recipe.count,
                seed=self.recipe.seed,
                progress=self.progress,
            )
        return self._made[source]

    def _calibration(self, data: UserSamples) -> NetworkSamples:
        if "calibration" not in self._made:
            self._made["calibration"] = self._given(data)
        return self._made["calibration"]

    def _given(self, data: UserSamples) -> NetworkSamples:
        if isinstance(data, RecordedSamples):
            raise UserError(f"the samples of that build are not at hand ({data.file or 'they had no file'})")
        return given_samples(self.graph, self.meanings, data)


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
    progress: Progress = silent,
) -> NetworkSamples:
    """Samples for a graph as loaded, the same for the same seed. "synthetic" needs torch (UserError)."""
    count = default_count(graph) if count is None else count
    if source == "noise":
        return noise_inputs(graph, meanings, count, seed)
    if source == "procedural":
        progress("making procedural samples")
        return procedural_inputs(graph, meanings, count, seed)
    # Here, not above: torch is an extra.
    from dfqgen.synthesis import SynthesisOptions, generate_samples

    progress("synthesizing samples")
    options = SynthesisOptions.for_graph(graph, count=count, seed=seed)
    result = generate_samples(
        graph,
        meanings,
        options,
        lambda done, total, loss: progress(
            Part("synthesizing samples", done, total, f"{100 * done // total} %")
        ),
    )
    return NetworkSamples(result.samples, f"samples synthesized from {result.source}")
