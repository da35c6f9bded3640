"""Images made by rule look like what they stand for, and give statistics where closed forms fail."""

from __future__ import annotations

import numpy as np

from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.procedural import dead_leaves, is_image, pink_noise, procedural_samples


def test_dead_leaves_fill_their_range_and_are_smooth_with_edges() -> None:
    image = dead_leaves(np.random.default_rng(0), 64, 96, 3)
    assert image.shape == (64, 96, 3)
    assert image.min() >= 0.0
    assert image.max() <= 1.0
    differences = np.abs(np.diff(image, axis=1))
    # Most neighbours are alike, some differ much: far from white noise, far from a blur.
    assert np.median(differences) < 0.2 * image.std()
    assert np.quantile(differences, 0.995) > image.std()


def test_pink_noise_has_an_amplitude_that_falls_with_frequency() -> None:
    noise = pink_noise(np.random.default_rng(0), 128, 128, 1)[:, :, 0]
    spectrum = np.abs(np.fft.rfft2(noise))
    assert spectrum[1:4, 1:4].mean() > 5 * spectrum[30:60, 30:60].mean()


def test_samples_are_deterministic_and_stay_in_bounds() -> None:
    statistics = ChannelStatistics.normal(np.array([-0.5, 0.0, 0.5]), 0.5, -1.0, 1.0)
    for shape in ((1, 32, 32, 3), (1, 1, 640, 3)):
        samples = procedural_samples(statistics, shape, 3)
        assert samples.shape == (3, *shape[1:])
        assert samples.min() >= -1.0
        assert samples.max() <= 1.0
        np.testing.assert_array_equal(samples, procedural_samples(statistics, shape, 3))


def test_only_small_channel_counts_over_an_area_are_images() -> None:
    assert is_image((1, 96, 96, 3))
    assert not is_image((1, 1, 640, 1))
    assert not is_image((1, 32, 32, 64))
