"""What lies far outside saturates where no reader can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.graph.ir import Graph, Op
from dfqgen.ops.affine import Affine
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.movement import Pad
from dfqgen.ops.pool import MaxPool
from dfqgen.ops.softmax import Softmax
from dfqgen.quantization.tensor_ranges import tensor_ranges
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.saturation import heads, heard_values, softmax_depth
from tests.builders import chain, conv, relu
from tests.programs import prepare_by, program_by

RNG = np.random.default_rng(0)
UNITS = {"x": InputMeaning(lo=-1.0, hi=1.0)}
BORDER = ((0, 1, 1, 0), (0, 1, 1, 0))


@pytest.mark.parametrize("value", [-1000.0, -3.4e38])
@pytest.mark.parametrize("last", [MaxPool((3, 3), (2, 2)), relu()], ids=["maximum", "relu"])
def test_a_border_far_below_saturates_before_a_maximum_or_a_relu(value: float, last: Op) -> None:
    graph = chain([conv(RNG, 4, 3, 1, pad=0), Pad(*BORDER, value=value), last])
    assert program_by(prepare_by(graph, UNITS)).tensors["t0"].qtype.scale < 1.0


def test_a_border_that_a_convolution_reads_stays_in_the_range() -> None:
    graph = chain([conv(RNG, 4, 3, 1, pad=0), Pad(*BORDER, value=-1000.0), conv(RNG, 4, 4, 1, pad=0)])
    assert program_by(prepare_by(graph, UNITS)).tensors["t1"].qtype.real_range[0] <= -999.0


def masked() -> Graph:
    shift = np.array([0.0, 0.0, -1e4, 0.0, -1e4, 0.0])
    return chain([conv(RNG, 6, 3, 1, pad=0), Affine(np.ones(6), shift), Softmax(3)])


def test_a_mask_before_a_softmax_saturates() -> None:
    graph = masked()
    lo, hi = tensor_ranges(prepare_by(graph, UNITS), ActivationsRecipe())["t1"]
    assert -50.0 < lo < -5.0 < hi


def test_a_softmax_cannot_tell_what_is_raised_to_its_depth() -> None:
    graph = masked()
    scores = RNG.normal(0.0, 8.0, (64, 1, 1, 6))
    heard = heard_values(graph, "t1", scores)
    assert np.any(heard != scores)
    error = Softmax(3).evaluate(heard) - Softmax(3).evaluate(scores)
    assert np.abs(error).max() < 0.5 / 256
    assert softmax_depth(graph, "t0") == np.inf


def test_an_output_is_judged_before_a_softmax_but_behind_a_maximum() -> None:
    assert heads(masked()) == ("t1",)
    assert heads(chain([conv(RNG, 4, 3), MaxPool((2, 2))])) == ("t1",)


def test_a_sigmoid_or_a_tanh_hears_nothing_beyond_its_last_step() -> None:
    """Through moves too; another reader, or the outside, hears all."""
    loud = replace(conv(RNG, 4, 3), bias=np.full(4, 50.0))
    for function, reach in (("sigmoid", 6.3), ("tanh", 3.2)):
        graph = chain([loud, MaxPool((2, 2), (2, 2)), Elementwise(function), conv(RNG, 2, 4)])
        lo, hi = tensor_ranges(prepare_by(graph, UNITS), ActivationsRecipe())["t0"]
        assert -reach < lo <= hi < reach
    swish = chain([loud, Elementwise("swish", 1.0), conv(RNG, 2, 4)])
    assert tensor_ranges(prepare_by(swish, UNITS), ActivationsRecipe())["t0"][1] > 50.0
