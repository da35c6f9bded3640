"""When an output is called bad, and which layer is blamed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.commands.advice import require_sqnr
from dfqgen.errors import VerificationFailed
from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Op
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.softmax import PROBABILITY, Softmax
from dfqgen.quantization.noise import LEAST_SQNR_DB
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.compare import ErrorMeter, LayerComparison, OutputComparison, compare_outputs, measure_of
from dfqgen.verify.judge import LEAST_AGREEMENT, Loss, largest_loss, says_nothing, shortfall
from tests.builders import chain, conv
from tests.programs import prepare_by, program_by

NAN = float("nan")


def three_convolutions() -> Program:
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 4, 3), conv(rng, 4, 4), conv(rng, 4, 4)], (1, 6, 6, 3))
    return program_by(prepare_by(graph, {"x": InputMeaning(lo=-1.0, hi=1.0)}))


def classifier(*tail: Op) -> Program:
    graph = chain([conv(np.random.default_rng(0), 4, 3), *tail], (1, 1, 1, 3))
    return program_by(prepare_by(graph, {"x": InputMeaning(lo=-1.0, hi=1.0)}))


def test_a_distance_below_the_limit_is_told() -> None:
    assert shortfall(OutputComparison("y", 4, LEAST_SQNR_DB - 0.1, 1.0)) == "14.9 dB"
    assert shortfall(OutputComparison("y", 4, LEAST_SQNR_DB, 1.0)) is None
    assert shortfall(OutputComparison("y", 4, NAN, 1.0)) is None
    assert shortfall(OutputComparison("y", 4, float("-inf"), 1.0)) is None


@pytest.mark.parametrize(("bias", "rests"), [(-7.0, True), (0.0, False)])
def test_scores_that_hardly_move_are_no_loss(bias: float, rests: bool) -> None:
    """A sigmoid near 0.001 is less than a step of 8 bits: integers give 0 dB, which says nothing."""
    layer = replace(conv(np.random.default_rng(0), 4, 3), bias=np.full(4, bias, np.float32))
    graph = chain([layer, Elementwise("sigmoid")], (1, 6, 6, 3))
    program = program_by(prepare_by(graph, {"x": InputMeaning(lo=-1.0, hi=1.0)}))
    x = {"x": np.random.default_rng(1).uniform(-0.1, 0.1, (8, 6, 6, 3)).astype(np.float32)}
    (output,) = compare_outputs(program, graph.evaluate, program.run, x)
    assert output.rests == rests
    assert says_nothing(output) == rests
    assert shortfall(output) is None


def test_integers_that_move_where_the_float_network_rests_are_a_loss() -> None:
    meter = ErrorMeter()
    meter.add(np.full(100, 0.001), np.full(100, 0.02))
    assert not meter.rests(PROBABILITY)
    near = ErrorMeter()
    near.add(np.full(100, 0.001), np.full(100, 0.01))  # the step of scores to 6 where a sigmoid is steepest
    assert near.rests(PROBABILITY)


def test_classes_count_where_samples_have_labels() -> None:
    random = OutputComparison("y", 4, 20.0, 1.0, top1_agreement=0.5)
    labelled = OutputComparison("y", 4, 20.0, 1.0, top1_agreement=0.5, accuracy=0.5, float_accuracy=0.9)
    assert shortfall(random) is None
    assert shortfall(labelled) == "the same class in only 50 % of samples"


def test_indices_are_judged_by_equal_ones() -> None:
    assert shortfall(OutputComparison("y", 4, NAN, 3.0, equal=LEAST_AGREEMENT)) is None
    assert shortfall(OutputComparison("y", 4, NAN, 3.0, equal=0.5)) == "only 50 % of indices equal"


def test_the_layer_with_the_largest_loss_is_named() -> None:
    program = three_convolutions()
    first, second, third = program.ops
    found = [
        LayerComparison(op.output, db, 0.0) for op, db in zip(program.ops, (38.0, 12.0, 9.0), strict=True)
    ]
    assert largest_loss(program, third.output, found) == Loss(second.name, 38.0, 12.0)
    assert largest_loss(program, first.output, found) == Loss(first.name, 40.0, 38.0)
    assert largest_loss(program, third.output, []) is None


def test_positions_of_the_largest_are_compared_as_indices() -> None:
    program = classifier(ArgMax(3))
    (port,) = program.outputs
    assert measure_of(program, port.tensor) == "indices"
    x = {"x": np.random.default_rng(1).uniform(-1, 1, (8, 1, 1, 3)).astype(np.float32)}
    integers = program.run({"x": program.tensors["x"].qtype.quantize(x["x"])})
    real = program.tensors[port.tensor].qtype.dequantize(integers[port.tensor])
    wrong = np.where(np.arange(8).reshape(8, 1, 1, 1) < 2, real + 1, real)
    (output,) = compare_outputs(program, lambda inputs: {port.tensor: wrong}, program.run, x)
    assert output.equal == 0.75
    assert np.isnan(output.sqnr_db)
    assert output.top1_agreement is None


def test_a_vector_alone_or_out_of_a_softmax_is_scores() -> None:
    for program in (classifier(), classifier(Softmax(3))):
        (port,) = program.outputs
        assert measure_of(program, port.tensor) == "classes"


def test_too_far_from_float_is_a_failure_when_a_least_distance_is_asked_for() -> None:
    outputs = [OutputComparison("boxes", 4, 12.0, 1.0), OutputComparison("scores", 4, 30.0, 1.0)]
    require_sqnr(outputs, 12.0)
    with pytest.raises(VerificationFailed, match=r"'boxes' 12\.0 dB") as raised:
        require_sqnr(outputs, 12.1)
    assert "scores" not in str(raised.value)
    require_sqnr([OutputComparison("y", 4, NAN, 1.0, equal=0.1)], 50.0)
