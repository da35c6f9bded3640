"""From a sound to what a network sees: log-mel spectra and MFCC by a front end that states every number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

Array = npt.NDArray[Any]

MOST_VALUES = 1 << 27
"""In the spectra of one clip: more is a mistake, or an attack."""

Kind = Literal["waveform", "log-mel", "mfcc"]


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """How a clip of `samples` at `rate` Hz becomes features. Lengths are in samples, frequencies in Hz.

    A frame of `window` samples begins every `hop`, none reaches beyond the clip; periodic Hann window, real
    FFT of `fft` points (0: the next power of two), |X| ** `power`, `mels` triangles from `low` to `high`
    (0: half the rate) on the `scale` of HTK or of Slaney, of height 1, and the logarithm of at least `floor`:
    natural ("ln") or 10 log10 ("db"). MFCC are the first `coefficients` of its orthonormal DCT-II.
    """

    kind: Kind
    rate: int
    samples: int
    window: int = 0
    hop: int = 0
    fft: int = 0
    mels: int = 40
    low: float = 20.0
    high: float = 0.0
    power: float = 2.0
    scale: Literal["htk", "slaney"] = "htk"
    log: Literal["ln", "db"] = "ln"
    floor: float = 1e-6
    coefficients: int = 13

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that make no features."""
        if self.rate < 1 or self.samples < 1:
            raise ValueError("rate and samples must be positive")
        if self.kind == "waveform":
            return
        if not (self.hop > 0 and 0 < self.window <= self.samples):
            raise ValueError("hop and window must be positive, and the window no longer than samples")
        if self.points < self.window:
            raise ValueError(f"an FFT of {self.points} points cannot hold a window of {self.window}")
        if self.samples // self.hop * self.points > MOST_VALUES:
            raise ValueError("all frames together have too many points")
        if not 0 <= self.low < self.top <= self.rate / 2:
            raise ValueError(
                f"mel bands from {self.low:g} to {self.top:g} Hz do not fit a rate of {self.rate}"
            )
        if not (1 <= self.coefficients <= self.mels or self.kind != "mfcc") or self.mels < 1:
            raise ValueError("there are at least one mel band, and at most as many coefficients")
        if not (self.floor > 0 and self.power > 0):
            raise ValueError("floor and power must be above zero")

    @property
    def points(self) -> int:
        """Of the FFT."""
        return self.fft or 1 << max(self.window - 1, 1).bit_length()

    @property
    def top(self) -> float:
        """The upper end of the highest band, in Hz."""
        return self.high or self.rate / 2

    def features(self, clip: Array) -> Array:
        """[frames, mels or coefficients] float32 of mono sound in [-1, 1); of a waveform, [samples].

        A clip that is too short is followed by silence, one that is too long is cut.
        """
        sound = np.zeros(self.samples)
        sound[: min(len(clip), self.samples)] = clip[: self.samples]
        if self.kind == "waveform":
            return sound.astype(np.float32)
        window, bands = _window_and_bands(self)
        starts = np.arange(0, self.samples - self.window + 1, self.hop)
        frames = sound[starts[:, None] + np.arange(self.window)] * window
        spectrum = np.abs(np.fft.rfft(frames, self.points, axis=1)) ** self.power
        energy = np.maximum(spectrum @ bands.T, self.floor)
        logs = np.log(energy) if self.log == "ln" else 10.0 * np.log10(energy)
        if self.kind == "mfcc":
            logs = dct(logs, type=2, norm="ortho", axis=1)[:, : self.coefficients]
        return logs.astype(np.float32)

    def bands(self) -> Array:
        """[mels, points / 2 + 1]: triangles of height 1, their feet in the neighbours' middles."""
        to_mel, to_hz = SCALES[self.scale]
        edges = to_hz(np.linspace(to_mel(self.low), to_mel(self.top), self.mels + 2))
        bins = np.arange(self.points // 2 + 1) * self.rate / self.points
        rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
        fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
        return np.maximum(0.0, np.minimum(rise, fall))


@lru_cache(maxsize=1)
def _window_and_bands(front_end: FrontEnd) -> tuple[Array, Array]:
    """What all clips share: the Hann window, and the bands."""
    from scipy.signal import get_window  # takes a second, and only sounds need it

    return np.asarray(get_window("hann", front_end.window)), front_end.bands()


def _htk_mel(hertz: Array | float) -> Array:
    """O'Shaughnessy's formula, as HTK has it."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


def _htk_hertz(mel: Array | float) -> Array:
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0))


KNEE_HZ, KNEE_MEL, SLANEY_STEP = 1000.0, 15.0, np.log(6.4) / 27.0
"""Slaney's Auditory Toolbox: 3 mel for 200 Hz up to the knee, logarithmic above."""


def _slaney_mel(hertz: Array | float) -> Array:
    f = np.asarray(hertz, np.float64)
    above = KNEE_MEL + np.log(np.maximum(f, KNEE_HZ) / KNEE_HZ) / SLANEY_STEP
    return np.where(f < KNEE_HZ, 3.0 * f / 200.0, above)


def _slaney_hertz(mel: Array | float) -> Array:
    m = np.asarray(mel, np.float64)
    return np.where(m < KNEE_MEL, 200.0 * m / 3.0, KNEE_HZ * np.exp((m - KNEE_MEL) * SLANEY_STEP))


SCALES = {"htk": (_htk_mel, _htk_hertz), "slaney": (_slaney_mel, _slaney_hertz)}
