"""What the layers of a graph see: procedural samples, and the moments of every layer's inputs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property

import numpy as np

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.procedural import procedural_samples
from dfqgen.statistics.second_moments import InputMoments, input_moments

SAMPLE_ELEMENTS = 200_000
"""Procedural samples are drawn up to this many input values, at least FEWEST and at most MOST of them."""
FEWEST, MOST = 8, 64
HELD_OUT_SEED = 1 << 16
"""Beyond the numbers of inputs that seeds of the others are counted by."""
KEPT_ELEMENTS = 1 << 25
"""Covariances kept beyond one layer's."""


class Evidence:
    """Everything is made when it is first asked for, and once. Images are `written` on as `prepare` says."""

    def __init__(
        self, graph: Graph, statistics: Mapping[str, ChannelStatistics], *, written: bool = False
    ) -> None:
        self.graph, self.statistics, self.written = graph, statistics, written
        self._passing: dict[str, InputMoments] = {}
        self._held_out: dict[str, Array] | None = None
        self.noises: dict[Hashable, dict[tuple[str, IntType], float]] = {}
        """What each layer at each width does to the outputs, by how it is rounded; kept by `Sensitivity`."""

    @cached_property
    def samples(self) -> dict[str, Array]:
        """Procedural inputs by tensor; more of small ones."""
        return self._made(self._count)

    def held_out(self, most: int) -> dict[str, Array]:
        """Others, on which nothing is chosen or fitted: at most `most`, more than a fit needs. Of an output
        of one number each gives one error, and of 8 squares the mean is known to half of it.
        """
        count = min(most, MOST)
        if self._held_out is None or len(next(iter(self._held_out.values()))) != count:
            self._held_out = self._made(count, HELD_OUT_SEED)
        return self._held_out

    def _made(self, count: int, seed: int = 0) -> dict[str, Array]:
        return procedural_samples(self.graph, self.statistics, count, seed, written=self.written)

    @property
    def _count(self) -> int:
        largest = max(int(np.prod(port.shape)) for port in self.graph.inputs)
        return min(max(SAMPLE_ELEMENTS // largest, FEWEST), MOST)

    @cached_property
    def moments(self) -> dict[str, InputMoments]:
        """First and second moments of each layer's inputs, by the layer's output tensor."""
        return input_moments(self.graph, self.statistics, self.samples)

    def passing(self, node: Node, clip: Clip) -> InputMoments:
        """Moments of the windows that matter behind the clip; kept for the next time, while there is room."""
        assert isinstance(node.op, Conv2D)
        if node.output not in self._passing:
            if sum(kept.covariance.size for kept in self._passing.values()) > KEPT_ELEMENTS:
                self._passing.clear()
            self._passing[node.output] = self.moments[node.output].passing(node.op, clip.lo, clip.hi)
        return self._passing[node.output]
