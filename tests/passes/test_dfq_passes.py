"""The data-free passes keep the function they claim to keep, and improve what they claim to improve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.ops.pool import AveragePool
from dfqgen.passes.absorb_high_bias import absorb_high_bias
from dfqgen.passes.chains import find_chains
from dfqgen.passes.correct_bias import correct_bias
from dfqgen.passes.doubt_batch_norm import doubt_batch_norm
from dfqgen.passes.equalize import equalize
from dfqgen.passes.fold_batch_norm import batch_norm_to_conv, fold_batch_norm
from dfqgen.passes.fold_dead_channels import fold_dead_channels
from dfqgen.passes.remove_dead_channels import remove_dead_channels
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.from_data import measure
from tests.builders import batch_norm, chain, conv, conv_of, relu, relu6, run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def images(rng: np.random.Generator, graph: Graph, count: int = 4) -> np.ndarray:
    return rng.normal(0, 1, (count, *graph.inputs[0].shape[1:]))


def test_folding_batch_norm_keeps_the_function_and_its_statistics(rng: np.random.Generator) -> None:
    norm = batch_norm(rng, 5)
    graph = chain([conv(rng, 5, 3), norm, relu()])
    folded = fold_batch_norm(graph, {})
    after, statistics = folded.graph, folded.known
    x = images(rng, graph)
    np.testing.assert_allclose(run(after, x), run(graph, x), atol=1e-9)
    assert len(after.nodes) == 2
    np.testing.assert_allclose(statistics["t1"].mean, norm.beta)
    np.testing.assert_allclose(
        statistics["t1"].std, np.abs(norm.gamma) * np.sqrt(norm.variance / (norm.variance + norm.epsilon))
    )


def test_a_batch_norm_whose_input_is_seen_elsewhere_is_not_folded(rng: np.random.Generator) -> None:
    graph = chain([conv(rng, 3, 3), batch_norm(rng, 3)])
    both = Graph(
        "net",
        graph.inputs,
        graph.outputs,
        (*graph.nodes, Node("sum", Add(), ("t0", "t1"), "t2")),
    )
    both = replace(both, outputs=(Port("y", "t2", both.shapes["t2"]),))
    folded = fold_batch_norm(both, {})
    assert len(folded.graph.nodes) == 3
    assert not folded.known
    alone = batch_norm_to_conv(folded.graph, {}).graph
    x = images(rng, graph)
    np.testing.assert_allclose(run(alone, x), run(both, x), atol=1e-9)


@pytest.mark.parametrize("activation", [relu(), relu6(), Clip.of(-1.0, 2.0)])
def test_equalize_keeps_the_function_through_activation_and_depthwise(
    rng: np.random.Generator, activation: Clip
) -> None:
    graph = chain(
        [
            conv(rng, 8, 3, spread=2.0),
            activation,
            conv(rng, 8, 8, groups=8, spread=2.0),
            activation,
            AveragePool((2, 2), (2, 2)),
            conv(rng, 6, 8, 1, pad=0),
        ]
    )
    equal = equalize(graph, {}).graph
    x = images(rng, graph)
    np.testing.assert_allclose(run(equal, x), run(graph, x), atol=1e-8)
    for first, second in ((0, 2), (2, 5)):
        r1 = np.abs(conv_of(equal, first).weight).max(axis=(1, 2, 3))
        w2 = np.abs(conv_of(equal, second).weight).max(axis=(1, 2))
        r2 = w2[:, 0] if second == 2 else w2.max(axis=0)
        np.testing.assert_allclose(r1, r2, rtol=1e-2)


def test_equalize_scales_known_statistics_with_the_channels(rng: np.random.Generator) -> None:
    graph = chain([conv(rng, 8, 3, spread=2.0), relu(), conv(rng, 6, 8)])
    known = {"t0": ChannelStatistics.normal(np.arange(8.0), np.ones(8))}
    passed = equalize(graph, known)
    equal, after = passed.graph, passed.known
    factor = conv_of(equal, 0).bias / conv_of(graph, 0).bias
    np.testing.assert_allclose(after["t0"].mean, np.arange(8.0) * factor)
    np.testing.assert_allclose(after["t0"].std, factor)


def test_chains_do_not_cross_a_tensor_with_two_readers(rng: np.random.Generator) -> None:
    graph = chain([conv(rng, 3, 3), relu(), conv(rng, 3, 3)])
    residual = Graph(
        "net", graph.inputs, graph.outputs, (*graph.nodes, Node("sum", Add(), ("t1", "t2"), "t3"))
    )
    residual = replace(residual, outputs=(Port("y", "t3", residual.shapes["t3"]),))
    assert [c.first for c in find_chains(graph)] == ["t0"]
    assert list(find_chains(residual)) == []


def test_absorbing_a_high_bias_keeps_the_function_where_the_relu_never_clips(
    rng: np.random.Generator,
) -> None:
    first = conv(rng, 4, 3, 1, pad=0)
    first = replace(first, bias=np.array([30.0, 40.0, 50.0, 60.0]))
    graph = chain([first, relu(), conv(rng, 5, 4, pad=0)])
    known = {
        "t0": ChannelStatistics.normal(first.bias, np.ones(4)),
        "x": ChannelStatistics.normal(np.zeros(3), 1.0),
    }
    passed = absorb_high_bias(graph, known)
    absorbed, after = passed.graph, passed.known
    x = images(rng, graph)
    np.testing.assert_allclose(run(absorbed, x), run(graph, x), atol=1e-9)
    np.testing.assert_allclose(after["t0"].mean, 3.0)
    np.testing.assert_allclose(conv_of(absorbed, 0).bias, 3.0)


def test_dead_channels_go_into_the_next_bias(rng: np.random.Generator) -> None:
    first = conv(rng, 4, 3, 1, pad=0)
    weight = first.weight.copy()
    weight[1] = 1e-12
    first = replace(first, weight=weight, bias=np.array([0.1, 2.0, -0.2, 0.3]))
    second = conv(rng, 4, 4, 3, groups=4, pad=0)
    second = replace(second, weight=second.weight * np.array([1, 200, 1, 1]).reshape(4, 1, 1, 1))
    graph = chain([first, relu6(), second])
    known = {
        "x": ChannelStatistics.normal(np.zeros(3), 1.0),
        "t0": ChannelStatistics.normal(first.bias, np.array([1.0, 0.0, 1.0, 1.0])),
    }
    passed = fold_dead_channels(graph, known)
    folded = passed.graph
    x = images(rng, graph)
    assert passed.effect == "1 constant channels moved into biases"
    np.testing.assert_allclose(run(folded, x), run(graph, x), atol=1e-6)
    assert not conv_of(folded, 0).weight[1].any()
    assert not conv_of(folded, 2).weight[1].any()


def test_a_variance_of_zero_is_not_believed_over_a_layer_that_passes_something_on(
    rng: np.random.Generator,
) -> None:
    first = conv(rng, 4, 3, 1, pad=0)
    weight = first.weight.copy()
    weight[2] = 1e-9
    graph = chain([replace(first, weight=weight), relu(), conv(rng, 4, 4, 1, pad=0)])
    stated = ChannelStatistics.normal(np.zeros(4), np.array([0.0, 1.0, 0.0, 1.0]))
    passed = doubt_batch_norm(graph, {"x": ChannelStatistics.normal(np.zeros(3), 1.0), "t0": stated})
    assert passed.effect == "1 channels without variance are not constant"
    assert passed.known["t0"].std[0] == pytest.approx(np.linalg.norm(weight[0]))
    assert not passed.known["t0"].std[2]
    assert fold_dead_channels(passed.graph, passed.known).effect.startswith("1 ")


def test_dead_channels_are_taken_out_through_depthwise_layers(rng: np.random.Generator) -> None:
    first = conv(rng, 12, 3, 1, pad=0)
    dead = np.array([1, 4, 5, 7, 11])
    weight, bias = first.weight.copy(), first.bias.copy()
    weight[dead], bias[dead] = 1e-12, 0.7
    first = replace(first, weight=weight, bias=bias)
    layers = [first, relu6(), conv(rng, 12, 12, groups=12, pad=0), relu(), conv(rng, 5, 12, 1, pad=0)]
    graph = chain(layers)
    folded = fold_dead_channels(graph, {"x": ChannelStatistics.normal(np.zeros(3), 1.0)}).graph
    passed = remove_dead_channels(folded, {}, block=4)
    smaller = passed.graph
    x = images(rng, graph)
    np.testing.assert_allclose(run(smaller, x), run(graph, x), atol=1e-6)
    assert [smaller.shapes[t][-1] for t in ("t0", "t1", "t2", "t3", "t4")] == [8, 8, 8, 8, 5]
    assert passed.effect == "8 taken out"


def test_bias_correction_restores_the_output_means(rng: np.random.Generator) -> None:
    graph = chain([conv(rng, 16, 3, pad=0), relu(), conv(rng, 8, 16, pad=0)])
    x = images(rng, graph, 64) + 0.5

    def coarse(op: Conv2D) -> np.ndarray:
        return np.floor(op.weight / 0.05 + 0.3) * 0.05  # a biased rounding on purpose

    def with_coarse_weights(g: Graph) -> Graph:
        return g.replace_ops(
            {n.output: replace(n.op, weight=coarse(n.op)) for n in g.nodes if isinstance(n.op, Conv2D)}
        )

    means = {t: s.moments()[0] for t, s in measure(graph, {"x": x}).items()}
    corrected = correct_bias(
        graph, means, {n.output: coarse(n.op) for n in graph.nodes if isinstance(n.op, Conv2D)}
    )
    target = run(graph, x).mean(axis=(0, 1, 2))
    # The corrected graph carries float weights; only with the coarse ones has it the right means.
    plain = run(with_coarse_weights(graph), x).mean(axis=(0, 1, 2))
    restored = run(with_coarse_weights(corrected), x).mean(axis=(0, 1, 2))
    assert np.abs(restored - target).max() < 0.35 * np.abs(plain - target).max()


def test_bias_correction_is_exact_for_one_layer(rng: np.random.Generator) -> None:
    graph = chain([conv(rng, 16, 3, pad=0)])
    layer = graph.nodes[0].op
    assert isinstance(layer, Conv2D)
    coarse = np.floor(layer.weight / 0.1 + 0.3) * 0.1
    corrected = correct_bias(graph, {"x": np.full(3, 0.5)}, {"t0": coarse}).nodes[0].op
    assert isinstance(corrected, Conv2D)
    uniform = np.full((1, 8, 8, 3), 0.5)
    rounded = replace(corrected, weight=coarse)
    np.testing.assert_allclose(rounded.evaluate(uniform), layer.evaluate(uniform), atol=1e-12)
