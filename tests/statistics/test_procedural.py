"""Images and signals made by rule look like what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.graph.ir import Array, Graph
from dfqgen.ops.movement import Reshape
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.pink_noise import pink_noise
from dfqgen.statistics.procedural import Leaf, dead_leaves, is_image, paint, procedural_samples
from dfqgen.statistics.signals import signal
from tests.builders import chain, relu


def test_dead_leaves_fill_their_range_and_are_smooth_with_edges() -> None:
    image = dead_leaves(np.random.default_rng(0), 64, 96, 3)
    assert image.shape == (64, 96, 3)
    assert image.min() >= 0.0
    assert image.max() <= 1.0
    differences = np.abs(np.diff(image, axis=1))
    # Most neighbours are alike, some differ much: far from white noise, far from a blur.
    assert np.median(differences) < 0.2 * image.std()
    assert np.quantile(differences, 0.995) > image.std()


def test_leaves_painted_from_the_last_look_as_if_each_was_laid_over_those_before() -> None:
    rng = np.random.default_rng(1)
    leaves = [Leaf.thrown(rng, 32, 48, 3, 0.3) for _ in range(12)]
    image = np.zeros((32, 48, 3))
    paint(image, leaves)
    laid = np.zeros_like(image)
    for leaf in leaves:
        for y, x in np.ndindex(32, 48):
            if leaf.hides(dy := np.array([y - leaf.y]), dx := np.array([x - leaf.x]))[0]:
                laid[y, x] = leaf.shading(dy, dx)[0]
    np.testing.assert_array_equal(image, laid)
    assert 0.0 < np.mean(image == 0.0) < 0.5  # some of it is left bare


def test_pink_noise_has_an_amplitude_that_falls_with_frequency() -> None:
    noise = pink_noise(np.random.default_rng(0), 128, 128, 1)[:, :, 0]
    spectrum = np.abs(np.fft.rfft2(noise))
    assert spectrum[1:4, 1:4].mean() > 5 * spectrum[30:60, 30:60].mean()


def inputs(graph: Graph) -> Array:
    """Four procedural samples of the graph's input, of the range -1..1."""
    (port,) = graph.inputs
    statistics = ChannelStatistics.normal(np.zeros(port.shape[-1]), 0.5, -1.0, 1.0)
    return procedural_samples(graph, {port.tensor: statistics}, 4)[port.tensor]


@pytest.mark.parametrize(
    "shape", [(1, 32, 32, 3), (1, 49, 10, 1), (1, 1, 128, 9), (1, 1, 1, 640), (1, 1, 1, 1)]
)
def test_samples_are_deterministic_and_stay_in_bounds(shape: tuple[int, ...]) -> None:
    graph = chain([relu()], shape)
    samples = inputs(graph)
    assert samples.shape == (4, *shape[1:])
    assert np.abs(samples).max() <= 1.0
    np.testing.assert_array_equal(samples, inputs(graph))


def correlation(values: Array, axis: int) -> float:
    """Of neighbours along an axis."""
    values = np.moveaxis(values.astype(np.float64), axis, 0)
    values = values - values.mean(axis=0)
    return float((values[1:] * values[:-1]).mean() / (values**2).mean())


def test_what_is_no_image_changes_slowly_along_its_longest_axis() -> None:
    for shape, axis in (((1, 49, 10, 1), 0), ((1, 10, 49, 1), 1), ((1, 1, 1, 640), 2)):
        for sample in inputs(chain([relu()], shape)):
            assert correlation(sample, axis) > 0.5, (shape, axis)


def test_what_may_be_features_gets_waveforms_by_turns_with_noise() -> None:
    correlations = [correlation(sample, 1) for sample in inputs(chain([relu()], (1, 1, 128, 9)))]
    assert min(correlations[::2]) > 0.5
    assert max(correlations[1::2]) < 0.2


def test_a_vector_that_the_network_reshapes_to_a_map_is_a_signal_of_that_map() -> None:
    samples = inputs(chain([Reshape((1, 49, 10, 1))], (1, 1, 1, 490))).reshape(4, 49, 10)
    assert all(correlation(sample, 0) > 0.5 for sample in samples)


def test_the_first_coefficients_of_a_cepstrum_are_the_largest() -> None:
    rng = np.random.default_rng(0)
    sizes = np.mean([signal(rng, (49, 10, 1), cepstrum=True)[:, :, 0].std(axis=0) for _ in range(8)], axis=0)
    assert sizes[0] > 2 * sizes[1:].max()


def test_only_small_channel_counts_over_an_area_are_images() -> None:
    assert is_image((1, 96, 96, 3))
    assert not is_image((1, 1, 640, 1))
    assert not is_image((1, 32, 32, 64))
    assert is_image((1, 28, 28, 1))
    assert not is_image((1, 40, 101, 1))
