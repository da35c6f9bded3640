"""Samples count as much as batch normalization's moments say."""

from __future__ import annotations

import numpy as np

from dfqgen.ops.norm import BatchNorm
from dfqgen.statistics.likeness import sample_weights
from tests.builders import chain, conv, relu


def test_samples_louder_than_batch_normalization_states_count_little() -> None:
    rng = np.random.default_rng(0)
    layer = conv(rng, 8, 3)
    x = rng.normal(size=(32, *chain([layer]).inputs[0].shape[1:])).astype(np.float32)
    seen = layer.evaluate(x).reshape(-1, 8)
    norm = BatchNorm(np.ones(8), np.zeros(8), seen.mean(axis=0), seen.var(axis=0), 1e-3)
    loud = np.concatenate([x[:16], 5.0 * x[16:]])
    graph = chain([layer, norm, relu()])
    weights = sample_weights(graph, {"x": loud})
    assert np.isclose(weights.sum(), 1.0)
    assert weights[:16].sum() > 0.97
    assert 1.0 / np.square(weights[:16]).sum() > 12  # and the others about the same


def test_without_batch_normalization_all_samples_count_the_same() -> None:
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 4, 3), relu()])
    x = rng.normal(size=(5, *graph.inputs[0].shape[1:])).astype(np.float32)
    assert np.array_equal(sample_weights(graph, {"x": x}), np.full(5, 0.2))
