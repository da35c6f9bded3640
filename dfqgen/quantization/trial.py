"""Versions of a network compared: what 8 bits do to its outputs, foretold by reactions and seen on samples.

The prediction knows what no sample shows, but adds up errors to first order; integers simulated on samples
make every error there is, but only on these samples. Neither is precise: half of the predictions are off by
more than two decibels (docs/accuracy.md). What both find better is taken to be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.quantization.lower import lower
from dfqgen.quantization.noise import predicted_noise
from dfqgen.quantization.predicted_noise import simulated_sqnr
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Independent
from dfqgen.quantization.tensor_ranges import tensor_ranges
from dfqgen.quantization.types import assign_types, fused_clips
from dfqgen.recipe.records import ActivationsRecipe, WeightsRecipe

SMALLEST = 1e-30
INT8 = ActivationsRecipe(activations="int8")
LEAST_GAIN_DB = 0.5
"""Below, by either, versions are taken for equal and nothing is changed. A round number, set when ic01 was
1.3 dB worse with factors that promised 0.04 dB."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise-to-signal at the outputs, mean over them; infinite where no program can be made."""

    predicted: float
    simulated: float

    def gain(self, other: Noise) -> tuple[float, float]:
        """By how many dB it is below the other, predicted and simulated."""
        return _gain_db(other.predicted, self.predicted), _gain_db(other.simulated, self.simulated)

    def below(self, other: Noise) -> bool:
        """Whether it is less by both."""
        return min(self.gain(other)) >= LEAST_GAIN_DB


def _gain_db(before: float, after: float) -> float:
    """Never NaN: nothing is gained where both are infinite, or 0."""
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

    def noise(self, version: Prepared) -> Noise:
        """Of 8-bit activations and weights, these to nearest, biases corrected."""
        ranges = tensor_ranges(version, INT8)
        clips = fused_clips(version.graph)
        predicted = predicted_noise(version, clips, ranges, per_tensor=self.weights.per_tensor)
        return Noise(predicted, self._simulated(version))

    def _simulated(self, version: Prepared) -> float:
        typed = assign_types(version, INT8)
        try:
            program = lower(typed, Independent(self.weights).round(typed, {}))
        except UserError:  # numbers out of proportion: another version may have them better
            return float("inf")
        decibels = simulated_sqnr(self.graph, program, self.samples, self.counts)
        if not decibels:  # all outputs rest: nothing tells versions apart
            return 1.0
        return float(np.mean([10.0 ** (-found / 10.0) for found in decibels.values()]))
