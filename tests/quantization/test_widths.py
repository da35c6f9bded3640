"""n of n-sigma: by what the network is for, by what is known of a tensor, and by what the user says."""

from __future__ import annotations

import numpy as np

from dfqgen.graph.ir import Graph
from dfqgen.ops.pool import AveragePool
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.widths import (
    CLASSIFIER_SIGMA,
    DENSE_SIGMA,
    SCORE_SIGMA,
    UNTRUSTED_DENSE_SIGMA,
    is_dense,
    range_widths,
    score_tensors,
    trusted_tensors,
)
from tests.builders import chain, conv, relu

DEFAULTS = QuantizeOptions()
RNG = np.random.default_rng(0)


def network(side: int) -> Graph:
    """conv, relu, pool, conv, relu, conv: its answer is one for every place of side/2 x side/2."""
    layers = [conv(RNG, 4, 3), relu(), AveragePool((2, 2), (2, 2)), conv(RNG, 4, 4), relu()]
    return chain([*layers, conv(RNG, 2, 4)], (1, side, side, 3))


def test_a_classifier_keeps_resolution_and_its_scores_their_extremes() -> None:
    graph = network(4)
    widths = range_widths(graph, frozenset(), DEFAULTS)
    scores = score_tensors(graph)
    assert not is_dense(graph)
    assert scores == {graph.nodes[-1].output}
    assert {widths[name] for name in scores} == {SCORE_SIGMA}
    assert {widths[name] for name in graph.shapes if name not in scores} == {CLASSIFIER_SIGMA}


def test_a_dense_predictor_reaches_further_where_no_batch_normalization_tells() -> None:
    graph = network(32)
    known = {graph.nodes[0].output}
    trusted = trusted_tensors(graph, known)
    widths = range_widths(graph, trusted, DEFAULTS)
    assert is_dense(graph)
    # Trust goes through activation and pooling, and ends at the next convolution.
    assert trusted == {node.output for node in graph.nodes[:3]}
    assert [widths[node.output] for node in graph.nodes] == [DENSE_SIGMA] * 3 + [UNTRUSTED_DENSE_SIGMA] * 3


def test_without_any_trusted_tensor_a_dense_predictor_treats_all_alike() -> None:
    """Measured or propagated throughout: nothing says which deviations are worse than others."""
    widths = range_widths(network(32), frozenset(), DEFAULTS)
    assert set(widths.values()) == {DENSE_SIGMA}


def test_stated_widths_hold_everywhere() -> None:
    graph = network(32)
    widths = range_widths(graph, frozenset(), QuantizeOptions(n_sigma=3.0, n_sigma_scores=5.0))
    scores = score_tensors(graph)
    assert {widths[name] for name in scores} == {5.0}
    assert {widths[name] for name in graph.shapes if name not in scores} == {3.0}
