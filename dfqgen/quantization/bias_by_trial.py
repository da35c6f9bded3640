"""Bias correction where it helps: the network with and without, simulated on samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.graph.ir import Array, Graph
from dfqgen.passes.contract import Note
from dfqgen.quantization.rounding import Bits, Independent, Rounded
from dfqgen.quantization.trial import LEAST_GAIN_DB, Trial, gain_db, made_trial
from dfqgen.quantization.types import Typed
from dfqgen.recipe.records import RoundingMethod, WeightsRecipe


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedByTrial:
    """Every layer by itself; biases corrected by the statistics' means, unless that does harm.

    `loaded` is the graph with its batch normalization; `samples` are real ones, if there are any: how inputs
    go together is told from them, and both versions are tried on them.
    """

    weights: WeightsRecipe
    method: RoundingMethod
    loaded: Graph
    samples: Mapping[str, Array] | None = None

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        corrected = Independent(self.weights, self.method, samples=self.samples).round(typed, bits)
        plain = Rounded(typed.graph, corrected.weights, bits)
        trial = self._trial(typed)
        gain = gain_db(trial.simulated(typed, corrected), trial.simulated(typed, plain))
        if gain < LEAST_GAIN_DB:
            return corrected
        note = Note("bias correction", f"left out: {gain:.1f} dB less noise without, simulated")
        return replace(plain, notes=(note,))

    def _trial(self, typed: Typed) -> Trial:
        if self.samples is None:
            return made_trial(self.loaded, typed.graph, typed.statistics, self.weights, written=typed.written)
        count = len(next(iter(self.samples.values())))
        return Trial(typed.graph, self.samples, np.full(count, 1.0 / count), self.weights)
