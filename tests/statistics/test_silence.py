"""Outputs that rest are found, written images move some, and nothing good is predicted from rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.compile import quantize_prepared
from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.methods import SampleRoom
from dfqgen.ops.affine import Affine
from dfqgen.ops.concat import Concat
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.movement import Reshape
from dfqgen.ops.multiply import Mul
from dfqgen.ops.pool import AveragePool
from dfqgen.samples.doubts import resting_warnings
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.silence import resting_outputs, signal_of
from dfqgen.statistics.writing import write_lines
from tests.builders import chain, conv, relu, relu6
from tests.programs import STANDARD, prepare_by

PIXELS = {"x": InputMeaning(lo=0.0, hi=1.0)}


def with_bias(bias: float, *last: Op, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    scores = conv(rng, 4, 8, spread=1.0)
    return chain([conv(rng, 8, 3), relu(), replace(scores, bias=np.full(4, bias)), *last], (1, 32, 32, 3))


@pytest.mark.parametrize(
    ("bias", "last", "rests"),
    [
        (-60.0, [Elementwise("sigmoid")], True),
        (60.0, [Elementwise("tanh")], True),
        (-60.0, [relu()], True),
        (60.0, [relu6()], True),
        (0.0, [Elementwise("sigmoid")], False),
        (0.0, [relu()], False),
        (-60.0, [], False),
    ],
)
def test_an_output_rests_at_the_end_of_what_saturates(bias: float, last: list[Op], rests: bool) -> None:
    graph = with_bias(bias, *last)
    samples = {"x": np.random.default_rng(1).uniform(0, 1, (4, 32, 32, 3)).astype(np.float32)}
    assert resting_outputs(graph, samples) == (graph.output_tensors if rests else frozenset())
    (warning,) = resting_warnings(graph, graph.output_tensors)
    assert "does not move" in warning


def test_scores_of_several_scales_put_together_rest_too() -> None:
    graph = with_bias(-60.0, Elementwise("sigmoid"))
    last = graph.nodes[-1]
    both = replace(
        graph,
        nodes=(*graph.nodes, Node("both", Concat(3), (last.output, last.output), "both")),
        outputs=(Port("both", "both", (1, 32, 32, 8)),),
    )
    prepared = prepare_by(both, PIXELS)
    assert prepared.resting == {"both"}
    quantized = quantize_prepared(prepared, STANDARD, SampleRoom(prepared.graph, {}, STANDARD.samples))
    assert quantized.predicted_db["both"] < 60.0


@pytest.mark.parametrize("last", [Elementwise("sigmoid"), relu()])
def test_what_is_predicted_of_an_output_at_rest_is_what_it_has_where_it_moves(last: Op) -> None:
    found = []
    for bias in (0.0, -60.0):
        prepared = prepare_by(with_bias(bias, last), PIXELS)
        quantized = quantize_prepared(prepared, STANDARD, SampleRoom(prepared.graph, {}, STANDARD.samples))
        found.append(next(iter(quantized.predicted_db.values())))
        assert bool(prepared.resting) == (bias < 0.0)
        (note,) = (note for note in quantized.notes if note.step == "predicted")
        assert ("no sample moves it" in note.effect) == (bias < 0.0)
    assert found[1] < found[0] + 12.0


def strokes(threshold: float) -> Graph:
    """Scores of windows with many fine edges."""
    laplace = np.array([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    edges = Conv2D(np.stack([laplace, -laplace])[..., None] / 4.0, np.zeros(2))
    score = Conv2D(np.full((1, 1, 1, 2), 200.0), np.array([-200.0 * threshold]))
    return chain(
        [edges, relu(), AveragePool((16, 16), (8, 8)), score, Elementwise("sigmoid")], (1, 96, 96, 1)
    )


def test_images_are_written_on_where_nothing_else_moves_an_output() -> None:
    easy, hard, impossible = (prepare_by(strokes(level), PIXELS) for level in (0.01, 0.12, 2.0))
    assert (easy.written, easy.resting) == (False, frozenset())
    assert (hard.written, hard.resting) == (True, frozenset())
    assert (impossible.written, impossible.resting) == (False, impossible.graph.output_tensors)
    assert "with writing" in hard.notes[-1].effect


def test_writing_is_of_one_colour_a_line_within_the_image() -> None:
    image = np.full((40, 200, 3), 0.5)
    write_lines(np.random.default_rng(0), image)
    changed = (image != 0.5).any(axis=2)
    assert 0.02 < changed.mean() < 0.5
    assert len(np.unique(image[changed], axis=0)) <= 5
    write_lines(np.random.default_rng(0), np.zeros((4, 4, 1)))


def test_constants_of_places_are_no_signal() -> None:
    """As a detector adds its anchors; a bias of each channel, alike at all places, stays part of it."""
    rng = np.random.default_rng(0)
    heads: list[Op] = [conv(rng, 8, 3), relu(), conv(rng, 4, 8)]
    anchors = Conv2D(np.ones((256, 1, 1, 1)), rng.uniform(0.0, 30.0, 256), groups=256)
    decoded = [
        *heads,
        Reshape((1, 1, 1, 256)),
        anchors,
        Reshape((1, 64, 4)),
        Affine(np.full(1, 0.5), np.zeros(1)),
    ]
    for ops, placed in ((decoded, True), (heads, False)):
        graph = chain(ops, (1, 8, 8, 3))
        samples = {"x": rng.uniform(0, 1, (3, 8, 8, 3)).astype(np.float32)}
        (value,) = graph.evaluate(samples).values()
        signal = signal_of(graph, next(iter(graph.output_tensors)), value)
        if placed:
            np.testing.assert_allclose(signal.var(axis=0), value.var(axis=0) * 1.5, rtol=1e-3)
            assert np.square(signal).mean() < 0.1 * np.square(value).mean()
        else:
            np.testing.assert_array_equal(signal, value)


def test_many_ways_back_from_an_output_are_gone_once() -> None:
    """x tanh(x) forty times: 2^40 ways to the input."""
    nodes, tensor = [], "x"
    for step in range(40):
        nodes.append(Node(f"tanh{step}", Elementwise("tanh"), (tensor,), f"t{step}"))
        nodes.append(Node(f"mul{step}", Mul(), (tensor, f"t{step}"), f"y{step}"))
        tensor = f"y{step}"
    graph = Graph("net", (Port("x", "x", (1, 4)),), (Port("y", tensor, (1, 4)),), tuple(nodes))
    value = np.ones((3, 4), np.float32)
    assert signal_of(graph, tensor, value) is value
