"""Statistics measured on samples: the user's own (level 2), or synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.statistics.channel import ChannelStatistics

# Values of a tensor kept from each batch, for percentiles and errors of candidate ranges.
KEPT_VALUES = 4096
CACHED_ELEMENTS = 1 << 15
LARGEST_BATCH_ELEMENTS = 1 << 26
"""Of one tensor, all samples of a batch together: a quarter of a gigabyte in float32."""


class _Accumulator:
    """Per-channel sums over all but the last axis of samples [N, ..., C], exact enough for millions of
    elements; until the end they are those of a whole row of channels, so that numpy adds long lines.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.channels = shape[-1] if len(shape) > 1 else 1
        self.row = prod(shape[-2:]) if len(shape) > 2 else self.channels
        self.random = np.random.default_rng(0)
        self.values: list[Array] = []
        self.count = 0
        self.sum = np.zeros(self.row)
        self.squares = np.zeros(self.row)
        self.lo = np.full(self.row, np.inf)
        self.hi = np.full(self.row, -np.inf)

    def add(self, x: npt.NDArray[Any]) -> None:
        rows = x.reshape(-1, self.row)
        self.count += x.size // self.channels
        self.lo = np.minimum(self.lo, rows.min(axis=0))
        self.hi = np.maximum(self.hi, rows.max(axis=0))
        step = max(1, CACHED_ELEMENTS // self.row)
        for first in range(0, rows.shape[0], step):
            block = rows[first : first + step].astype(np.float64)
            self.sum += block.sum(axis=0)
            self.squares += np.square(block, out=block).sum(axis=0)
        kept = self.random.integers(x.size, size=min(x.size, KEPT_VALUES))
        self.values.append(x.reshape(-1)[kept].astype(np.float64))

    def statistics(self) -> ChannelStatistics:
        total, squares, lo, hi = (
            found.reshape(-1, self.channels) for found in (self.sum, self.squares, self.lo, self.hi)
        )
        mean = total.sum(axis=0) / self.count
        variance = np.maximum(squares.sum(axis=0) / self.count - mean**2, 0.0)
        normal = ChannelStatistics.normal(mean, np.sqrt(variance), lo.min(axis=0), hi.max(axis=0))
        return replace(normal, values=np.sort(np.concatenate(self.values)))


def measure(graph: Graph, inputs: Mapping[str, Array], batch: int = 8) -> dict[str, ChannelStatistics]:
    """Mean, deviation, smallest and largest value of every channel of every tensor on samples.

    `inputs` holds [N, ...] arrays by input tensor, in our axes and in the float network's units.
    """
    accumulators: dict[str, _Accumulator] = {}

    def add(tensor: str, value: Array) -> None:
        if tensor not in accumulators:
            accumulators[tensor] = _Accumulator(value.shape)
        accumulators[tensor].add(value)

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        add(node.output, output)

    samples = len(next(iter(inputs.values())))
    largest = max(prod(shape) for shape in graph.shapes.values())
    batch = max(1, min(batch, LARGEST_BATCH_ELEMENTS // largest))
    for start in range(0, samples, batch):
        chunk = {name: value[start : start + batch] for name, value in inputs.items()}
        for name, value in chunk.items():
            add(name, value)
        with np.errstate(all="ignore"):  # `check_finite` tells the user
            graph.evaluate(chunk, watch)
    with np.errstate(all="ignore"):
        return {name: accumulator.statistics() for name, accumulator in accumulators.items()}
