"""Inputs made by rule: signals, and images with what natural ones share: edges, occlusion, a 1/f spectrum.

A folded network has lost its batch normalization statistics, and analytic propagation takes inputs as
independent, which natural images are not. Running the float network on such images (no data, no
gradients, a second of work) finds deviations close to the true ones; docs/accuracy.md has the figures.
The image model is "dead leaves" (Lee, Mumford and Huang, IJCV 2001; used to learn vision without data
by Baradad et al., NeurIPS 2021): opaque shapes of power-law sizes thrown over each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfqgen.graph.ir import Array, Graph, Port
from dfqgen.ops.movement import Reshape
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.pink_noise import pink_noise
from dfqgen.statistics.signals import has_channels, log_spectrum, signal, waveform
from dfqgen.statistics.writing import write_lines

SHORTEST_SIGNAL = 16
SHORTEST_VECTOR = 128
"""Steps of the longest axis: of several that are longer than 1, and of a vector."""
LARGEST_DRAWN = 1024
"""Pixels a side of a drawn image; the largest network of docs/accuracy.md takes 513."""


def dead_leaves(rng: np.random.Generator, height: int, width: int, channels: int) -> Array:
    """One image [H,W,C] in [0, 1]: textured discs and rectangles hiding each other."""
    size = max(height, width)
    contrast = rng.uniform(0.15, 0.35)
    image = _colour(rng, channels, contrast) + 0.1 * pink_noise(rng, height, width, channels)
    leaves = [Leaf.thrown(rng, height, width, channels, contrast) for _ in range(40 + size // 2)]
    paint(image, leaves)
    image += rng.uniform(0.0, 0.06) * pink_noise(rng, height, width, channels)
    return np.clip(image, 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A disc around (y, x), or what of it lies less than `reach` from a line through its centre at `angle`;
    its colour [C] there, and how that changes downwards and to the right.
    """

    y: float
    x: float
    radius: float
    strip: tuple[float, float] | None
    slope: Array
    colour: Array

    @classmethod
    def thrown(
        cls, rng: np.random.Generator, height: int, width: int, channels: int, contrast: float
    ) -> Leaf:
        """Anywhere on an image of that size."""
        radius = max(height, width) / 2 * rng.uniform(0.03, 1.0) ** 1.5
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        strip = None
        if rng.random() < 0.4:
            strip = rng.uniform(0, np.pi), radius * rng.uniform(0.1, 0.7)
        slope = rng.normal(0, 0.2 * contrast / radius, 2)
        return cls(y, x, radius, strip, slope, _colour(rng, channels, contrast))

    def hides(self, dy: Array, dx: Array) -> Array:
        """Which of the places at this distance from the centre it lies on."""
        inside = dy**2 + dx**2 < self.radius**2
        if self.strip is not None:
            angle, reach = self.strip
            inside &= np.abs(np.cos(angle) * dx + np.sin(angle) * dy) < reach
        return np.asarray(inside)

    def shading(self, dy: Array, dx: Array) -> Array:
        """Its colours [N,C] there."""
        return np.asarray(self.colour + (self.slope[0] * dy + self.slope[1] * dx)[:, None])


def paint(image: Array, leaves: Sequence[Leaf]) -> None:
    """The leaves, each hiding those before it, onto an image [H,W,C]: from the last to the first, and only
    places that none yet hides, of which soon few are left.
    """
    height, width = image.shape[:2]
    rows, columns = (axis.reshape(-1) for axis in np.indices((height, width)))
    for leaf in reversed(leaves):
        dy, dx = rows - leaf.y, columns - leaf.x
        hidden = leaf.hides(dy, dx)
        image[rows[hidden], columns[hidden]] = leaf.shading(dy[hidden], dx[hidden])
        rows, columns = rows[~hidden], columns[~hidden]
        if not rows.size:
            break


