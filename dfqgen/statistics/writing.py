"""Lines of marks that look like writing: strokes, bars and rings of one colour in rows of small cells.

For networks that answer to nothing else, such as text detectors: on images without any writing their
outputs rest, and what rounding does to them does not show. No script is meant, and no font is needed.
"""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Array

SMALLEST_SIGN = 8
"""Pixels; the largest is a fifth of the image's height."""
SPACES = 0.15
"""The share of cells that stay empty."""


def write_lines(rng: np.random.Generator, image: Array) -> None:
    """Write a few lines of signs over an image [H,W,C] in [0, 1], in place: sizes and colours by chance."""
    height, width, channels = image.shape
    largest = max(height // 5, SMALLEST_SIGN)
    for _ in range(rng.integers(2, 6)):
        size = min(int(np.exp(rng.uniform(np.log(SMALLEST_SIGN), np.log(largest + 1)))), height)
        pen = max(1, int(size * rng.uniform(0.08, 0.2)))
        top, left = int(rng.integers(0, height - size + 1)), int(rng.integers(0, max(1, width // 3)))
        colour = np.clip(rng.uniform() + 0.1 * rng.normal(size=channels), 0.0, 1.0)
        for _ in range(rng.integers(3, 30)):
            across = max(3, int(size * rng.uniform(0.4, 0.8)))
            if left + across > width:
                break
            if rng.random() >= SPACES:
                cell = image[top : top + size, left : left + across]
                cell[sign(rng, size, across, pen)] = colour
            left += across + max(1, int(0.15 * size))


def sign(rng: np.random.Generator, height: int, width: int, pen: int) -> Array:
    """Which pixels [height, width] of a cell two to four strokes of a pen cover."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    covered = np.zeros((height, width), bool)
    for stroke in rng.choice(("bar", "post", "slope", "ring"), rng.integers(2, 5)):
        if stroke == "bar":
            distance = np.abs(y - rng.uniform(0, height))
        elif stroke == "post":
            distance = np.abs(x - rng.uniform(0, width))
        elif stroke == "slope":
            along = x / width if rng.random() < 0.5 else 1.0 - x / width
            distance = np.abs(y / height - along) * min(height, width)
        else:
            radius = np.hypot(2.0 * y / height - 1.0, 2.0 * x / width - 1.0)
            distance = np.abs(radius - 0.8) * min(height, width) / 2.0
        covered |= distance <= pen / 2.0
    return covered
