"""What the quantizations of one model have in common, kept by whoever measures several of them.

Builds that differ in a budget alone share the prepared graph, the types of its tensors and what fewer bits
cost each layer, which is most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dfqgen.compile import Compiled, compile_model, quantize_again
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.recipe.records import ActivationsRecipe, Recipe

KEPT = 2
"""Beginnings, one for each way to apply scales: what they know of a model may take a hundred megabytes."""


class Types:
    """Types of a graph's tensors, assigned once for builds in a row that want the same."""

    def __init__(self) -> None:
        self._latest: tuple[ActivationsRecipe, Typed] | None = None

    def assign(self, prepared: Prepared, recipe: ActivationsRecipe) -> Typed:
        """See `assign_types`; always of the same graph."""
        if self._latest is None or self._latest[0] != recipe:
            self._latest = None  # so that never two are in memory
            self._latest = recipe, assign_types(prepared, recipe)
        return self._latest[1]


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """A model by content, its first build, and the types of its tensors."""

    model: str
    compiled: Compiled
    types: Types

    def serves(self, model: str, path: Path, recipe: Recipe) -> bool:
        """Whether a recipe starts from this model, by this name, prepared as it is."""
        same = model == self.model and path.stem == self.compiled.network.model.stem
        return same and _common(recipe) == _common(self.compiled.recipe)

    def quantize(self, path: Path, recipe: Recipe) -> Compiled:
        """The model, which now lies at `path`, by another recipe."""
        compiled = replace(self.compiled, network=replace(self.compiled.network, model=path))
        return quantize_again(compiled, compiled.quantized.prepared, recipe, assign=self.types.assign)


def _common(recipe: Recipe) -> tuple[object, ...]:
    return recipe.input, recipe.passes, recipe.statistics, recipe.samples, recipe.weights


class Beginnings:
    """The latest of a process."""

    def __init__(self) -> None:
        self._kept: list[Beginning] = []

    def compile(self, model: str, path: Path, recipe: Recipe) -> Compiled:
        """The model of this content, at `path`, by a recipe. The same as `compile_model`."""
        for kept in self._kept:
            if kept.serves(model, path, recipe):
                return kept.quantize(path, recipe)
        types = Types()
        compiled = compile_model(path, recipe, assign=types.assign)
        self._kept = [*self._kept, Beginning(model, compiled, types)][-KEPT:]
        return compiled


BEGINNINGS = Beginnings()
"""Of this process."""
