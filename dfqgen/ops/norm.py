"""Batch normalization on the channel axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import PerChannel
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm(PerChannel):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, all [C], on the last axis."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    folds_into_layer: ClassVar[bool] = True

    @property
    def scale(self) -> Array:
        """Factor on x, float64 [C]."""
        return self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)

    @property
    def shift(self) -> Array:
        """What is added after scaling, float64 [C]."""
        return self.beta.astype(np.float64) - self.mean.astype(np.float64) * self.scale

    @property
    def output_std(self) -> Array:
        """True deviation of the output: |gamma| sqrt(v / (v + epsilon)), 0 for a constant channel."""
        variance = np.maximum(self.variance.astype(np.float64), 0.0)
        return np.abs(self.gamma.astype(np.float64)) * np.sqrt(variance / (variance + self.epsilon))

    def infer_shape(self, *shapes: Shape) -> Shape:
        if shapes[0][-1] != self.gamma.shape[0]:
            raise ValueError(f"{shapes[0][-1]} channels meet {self.gamma.shape[0]} parameters")
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return (inputs[0] * self.scale + self.shift).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """The statistics batch normalization itself records: N(beta, std), within the input's bounds."""
        bounds = inputs[0].scale_shift(self.scale, self.shift)
        return ChannelStatistics.normal(self.beta, self.output_std, bounds.lo, bounds.hi)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        raise ProgramError(f"{site.name}: batch normalization must be folded before lowering")
