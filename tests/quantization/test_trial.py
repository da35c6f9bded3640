"""Versions of a network compared by what 8 bits do to them, in the prediction and on samples."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization import trial
from dfqgen.quantization.bias_by_trial import CorrectedByTrial
from dfqgen.quantization.lower import lower
from dfqgen.quantization.rounding import Independent
from dfqgen.quantization.trial import LEAST_GAIN_DB, Trial
from dfqgen.quantization.types import assign_types
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from tests.builders import chain, conv, relu
from tests.programs import STANDARD, prepare_by, program_by

UNITS = {"x": InputMeaning(lo=-1.0, hi=1.0)}
HIGH = 200.0


def with_high_biases(pad: int) -> Graph:
    """Nothing in the first layer is ever clipped; the second takes it off again, but at borders of zeros."""
    rng = np.random.default_rng(0)
    first, second = conv(rng, 6, 3), conv(rng, 4, 6, 3 if pad else 1, pad=pad)
    assert isinstance(first, Conv2D)
    assert isinstance(second, Conv2D)
    high = np.full(6, HIGH, np.float32)
    taken = second.bias - second.window_sum(high).astype(np.float32)
    return chain([replace(first, bias=first.bias + high), relu(), replace(second, bias=taken)])


def absorbs(graph: Graph) -> bool:
    return "high-bias absorption" in [note.step for note in prepare_by(graph, UNITS).notes]


def sqnr_db(graph: Graph, **choices: object) -> float:
    recipe = make_recipe(activations="int8", **choices)  # type: ignore[arg-type]
    program = program_by(prepare_by(graph, UNITS, recipe), recipe)
    (port,) = program.outputs
    x = np.random.default_rng(1).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)
    exact = graph.evaluate({"x": x})[port.tensor]
    found = program.run({"x": program.tensors["x"].qtype.quantize(x)})[port.tensor]
    error = program.tensors[port.tensor].qtype.dequantize(found) - exact
    return float(10 * np.log10(np.sum(exact**2) / np.sum(error**2)))


def test_high_biases_are_absorbed_where_that_lowers_the_noise() -> None:
    graph = with_high_biases(pad=0)
    assert absorbs(graph)
    assert sqnr_db(graph) > sqnr_db(graph, absorb_bias=False) + 10.0


def test_biases_stay_where_a_border_of_zeros_would_hear_them_move() -> None:
    graph = with_high_biases(pad=1)
    assert not absorbs(graph)
    assert sqnr_db(graph) > sqnr_db(graph, absorb_bias=True) + 10.0


@pytest.mark.parametrize(
    ("predicted", "simulated", "taken"),
    [(0.5, 0.5, True), (0.5, 1.1, False), (1.1, 0.5, False), (0.99, 0.99, False)],
)
def test_a_version_is_taken_that_prediction_and_trial_find_better(
    monkeypatch: pytest.MonkeyPatch, predicted: float, simulated: float, taken: bool
) -> None:
    noises = iter((1.0, predicted))
    monkeypatch.setattr(trial, "predicted_noise", lambda *_, **__: next(noises))
    of_samples = Mock(side_effect=[1.0, simulated])
    monkeypatch.setattr(Trial, "simulated", of_samples)
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 6, 3), relu(), conv(rng, 4, 6)])
    notes = {note.step: note.effect for note in prepare_by(graph, UNITS).notes}
    assert ("equalization" in notes) == taken
    assert of_samples.called == (predicted == 0.5)
    if taken:
        assert notes["equalization"] == "lowers the noise by 3.0 dB predicted, 3.0 dB simulated"


@pytest.mark.parametrize(
    ("corrected", "plain", "kept"), [(1.0, 0.8, False), (1.0, 0.95, True), (0.8, 1.0, True)]
)
def test_biases_are_corrected_unless_the_network_is_better_without(
    monkeypatch: pytest.MonkeyPatch, corrected: float, plain: float, kept: bool
) -> None:
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 6, 3), relu(), conv(rng, 4, 6)])
    typed = assign_types(prepare_by(graph, UNITS), STANDARD.activations)
    noises = iter((corrected, plain))
    monkeypatch.setattr(Trial, "simulated", lambda *_: next(noises))
    found = CorrectedByTrial(STANDARD.weights, "feedback", graph).round(typed, {})
    float_biases = [node.op.bias for node in typed.graph.nodes if isinstance(node.op, Conv2D)]
    biases = [node.op.bias for node in found.graph.nodes if isinstance(node.op, Conv2D)]
    assert kept != all(map(np.array_equal, biases, float_biases))
    assert kept != ("bias correction" in [note.step for note in found.notes])


def test_real_samples_decide_on_bias_correction_where_there_are_some() -> None:
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 6, 3), relu(), conv(rng, 4, 6)])
    x = rng.uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    typed = assign_types(prepare_by(graph, UNITS, samples={"x": x}), STANDARD.activations)
    rounder = CorrectedByTrial(STANDARD.weights, "feedback", graph, {"x": x})
    versions = [
        Independent(STANDARD.weights, "feedback", c, {"x": x}).round(typed, {}) for c in (True, False)
    ]
    exact = graph.evaluate({"x": x})
    noises = []
    for version in versions:
        program = lower(typed, version)
        (port,) = program.outputs
        codes = program.run({"x": program.tensors["x"].qtype.quantize(x)})[port.tensor]
        error = program.tensors[port.tensor].qtype.dequantize(codes) - exact[port.tensor]
        noises.append(float(np.sum(error**2) / np.sum(exact[port.tensor] ** 2)))
    gain_db = 10 * np.log10(noises[0] / noises[1])
    assert bool(rounder.round(typed, {}).notes) == (gain_db >= LEAST_GAIN_DB)
