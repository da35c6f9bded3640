"""Signals made by rule, with what features of sound and sensors share: slow changes, bursts, unequal sizes.

Amplitudes fall as 1/f along time, silence comes between bursts, and neighbouring bands of a spectrum go
together. A cepstrum (MFCC) is the cosine transform of a log spectrum (Davis and Mermelstein, 1980), made
here as just that: its first coefficients are large and slow. The shares of silence, tilt and texture were
set beforehand by what such features look like, and left as they were; docs/accuracy.md says on which
networks the kinds of samples were chosen.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from dfqgen.graph.ir import Array
from dfqgen.statistics.pink_noise import pink_noise

MOST_DRAWN = 1024
"""Waveforms for one sample; a file with 65,536 series should not take minutes."""


def is_map(shape: tuple[int, ...]) -> bool:
    """Whether [H,W,C] is one channel over two axes: time and features that are one spectrum or cepstrum."""
    return len(shape) == 3 and shape[2] == 1 and min(shape[:2]) > 1


def has_channels(shape: tuple[int, ...]) -> bool:
    """Whether there is more than one series, and no spectrum."""
    return sum(size > 1 for size in shape) > 1 and not is_map(shape)


def signal(rng: np.random.Generator, shape: tuple[int, ...], *, cepstrum: bool) -> Array:
    """One signal of this shape ([H,W,C] or a vector) in [-1, 1].

    A map of one channel is a log spectrum or its `cepstrum`; its longer axis is time. Of several channels
    each is a waveform, the longer axis of H and W being time. A vector is a waveform.
    """
    if is_map(shape):
        rows, columns = shape[:2]
        steps, features = max(rows, columns), min(rows, columns)
        values = log_spectrum(rng, steps, features)
        if cepstrum:
            values = dct(values, axis=1, norm="ortho")
        values = (values if rows >= columns else values.T)[:, :, None]
    else:
        steps = max(shape[:2]) if len(shape) == 3 and max(shape[:2]) > 1 else max(shape)
        time = shape.index(steps)
        others = tuple(size for axis, size in enumerate(shape) if axis != time)
        values = _series(rng, steps, int(np.prod(others)))
        values = np.moveaxis(values.reshape(steps, *others), 0, time)
    # Recordings are rarely as loud as their range allows.
    return np.asarray(values * (rng.uniform(0.3, 1.0) / np.abs(values).max()))


def _series(rng: np.random.Generator, steps: int, count: int) -> Array:
    """Waveforms [T, `count`]; of very many, some are others that begin elsewhere."""
    drawn = np.stack([waveform(rng, steps) for _ in range(min(count, MOST_DRAWN))], axis=1)
    if count <= MOST_DRAWN:
        return drawn
    begin = rng.integers(0, steps, count)
    return np.asarray(drawn[(np.arange(steps)[:, None] + begin) % steps, np.arange(count) % MOST_DRAWN])


def loudness(rng: np.random.Generator, steps: int) -> Array:
    """Envelope [T] in [0, 1]: silence for about half of the time, bursts between."""
    level = pink_noise(rng, steps, 1, 1)[:, 0, 0] if steps > 1 else rng.uniform(0.0, 1.0, 1)
    level = np.maximum(level - np.median(level) if steps > 1 else level, 0.0)
    return np.asarray(level / max(float(level.max()), 1e-9))


def waveform(rng: np.random.Generator, steps: int) -> Array:
    """Values [T] around zero: 1/f noise in bursts over a quiet ground."""
    if steps == 1:
        return rng.uniform(-1.0, 1.0, 1)
    return np.asarray(pink_noise(rng, steps, 1, 1)[:, 0, 0] * (0.1 + 0.9 * loudness(rng, steps)))


def log_spectrum(rng: np.random.Generator, steps: int, features: int) -> Array:
    """Values [T, F] in [-1, 1], -1 the silence: bursts of broad bands, stronger at one end."""
    texture = pink_noise(rng, steps, features, 1)[:, :, 0]
    tilt = np.linspace(0.0, rng.uniform(-1.0, 1.0), features)
    burst = loudness(rng, steps)[:, None]
    values = burst * (2.0 + tilt) + 0.5 * texture * (0.2 + burst)
    lowest, highest = values.min(), values.max()
    return np.asarray(2.0 * (values - lowest) / max(float(highest - lowest), 1e-9) - 1.0)
