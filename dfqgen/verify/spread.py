"""How the values of a tensor lie in the range of its integer type: a histogram, extremes, what is clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.qtype import Array, QType

BINS = 32


@dataclass(frozen=True, slots=True)
class Spread:
    """Float values of a tensor: `counts` in `BINS` equal parts of the type's range, which holds all but
    the fraction `clipped`; the least and the largest value seen.
    """

    lo: float
    hi: float
    clipped: float
    counts: tuple[int, ...]


class SpreadMeter:
    """The spread of a tensor, batch by batch. Infinite values and NaN are left out."""

    def __init__(self, qtype: QType) -> None:
        self._range = qtype.real_range
        self._counts = np.zeros(BINS, np.int64)
        self._values = 0
        self._lo, self._hi = np.inf, -np.inf

    def add(self, values: Array) -> None:
        finite = values[np.isfinite(values)].astype(np.float64)
        self._counts += np.histogram(finite, BINS, self._range)[0]
        self._values += finite.size
        self._lo = min(self._lo, float(finite.min(initial=np.inf)))
        self._hi = max(self._hi, float(finite.max(initial=-np.inf)))

    @property
    def spread(self) -> Spread | None:
        """None where no value was finite."""
        if not self._values:
            return None
        clipped = 1.0 - float(self._counts.sum()) / self._values
        return Spread(self._lo, self._hi, clipped, tuple(int(count) for count in self._counts))
