"""Layers of one weight in each filter: a straight line for each channel, as batch normalization is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.graph.site import QuantizedWeight

MOST_INPUTS = 256
"""How many of the input's integers are tried: all of int8, evenly spaced ones of int16."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """y = weight x + bias, weight [C,1,1,1] and bias [C], from integers of one type to those of another."""

    weight: Array
    bias: Array
    x: QType
    y: QType

    def quantized(self, smallest: Array, dtype: IntType, idle_scale: float) -> QuantizedWeight:
        """Any integer is exact with a scale to match, so the bias decides, a whole multiple of that scale.

        Of the upper half of the type, each channel gets the integer with which the fewest inputs are
        rounded otherwise than the real line is. `smallest` [C] bounds the scales from below; channels of
        zeros get `idle_scale`.
        """
        integers = np.arange(dtype.maximum, dtype.maximum // 2, -1, dtype=np.float64)
        weight = self.weight.reshape(-1).astype(np.float64)
        scale = np.empty_like(weight)
        for channel, (slope, bound) in enumerate(zip(weight, smallest, strict=True)):
            if slope == 0.0:
                scale[channel] = max(idle_scale, bound)
                continue
            candidates = abs(slope) / integers
            wrong = self._wrong(slope, float(self.bias[channel]), integers, candidates)
            wrong[candidates < bound] = MOST_INPUTS + 1
            scale[channel] = max(candidates[wrong.argmin()], bound)
        values = np.floor(self.weight / scale[:, None, None, None] + 0.5)
        return QuantizedWeight(values.astype(np.int8), scale, dtype)

    def _wrong(self, slope: float, bias: float, integers: Array, scales: Array) -> Array:
        """How many inputs each pair of an integer and a scale rounds otherwise than the line, as lowered."""
        x, y = self.x, self.y
        inputs = np.linspace(x.dtype.minimum, x.dtype.maximum, MOST_INPUTS).round() - x.zero_point
        steps = (scales.astype(np.float32).astype(np.float64) * x.scale)[:, None]
        sums = np.sign(slope) * integers[:, None] * inputs + np.floor(bias / steps + 0.5)
        exact = (slope * inputs * x.scale + bias) / y.scale
        ends = y.dtype.minimum - y.zero_point, y.dtype.maximum - y.zero_point
        found, wanted = (np.clip(np.floor(real + 0.5), *ends) for real in (sums * steps / y.scale, exact))
        return np.count_nonzero(found != wanted, axis=1)