def _colour(rng: np.random.Generator, channels: int, contrast: float) -> Array:
    """A mostly grey colour [C]."""
    return 0.45 + contrast * (rng.normal() + 0.35 * rng.normal(size=channels))


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether [1,H,W,C] looks like an image: 1 to 4 channels, at least 16 pixels a side.

    One channel over a long area is a spectrogram rather.
    """
    if len(shape) != 4 or min(shape[1:3]) < 16 or shape[3] > 4:
        return False
    return shape[3] > 1 or max(shape[1:3]) <= 2 * min(shape[1:3])


def is_signal(axes: tuple[int, ...]) -> bool:
    """Whether the axes of a sample are long enough for one to be time; a short vector is a state rather."""
    longer = [size for size in axes if size > 1]
    return max(axes, default=1) >= (SHORTEST_SIGNAL if len(longer) > 1 else SHORTEST_VECTOR)


def procedural_samples(
    graph: Graph,
    statistics: Mapping[str, ChannelStatistics],
    count: int,
    seed: int = 0,
    *,
    written: bool = False,
) -> dict[str, Array]:
    """Inputs [N, ...] by tensor, float32, as the float network sees them, from the inputs' statistics.

    Images are dead leaves over the input's bounds, what is long enough is a signal within them, of a network
    with states one signal over all samples, numbers of rows are drawn. Several channels over time may as well
    be features, of which nobody knows how they go together: signals by turns with noise. Anything else, or
    what has no bounds, is noise of its statistics. Images are `written` on where nothing else moves the
    outputs (`statistics/silence.py`).
    """
    made = {}
    for i, port in enumerate(graph.fed):
        rng = np.random.default_rng(seed + i)
        found = statistics[port.tensor]
        bounded = bool(np.all(np.isfinite(found.lo)) and np.all(np.isfinite(found.hi)))
        samples = np.empty((count, *(port.shape[1:] or (1,))), np.float32)  # one number: a vector of one
        if port.indices:
            samples[:] = rng.integers(int(found.lo.min()), int(found.hi.max()) + 1, samples.shape)
        elif not bounded:
            _fill_with_noise(samples, rng, found)
        elif is_image(port.shape):
            _fill_with_images(samples, rng, found, written=written)
        elif graph.states:
            _fill_with_steps(samples, rng, found)
        elif is_signal(axes := layout(graph, port)):
            _fill_with_signals(samples, rng, found, axes)
        else:
            _fill_with_noise(samples, rng, found)
        made[port.tensor] = samples.reshape(count, *port.shape[1:])
    return made


def layout(graph: Graph, port: Port) -> tuple[int, ...]:
    """The axes of one sample: those the network itself gives to an input that comes as a vector."""
    readers = graph.consumers.get(port.tensor, ())
    if len(readers) == 1 and isinstance(readers[0].op, Reshape):
        return graph.shapes[readers[0].output][1:]
    return port.shape[1:]


def _fill_with_images(
    samples: Array, rng: np.random.Generator, statistics: ChannelStatistics, *, written: bool
) -> None:
    height, width, channels = samples.shape[1:]
    # Larger images are enlarged: the work grows with the third power of the side.
    drawn = (min(height, LARGEST_DRAWN), min(width, LARGEST_DRAWN))
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), drawn, strict=True))
    for sample in samples:
        image = dead_leaves(rng, *drawn, channels)
        if written:
            write_lines(rng, image)
        image = image[rows][:, columns]
        sample[:] = statistics.lo + image * (statistics.hi - statistics.lo)


def _fill_with_noise(samples: Array, rng: np.random.Generator, statistics: ChannelStatistics) -> None:
    """Normals; within bounds, by turns with values from anywhere between."""
    bounded = bool(np.all(np.isfinite(statistics.lo)) and np.all(np.isfinite(statistics.hi)))
    for i in range(len(samples)):
        if bounded and i % 2:
            samples[i, ...] = rng.uniform(statistics.lo, statistics.hi, samples.shape[1:])
            continue
        noise = rng.normal(statistics.mean, np.broadcast_to(statistics.std, samples.shape[1:]))
        samples[i, ...] = np.clip(noise, statistics.lo, statistics.hi)


def _fill_with_signals(
    samples: Array, rng: np.random.Generator, statistics: ChannelStatistics, axes: tuple[int, ...]
) -> None:
    centre, reach = (statistics.lo + statistics.hi) / 2, (statistics.hi - statistics.lo) / 2
    # Nothing tells a spectrum from its cepstrum, nor waveforms from features: each gets every other sample.
    for i in range(len(samples)):
        values = signal(rng, axes, cepstrum=i % 2 == 0)
        samples[i, ...] = centre + reach * values.reshape(samples.shape[1:])
    if has_channels(axes):
        _fill_with_noise(samples[1::2], rng, statistics)


def _fill_with_steps(samples: Array, rng: np.random.Generator, statistics: ChannelStatistics) -> None:
    """Sample after sample, a step each of one signal.

    Nothing tells a spectrum from a stretch of a waveform, so one comes after the other.
    """
    centre, reach = (statistics.lo + statistics.hi) / 2, (statistics.hi - statistics.lo) / 2
    features = int(np.prod(samples.shape[1:]))
    for part, made in zip(np.array_split(samples, 2), (log_spectrum, _frames), strict=True):
        if len(part):
            part[:] = centre + reach * made(rng, len(part), features).reshape(part.shape)


def _frames(rng: np.random.Generator, steps: int, samples: int) -> Array:
    """A waveform in stretches [steps, samples], in [-1, 1]."""
    values = waveform(rng, steps * samples)
    return np.asarray(values / np.abs(values).max()).reshape(steps, samples)
