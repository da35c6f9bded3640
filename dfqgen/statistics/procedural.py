"""Images made by rule, with the statistics natural images share: edges, occlusion, a 1/f spectrum.

A folded network has lost its batch normalization statistics, and analytic propagation takes inputs as
independent, which natural images are not. Running the float network on such images (no data, no
gradients, a second of work) finds deviations close to the true ones; docs/accuracy.md has the figures.
The image model is "dead leaves" (Lee, Mumford and Huang, IJCV 2001; used to learn vision without data
by Baradad et al., NeurIPS 2021): opaque shapes of power-law sizes thrown over each other.
"""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Array
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_DRAWN = 1024
"""Pixels a side of a drawn image; the largest network of docs/accuracy.md takes 513."""


def pink_noise(rng: np.random.Generator, height: int, width: int, channels: int) -> Array:
    """Noise [H,W,C] of unit deviation whose amplitude spectrum falls as 1/f."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    amplitude = 1.0 / np.maximum(frequency, 1.0 / max(height, width))
    shape = (channels, height, width // 2 + 1)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * amplitude
    noise = np.fft.irfft2(spectrum, s=(height, width), axes=(1, 2))
    return np.moveaxis(noise / noise.std(axis=(1, 2), keepdims=True), 0, 2)


def dead_leaves(rng: np.random.Generator, height: int, width: int, channels: int) -> Array:
    """One image [H,W,C] in [0, 1]: textured discs and rectangles hiding each other."""
    size = max(height, width)
    contrast = rng.uniform(0.15, 0.35)
    image = _colour(rng, channels, contrast) + 0.1 * pink_noise(rng, height, width, channels)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    for _ in range(40 + size // 2):
        radius = size / 2 * rng.uniform(0.03, 1.0) ** 1.5
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 1)
        left, right = max(0, int(x - radius)), min(width, int(x + radius) + 1)
        dy, dx = rows[top:bottom] - y, columns[:, left:right] - x
        inside = dy**2 + dx**2 < radius**2
        if rng.random() < 0.4:
            angle = rng.uniform(0, np.pi)
            across = np.abs(np.cos(angle) * dx + np.sin(angle) * dy)
            inside &= across < radius * rng.uniform(0.1, 0.7)
        slope = rng.normal(0, 0.2 * contrast / radius, 2)
        shading = _colour(rng, channels, contrast) + (slope[0] * dy + slope[1] * dx)[:, :, None]
        patch = image[top:bottom, left:right]
        image[top:bottom, left:right] = np.where(inside[:, :, None], shading, patch)
    image += rng.uniform(0.0, 0.06) * pink_noise(rng, height, width, channels)
    return np.clip(image, 0.0, 1.0)


def _colour(rng: np.random.Generator, channels: int, contrast: float) -> Array:
    """A mostly grey colour [C]."""
    return 0.45 + contrast * (rng.normal() + 0.35 * rng.normal(size=channels))


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether [1,H,W,C] looks like an image: 1 to 4 channels and at least 16 pixels a side."""
    return len(shape) == 4 and min(shape[1:3]) >= 16 and shape[3] <= 4


def procedural_samples(
    statistics: ChannelStatistics, shape: tuple[int, ...], count: int, seed: int = 0
) -> Array:
    """Inputs [count, *shape[1:]], float32, in the float network's units.

    Images are dead leaves over the input's bounds; anything else is drawn from its normal, clipped.
    """
    rng = np.random.default_rng(seed)
    bounded = bool(np.all(np.isfinite(statistics.lo)) and np.all(np.isfinite(statistics.hi)))
    if is_image(shape) and bounded:
        height, width, channels = shape[1:]
        # Larger images are enlarged: the work grows with the third power of the side.
        drawn = (min(height, LARGEST_DRAWN), min(width, LARGEST_DRAWN))
        rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), drawn, strict=True))
        samples = np.empty((count, *shape[1:]), np.float32)
        for sample in samples:
            image = dead_leaves(rng, *drawn, channels)[rows][:, columns]
            sample[:] = statistics.lo + image * (statistics.hi - statistics.lo)
        return samples
    samples = np.empty((count, *shape[1:]), np.float32)
    for sample in samples:
        noise = rng.normal(statistics.mean, np.broadcast_to(statistics.std, shape[1:]))
        sample[:] = np.clip(noise, statistics.lo, statistics.hi)
    return samples
