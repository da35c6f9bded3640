"""The integer square root of normalizations, held against exact arithmetic."""

from __future__ import annotations

from math import isqrt

import numpy as np

from dfqgen.ops.standardize import inverse_root

FRACTION = 10
"""Bits behind the point of what is exact."""


def test_the_inverse_root_is_exact_to_its_bits_at_both_ends_of_each_octave() -> None:
    edges = {(1 << power) + more for power in range(62) for more in (-1, 0, 1)} - {0}
    values = sorted(edges)
    inverse, half = inverse_root(np.array(values, np.int64))
    assert inverse.min() >= 1 << 15
    assert inverse.max() <= 1 << 16
    for value, found, shift in zip(values, inverse.tolist(), half.tolist(), strict=True):
        exact = isqrt((1 << 2 * (47 - shift + FRACTION)) // value)
        assert abs((found << FRACTION) - exact) <= exact >> 14
