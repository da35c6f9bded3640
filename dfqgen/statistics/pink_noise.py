"""Noise whose amplitude spectrum falls as 1/f, as that of most things measured in nature."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Array


def pink_noise(rng: np.random.Generator, height: int, width: int, channels: int) -> Array:
    """Noise [H,W,C] of unit deviation whose amplitude spectrum falls as 1/f."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    amplitude = 1.0 / np.maximum(frequency, 1.0 / max(height, width))
    shape = (channels, height, width // 2 + 1)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * amplitude
    noise = np.fft.irfft2(spectrum, s=(height, width), axes=(1, 2))
    return np.moveaxis(noise / noise.std(axis=(1, 2), keepdims=True), 0, 2)
