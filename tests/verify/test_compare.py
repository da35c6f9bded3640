"""Distance from the float network."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dfqgen.report.words import sqnr_text
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.compare import ErrorMeter, compare_layers, compare_outputs
from tests.builders import batch_norm, chain, conv, relu6
from tests.programs import prepare_by, program_by


def test_sqnr_is_that_of_a_known_error() -> None:
    meter = ErrorMeter()
    meter.add(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    meter.add(np.array([0.0]), np.array([0.0]))
    assert meter.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert meter.largest == 0.5
    same = ErrorMeter()
    same.add(np.ones(3), np.ones(3))
    assert same.sqnr_db == math.inf


def test_infinite_references_are_counted_and_left_out() -> None:
    meter = ErrorMeter()
    meter.add(np.array([3.0, 4.0, -math.inf]), np.array([3.0, 4.5, -9.0]))
    assert (meter.undefined, meter.largest) == (1, 0.5)
    assert meter.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    nothing = ErrorMeter()
    nothing.add(np.array([math.inf]), np.array([1.0]))
    assert math.isnan(nothing.sqnr_db)


def test_what_is_no_distance_is_said_in_words() -> None:
    assert sqnr_text({"sqnr_db": 12.34, "max_error": 0.1}) == "12.3 dB"
    assert sqnr_text({"sqnr_db": None, "max_error": 0.0}) == "exact"
    assert sqnr_text({"sqnr_db": None, "max_error": 0.1}) == "no signal"
    assert sqnr_text({"sqnr_db": None, "max_error": 0.0, "undefined": 4}) == "undefined"


def test_a_good_program_is_close_in_every_layer_and_in_the_end() -> None:
    rng = np.random.default_rng(1)
    layers = [
        conv(rng, 8, 3),
        batch_norm(rng, 8),
        relu6(),
        conv(rng, 8, 8, groups=8),
        batch_norm(rng, 8),
        relu6(),
    ]
    graph = chain(layers)
    prepared = prepare_by(graph, {"x": InputMeaning(lo=-2.0, hi=2.0)})
    program = program_by(prepared)
    inputs = {"x": rng.uniform(-2, 2, (5, 8, 8, 3)).astype(np.float32)}
    (output,) = compare_outputs(program, graph.evaluate, program.run, inputs, batch=2)
    layers_found = compare_layers(program, prepared.graph, inputs, batch=2)
    assert output.samples == 5
    assert output.sqnr_db > 25
    assert output.top1_agreement is None  # an image is no vector of scores
    assert len(layers_found) == len(program.ops) == 2
    assert all(layer.sqnr_db > 25 for layer in layers_found)
    assert layers_found[-1].max_error == pytest.approx(output.max_error, rel=1e-3)


def test_labels_give_accuracies() -> None:
    rng = np.random.default_rng(2)
    graph = chain([conv(rng, 10, 3, 1, pad=0)], (1, 1, 1, 3))
    program = program_by(prepare_by(graph, {"x": InputMeaning(lo=-1.0, hi=1.0)}))
    inputs = {"x": rng.uniform(-1, 1, (40, 1, 1, 3)).astype(np.float32)}
    labels = graph.evaluate(inputs)["t0"].reshape(40, 10).argmax(axis=1)
    (output,) = compare_outputs(program, graph.evaluate, program.run, inputs, labels)
    assert output.float_accuracy == 1.0
    assert output.accuracy == output.top1_agreement
    assert output.top1_agreement is not None
    assert output.top1_agreement > 0.9
