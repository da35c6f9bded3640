"""Random inputs of a stated meaning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dfqgen.graph.ir import Array, Graph
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning


def random_samples(
    graph: Graph, meanings: Mapping[str, InputMeaning], count: int, seed: int = 0, *, smooth: bool = True
) -> Samples:
    """Raw inputs of the stated meaning: white noise, by turns with `smooth` random fields for images.

    Numbers of a table's rows come each as often as any other.
    """
    generator = np.random.default_rng(seed)
    raw = {}
    for port in graph.fed:
        meaning = meanings[port.name]
        if port.indices:
            drawn = generator.integers(int(meaning.lo), int(meaning.hi) + 1, (count, *port.shape[1:]))
            raw[port.tensor] = drawn.astype(np.float32)
            continue
        unit = np.stack(
            [_random_field(port.shape[1:], generator, smooth=smooth and bool(i % 2)) for i in range(count)]
        )
        centre, spread = (meaning.lo + meaning.hi) / 2, (meaning.hi - meaning.lo) / 4
        values = np.clip(centre + spread * unit, meaning.lo, meaning.hi).astype(np.float32)
        raw[port.tensor] = values if port.holds is None else np.rint(values)
    return Samples(raw)


def _random_field(shape: tuple[int, ...], generator: np.random.Generator, *, smooth: bool) -> Array:
    """Standard normal values; smooth over H and W when asked (a 4x4 grid, bilinearly enlarged)."""
    if not smooth or len(shape) != 3 or min(shape[:2]) < 8:
        return generator.standard_normal(shape)
    field = generator.standard_normal((4, 4, shape[2]))
    for axis in (0, 1):
        at = np.linspace(0.0, 3.0, shape[axis])
        low = np.minimum(at.astype(np.int64), 2)
        weight = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        field = field.take(low, axis) * (1 - weight) + field.take(low + 1, axis) * weight
    return field + 0.2 * generator.standard_normal(shape)
