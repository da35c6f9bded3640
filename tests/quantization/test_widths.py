"""n of n-sigma: by what the network is for, by what is known of a tensor, and by what the user says."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph
from dfqgen.ops.pool import AveragePool
from dfqgen.quantization.widths import (
    COMMON_SIGMA,
    DETECTOR_SIGMA,
    SCORE_SIGMA,
    UNTRUSTED_DETECTOR_SIGMA,
    is_detector,
    range_widths,
    score_tensors,
    trusted_tensors,
)
from dfqgen.recipe.records import ActivationsRecipe
from tests.builders import chain, conv, relu

DEFAULTS = ActivationsRecipe()
RNG = np.random.default_rng(0)


def network(side: int, pool: int = 4) -> Graph:
    """conv, relu, pool, conv, relu, conv: its answers are for every place of side/pool x side/pool."""
    layers = [conv(RNG, 4, 3), relu(), AveragePool((pool, pool), (pool, pool)), conv(RNG, 4, 4), relu()]
    return chain([*layers, conv(RNG, 2, 4)], (1, side, side, 3))


def test_a_classifier_keeps_resolution_and_its_scores_their_extremes() -> None:
    graph = network(4)
    widths = range_widths(graph, frozenset(), DEFAULTS)
    scores = score_tensors(graph)
    assert not is_detector(graph)
    assert scores == {graph.nodes[-1].output}
    assert {widths[name] for name in scores} == {SCORE_SIGMA}
    assert {widths[name] for name in graph.shapes if name not in scores} == {COMMON_SIGMA}


def test_a_detector_reaches_further_where_no_batch_normalization_tells() -> None:
    graph = network(64)
    known = {graph.nodes[0].output}
    trusted = trusted_tensors(graph, known)
    widths = range_widths(graph, trusted, DEFAULTS)
    assert is_detector(graph)
    # Trust goes through activation and pooling, and ends at the next convolution.
    assert trusted == {node.output for node in graph.nodes[:3]}
    assert [widths[node.output] for node in graph.nodes] == [DETECTOR_SIGMA] * 3 + [
        UNTRUSTED_DETECTOR_SIGMA
    ] * 3


def test_a_mask_for_every_pixel_is_no_detector() -> None:
    assert not is_detector(network(64, pool=2))


def test_without_any_trusted_tensor_a_detector_treats_all_alike() -> None:
    """Measured or propagated throughout: nothing says which deviations are worse than others."""
    widths = range_widths(network(64), frozenset(), DEFAULTS)
    assert set(widths.values()) == {DETECTOR_SIGMA}


def test_stated_widths_hold_everywhere() -> None:
    graph = network(64)
    widths = range_widths(graph, frozenset(), ActivationsRecipe(n_sigma=3.0, n_sigma_scores=5.0))
    scores = score_tensors(graph)
    assert {widths[name] for name in scores} == {5.0}
    assert {widths[name] for name in graph.shapes if name not in scores} == {3.0}
