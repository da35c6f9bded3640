"""The best use of a budget: one width for each layer, least noise or least flash."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import Array, IntType

TABLE_ENTRIES = 1 << 21
"""The knapsack's table is at most this long; sizes are rounded up to its unit where they are finer."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A width for a layer: flash of its weights, and the noise it alone puts on the network's output."""

    dtype: IntType
    size_bytes: int
    noise: float


class Knapsack:
    """The least noise for every size in bytes, exactly, by dynamic programming over the layers."""

    def __init__(self, layers: Mapping[str, Sequence[Choice]]) -> None:
        self.layers = layers
        self.smallest = sum(min(c.size_bytes for c in choices) for choices in layers.values())
        extra = {
            name: [c.size_bytes - min(o.size_bytes for o in choices) for c in choices]
            for name, choices in layers.items()
        }
        most = sum(max(sizes) for sizes in extra.values())
        common = math.gcd(*(size for sizes in extra.values() for size in sizes)) or 1
        self.unit = common * max(1, -(-most // (common * TABLE_ENTRIES)))
        self._units = {name: [-(-size // self.unit) for size in sizes] for name, sizes in extra.items()}
        entries = sum(max(units) for units in self._units.values()) + 1
        noise = np.zeros(entries)
        self._picks: dict[str, Array] = {}
        for name, choices in layers.items():
            best, pick = np.full(entries, np.inf), np.zeros(entries, np.int8)
            for index, (choice, units) in enumerate(zip(choices, self._units[name], strict=True)):
                total = np.full(entries, np.inf)
                total[units:] = noise[: entries - units] + choice.noise
                better = total < best
                best[better], pick[better] = total[better], index
            noise, self._picks[name] = best, pick
        self.noise = noise

    def within(self, size_bytes: int) -> dict[str, IntType]:
        """The widths of least noise whose weights take at most `size_bytes`, at least `self.smallest`."""
        if size_bytes < self.smallest:
            raise ValueError(f"{size_bytes} is less than {self.smallest}")
        return self._trace(min((size_bytes - self.smallest) // self.unit, len(self.noise) - 1))

    def below(self, noise: float) -> dict[str, IntType]:
        """The smallest widths whose noise is at most `noise`. Raises UserError."""
        enough = np.flatnonzero(self.noise <= noise)
        if not enough.size:
            best = -10.0 * math.log10(max(float(self.noise.min()), 1e-30))
            raise UserError(f"even at 8 bits these layers leave {best:.1f} dB only")
        return self._trace(int(enough[0]))

    def _trace(self, entry: int) -> dict[str, IntType]:
        bits: dict[str, IntType] = {}
        for name in reversed(list(self.layers)):
            index = int(self._picks[name][entry])
            bits[name] = self.layers[name][index].dtype
            entry -= self._units[name][index]
        return bits

    def sqnr_db(self, bits: Mapping[str, IntType]) -> float:
        """What is predicted for these widths, errors of different layers taken as independent."""
        noise = sum(
            c.noise for name, choices in self.layers.items() for c in choices if c.dtype is bits[name]
        )
        return -10.0 * math.log10(max(noise, 1e-30))
