"""Samples as a search sends them to its workers: one .npz file, whatever they were."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from dfqgen.compile import read_network
from dfqgen.files import read_regular
from dfqgen.recipe.records import Recipe
from dfqgen.samples.files import load_samples

PACKED = ".npz"


def pack(data: Path, model: Path, recipe: Recipe) -> bytes:
    """The samples as this model takes them: images in its size, sounds as its features. Raises UserError."""
    if data.suffix == PACKED:
        return read_regular(data)
    graph = read_network(model, recipe.input, recipe.code).graph
    samples = load_samples(data, graph)
    arrays = {port.name: samples.raw[port.tensor] for port in graph.fed}
    if len(arrays) == 1:
        arrays = {"x": next(iter(arrays.values()))}
    if samples.labels is not None:
        arrays["y"] = samples.labels
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
