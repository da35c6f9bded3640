"""Samples of a network's inputs, from files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Port
from dfqgen.samples.sources import read_source

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Raw samples by input tensor ([N, ...], our axes), and their labels where known.

    `made` says of samples that are not real where they come from.
    """

    raw: Mapping[str, Array]
    labels: Array | None = None
    made: str | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.raw.values())))

    def take(self, limit: int | None) -> Samples:
        """The first `limit` samples."""
        if limit is None or limit >= self.count:
            return self
        labels = None if self.labels is None else self.labels[:limit]
        return Samples({name: value[:limit] for name, value in self.raw.items()}, labels, self.made)


def load_samples(path: Path, graph: Graph) -> Samples:
    """Read samples and their labels from whatever `sources` reads.

    In an .npz file `x` [N, ...], uint8 or float32, channels last, or in the model's own axes where they
    differ; and `y`, the labels, where there are any: an integer for each sample, or one-hot rows. A network
    with several inputs has one array for each, named like the input. `made` is a text in files of
    `dfqgen synthesize`. Raises UserError.
    """
    arrays = read_source(path, graph.fed[0].shape[1:])
    raw: dict[str, Array] = {}
    for port in graph.fed:
        key = "x" if len(graph.fed) == 1 and "x" in arrays else port.name
        if key not in arrays:
            wanted = "x" if len(graph.fed) == 1 else key
            several = "" if len(graph.fed) == 1 else "Networks of several inputs take an .npz file."
            found = ", ".join(sorted(arrays)) or "nothing"
            raise UserError(f"{path}: has no array {wanted!r}, only {found}", several)
        raw[port.tensor] = _as_samples(path, key, arrays[key], port)
    counts = {len(value) for value in raw.values()}
    if len(counts) != 1:
        raise UserError(f"{path}: the inputs have different numbers of samples")
    labels = _as_labels(path, arrays["y"], counts.pop()) if "y" in arrays else None
    made = arrays.get("made")
    return Samples(raw, labels, str(made) if made is not None and made.dtype.kind == "U" else None)


def _as_labels(path: Path, y: Array, count: int) -> Array:
    """[N] integers of labels, or of one-hot rows."""
    if y.dtype.kind in "iub" and y.shape in ((count,), (count, 1)):
        return y.reshape(count).astype(np.int64)
    if y.dtype.kind in "iubf" and y.ndim == 2 and len(y) == count:
        found = y.argmax(axis=1)
        if np.array_equal(y, np.eye(y.shape[1])[found]):
            return found
    raise UserError(
        f"{path}: y must hold one integer for each sample, or a one-hot row, not {y.dtype} {y.shape}"
    )


def _as_samples(path: Path, name: str, x: Array, port: Port) -> Array:
    integers = x.dtype.kind in "iu" and (port.holds is not None or port.coding is not None)
    if x.dtype != np.uint8 and x.dtype.kind != "f" and not integers:
        raise UserError(f"{path}: {name!r} must be uint8 or float32, not {x.dtype}")
    if x.ndim < 1 or not len(x):
        raise UserError(f"{path}: {name!r} holds no samples")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError(f"{path}: {name!r} contains NaN or infinite values")
    ours = port.shape[1:]
    model = tuple(np.empty(port.shape, np.bool_).transpose(_inverse(port.permutation)).shape[1:])
    if x.dtype.kind in "iu":
        x = port.decoded(x)
    if x.shape[1:] == ours:
        return x
    if x.shape[1:] == model:
        return port.from_model(x)
    if _without_ones(x.shape[1:]) == _without_ones(ours):
        return x.reshape(len(x), *ours)
    if _without_ones(x.shape[1:]) == _without_ones(model):
        return port.from_model(x.reshape(len(x), *model))
    if x.ndim == 2 and x.shape[1] == math.prod(ours):
        return x.reshape(len(x), *ours)
    raise UserError(
        f"{path}: {name!r} holds samples of shape {x.shape[1:]}, input {port.name!r} takes {ours}"
        " (channels last)"
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def _inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if permutation is None else tuple(int(axis) for axis in np.argsort(permutation))
