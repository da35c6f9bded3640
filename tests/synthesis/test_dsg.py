"""Diverse sample generation does what the paper says it does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dfqgen.graph.ir import Graph, Op
from dfqgen.ops.norm import BatchNorm
from dfqgen.passes.fold_batch_norm import fold_batch_norm
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.from_data import measure
from dfqgen.statistics.procedural import procedural_samples
from dfqgen.synthesis.diversity import diversity, plot_diversity
from dfqgen.synthesis.dsg import SynthesisOptions, generate_samples
from dfqgen.synthesis.samples import load_samples, save_contact_sheet, save_samples
from dfqgen.synthesis.targets import (
    Slack,
    Target,
    batch_norm_targets,
    batch_statistics,
    enhancement_weights,
    feature_graph,
    gaussian_slack,
    sample_statistics,
    slack_loss,
)
from tests.builders import chain, conv, relu

PIXELS = InputMeaning((128.0,), (64.0,))
QUICK = SynthesisOptions(count=8, iterations=20, start="noise", learning_rate=0.1)


def trained_like(seed: int = 3) -> Graph:
    """A small network whose batch normalizations hold the statistics of (procedural) images."""
    rng = np.random.default_rng(seed)
    pictures = chain([relu()], (1, 16, 16, 3))
    images = procedural_samples(pictures, {"x": PIXELS.statistics(3)}, 32, seed)["x"]
    layers: list[Op] = []
    for out_channels, in_channels in ((8, 3), (12, 8), (8, 12)):
        layers.append(conv(rng, out_channels, in_channels))
        seen = measure(chain(list(layers), (1, 16, 16, 3)), {"x": images})[f"t{len(layers) - 1}"]
        ones = np.ones(out_channels)
        layers += [BatchNorm(ones, 0.3 * ones, seen.mean, seen.std**2, 1e-3), relu()]
    return chain(layers, (1, 16, 16, 3))


GRAPH = trained_like()
MEANINGS = {"x": PIXELS}


@pytest.mark.parametrize("start", ["noise", "procedural"])
@pytest.mark.parametrize("diverse", [True, False])
def test_the_loss_falls(start: str, diverse: bool) -> None:
    options = replace(QUICK, start=start)  # type: ignore[arg-type]
    result = generate_samples(GRAPH, MEANINGS, options if diverse else options.plain())
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert result.source == "3 batch normalizations"


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    first, again = (generate_samples(GRAPH, MEANINGS, QUICK).samples["x"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = generate_samples(GRAPH, MEANINGS, replace(QUICK, seed=1)).samples["x"]
    assert not np.array_equal(first, other)


def test_samples_stay_within_the_bounds_of_the_input() -> None:
    samples = generate_samples(GRAPH, MEANINGS, replace(QUICK, learning_rate=1.0)).samples["x"]
    bounds = PIXELS.statistics(3)
    assert samples.dtype == np.float32
    assert samples.shape == (8, 16, 16, 3)
    assert samples.min() >= bounds.lo[0] - 1e-6
    assert samples.max() <= bounds.hi[0] + 1e-6


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    generate_samples(GRAPH, MEANINGS, QUICK, lambda done, total, loss: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_without_batch_normalization_the_targets_are_propagated_and_the_result_says_so() -> None:
    folded = fold_batch_norm(GRAPH, {}).graph
    result = generate_samples(folded, MEANINGS, QUICK)
    assert "propagated" in result.source
    assert result.losses[-1] < result.losses[0]


def test_slack_zeroes_small_deviations_and_only_these() -> None:
    feature = torch.randn(4, 6, 6, 2) * 2 + 1
    rows = feature.reshape(4, 36, 2)
    mean, std = rows.mean(dim=1).numpy(), rows.std(dim=1, correction=0).numpy()
    target = Target("t", np.array([1.0, 1.0]), np.array([2.0, 2.0]))
    worst_mean, worst_std = np.abs(mean - 1).max(), np.abs(std - 2).max()
    statistics = sample_statistics(feature)
    assert slack_loss(*statistics, target, Slack(worst_mean + 1e-5, worst_std + 1e-5)).sum() == 0
    expected = ((mean - 1) ** 2 + (std - 2) ** 2).mean(axis=1) / 4
    np.testing.assert_allclose(slack_loss(*statistics, target, Slack()).numpy(), expected, rtol=1e-4)
    half = slack_loss(*statistics, target, Slack(worst_mean / 2, worst_std / 2))
    assert 0 < half.sum() < expected.sum()


def test_batch_statistics_are_those_of_all_positions_together() -> None:
    feature = torch.randn(5, 4, 3, 2) * torch.rand(5, 1, 1, 2) + torch.randn(5, 1, 1, 2)
    mean, std = batch_statistics(*sample_statistics(feature))
    rows = feature.reshape(-1, 2)
    torch.testing.assert_close(mean[0], rows.mean(dim=0))
    torch.testing.assert_close(std[0], rows.std(dim=0, correction=0))


def test_slack_is_the_quantile_over_channels_of_what_noise_reaches() -> None:
    targets = batch_norm_targets(GRAPH)
    inputs = {"x": PIXELS.statistics(3)}

    def slack(quantile: float) -> dict[str, Slack]:
        generator = torch.Generator().manual_seed(0)
        network = feature_graph(GRAPH, targets)
        return gaussian_slack(
            network, targets, inputs, quantile=quantile, generator=generator, batch=16, count=64
        )

    low, high = slack(0.1), slack(0.9)
    assert all(low[t.tensor].mean < high[t.tensor].mean for t in targets)
    noise = np.clip(np.random.default_rng(0).normal(0, 1, (64, 16, 16, 3)), -2, 2).astype(np.float32)
    seen = measure(GRAPH, {"x": noise})[targets[0].tensor]
    expected = np.quantile(np.abs(seen.mean - targets[0].mean), 0.9)
    assert high[targets[0].tensor].mean == pytest.approx(expected, rel=0.15)


def test_enhancement_doubles_one_layer_of_each_sample() -> None:
    weights = enhancement_weights(2, 4, 3, enhance=True).numpy()
    np.testing.assert_array_equal(weights.argmax(axis=1), [2, 0, 1, 2])
    np.testing.assert_array_equal(np.sort(weights, axis=1), [[1, 1, 2]] * 4)
    assert (enhancement_weights(2, 4, 3, enhance=False) == 1).all()


def test_slack_and_enhancement_spread_the_samples_statistics() -> None:
    plain = generate_samples(GRAPH, MEANINGS, replace(QUICK, iterations=40).plain()).samples
    diverse = generate_samples(GRAPH, MEANINGS, replace(QUICK, iterations=40)).samples
    spread = {name: diversity(GRAPH, s).spread.mean() for name, s in (("p", plain), ("d", diverse))}
    assert spread["d"] > spread["p"]


def test_samples_come_back_from_their_file_and_are_raw_in_it(tmp_path: Path) -> None:
    samples = generate_samples(GRAPH, MEANINGS, QUICK).samples
    save_samples(tmp_path / "s.npz", GRAPH, MEANINGS, samples)
    raw = np.load(tmp_path / "s.npz")["x"]
    assert raw.min() >= -1e-3
    assert raw.max() <= 255.001
    again = load_samples(tmp_path / "s.npz", GRAPH, MEANINGS)
    np.testing.assert_allclose(again["x"], samples["x"], atol=1e-5)


def test_contact_sheet_and_diversity_plot_are_written(tmp_path: Path) -> None:
    samples = generate_samples(GRAPH, MEANINGS, QUICK).samples
    save_contact_sheet(tmp_path / "sheet.png", GRAPH, MEANINGS, samples)
    plot_diversity(tmp_path / "plot.png", {"diverse": diversity(GRAPH, samples)})
    for name in ("sheet.png", "plot.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_missing_torch_is_said_with_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport dfqgen.synthesis"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install dfqgen[synthesis]" in result.stderr
    assert "UserError" in result.stderr


def test_samples_do_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    made = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(generate_samples(GRAPH, MEANINGS, QUICK).samples["x"])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(made[0], made[1])
