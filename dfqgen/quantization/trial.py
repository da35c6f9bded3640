"""Versions of a network compared: what 8 bits do to its outputs, foretold by reactions and seen on samples.

The prediction knows what no sample shows, but adds up errors to first order; integers simulated on samples
make every error there is, but only on these samples. Neither is precise: half of the predictions are off by
more than two decibels (docs/accuracy.md). What both find better is taken to be so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.steps import with_states
from dfqgen.quantization.lower import lower
from dfqgen.quantization.noise import predicted_noise
from dfqgen.quantization.predicted_noise import simulated_sqnr
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Independent, Rounded
from dfqgen.quantization.tensor_ranges import tensor_ranges
from dfqgen.quantization.types import Typed, assign_types, fused_clips
from dfqgen.recipe.records import ActivationsRecipe, WeightsRecipe
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.likeness import sample_weights
from dfqgen.statistics.procedural import procedural_samples

SMALLEST = 1e-30
INT8 = ActivationsRecipe(activations="int8")
SAMPLED_ELEMENTS = 1 << 24
"""Of all tensors and samples together: a version takes a second or two. On eight samples of vww01 two ways
to correct biases differed by 5 dB that were equal on real ones."""
FEWEST, MOST = 4, 64
SEED = 1 << 17
"""Beyond the numbers of inputs that seeds of other samples are counted by."""
LEAST_GAIN_DB = 0.5
"""Below, by either, versions are taken for equal and nothing is changed. A round number, set when ic01 was
1.3 dB worse with factors that promised 0.04 dB."""


def gain_db(before: float, after: float) -> float:
    """By how much noise got less; nothing where both are infinite, or 0."""
    if before == after:
        return 0.0
    return float(10.0 * (np.log10(max(before, SMALLEST)) - np.log10(max(after, SMALLEST))))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Of versions of `graph`, whose function they should have.

    `samples` [N, ...] by input tensor, states among them, are not those that statistics are from; each counts
    so much, `counts` [N].
    """

    graph: Graph
    samples: Mapping[str, Array]
    counts: Array
    weights: WeightsRecipe

    def simulated(self, typed: Typed, rounded: Rounded) -> float:
        """Of these integers. Raises UserError where no program can be made."""
        decibels = simulated_sqnr(self.graph, lower(typed, rounded), self.samples, self.counts)
        if not decibels:  # all outputs rest: nothing tells versions apart
            return 1.0
        return float(np.mean([10.0 ** (-found / 10.0) for found in decibels.values()]))


@dataclass(frozen=True, eq=False)
class Noise:
    """Of a version with 8-bit activations and weights, these to nearest, biases corrected: noise-to-signal
    at the outputs, mean over them, infinite where no program can be made.

    Either figure is found when it is first asked for: a simulation costs seconds.
    """

    trial: Trial
    version: Prepared

    @cached_property
    def predicted(self) -> float:
        """To first order, by reactions."""
        ranges = tensor_ranges(self.version, INT8)
        clips = fused_clips(self.version.graph)
        return predicted_noise(self.version, clips, ranges, per_tensor=self.trial.weights.per_tensor)

    @cached_property
    def simulated(self) -> float:
        """Of integers on the trial's samples."""
        typed = assign_types(self.version, INT8)
        try:
            return self.trial.simulated(typed, Independent(self.trial.weights).round(typed, {}))
        except UserError:  # numbers out of proportion: another version may have them better
            return float("inf")

    def gain(self, other: Noise) -> tuple[float, float]:
        """By how many dB it is below the other, predicted and simulated."""
        return gain_db(other.predicted, self.predicted), gain_db(other.simulated, self.simulated)

    def below(self, other: Noise) -> bool:
        """Whether it is less by both; nothing is simulated where the prediction says no."""
        if gain_db(other.predicted, self.predicted) < LEAST_GAIN_DB:
            return False
        return gain_db(other.simulated, self.simulated) >= LEAST_GAIN_DB


def made_trial(
    loaded: Graph,
    graph: Graph,
    statistics: Mapping[str, ChannelStatistics],
    weights: WeightsRecipe,
    *,
    written: bool,
) -> Trial:
    """Of versions of `graph`, on samples made by rule from its inputs' statistics; batch normalization of the
    graph as loaded says how much each of them counts. `written`: images are written on.
    """
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    count = min(MOST, max(FEWEST, SAMPLED_ELEMENTS // elements))
    made = procedural_samples(graph, statistics, count, seed=SEED, written=written)
    return Trial(graph, with_states(graph, made), sample_weights(loaded, made), weights)
