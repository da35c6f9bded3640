"""Ranges by predicted error: headroom goes where it costs the outputs least."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.tensor_ranges import possible_reach, predicted_range, tensor_ranges, unseen_noise
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.reactions import LEVELS, Reaction
from tests.builders import chain, conv, relu
from tests.programs import prepare_by

RNG = np.random.default_rng(0)
UNITS = {"x": InputMeaning(lo=-1.0, hi=1.0)}
EXTREME = 4.0
FEATURE = ChannelStatistics.normal(np.zeros(1), 1.0, 0.0)


def reaction(gain: float, clipping: float = 0.0) -> Reaction:
    """To a tensor of values up to EXTREME."""
    falling = clipping * (1.0 - LEVELS) ** 2
    return Reaction(np.array([[gain]]), 0.0, EXTREME, np.zeros((1, len(LEVELS))), falling[None])


def test_a_tensor_that_outputs_hardly_hear_gets_headroom_for_rare_events() -> None:
    quiet = predicted_range(FEATURE, reaction(1e-6))[1]
    loud = predicted_range(FEATURE, reaction(10.0))[1]
    assert quiet > 2 * EXTREME
    assert loud < 1.5 * EXTREME
    ranges = [predicted_range(FEATURE, reaction(gain))[1] for gain in np.geomspace(1e-6, 1e3, 10)]
    assert ranges == sorted(ranges, reverse=True)


def test_what_samples_show_of_clipping_holds_a_range_open() -> None:
    assert (
        predicted_range(FEATURE, reaction(1e3, clipping=100.0))[1]
        > predicted_range(FEATURE, reaction(1e3))[1]
    )


def test_no_range_leaves_the_hard_bounds() -> None:
    relu6 = ChannelStatistics.normal(np.zeros(2), 3.0, 0.0, 6.0)
    assert predicted_range(relu6, reaction(1e-9)) == (0.0, 6.0)


def test_scores_that_samples_show_on_one_side_of_zero_may_cross_it() -> None:
    """A detector's on images without anything to detect: -6 to -3; up to zero is half a sigmoid."""
    seen = (np.array([-6.0]), np.array([-3.0]))
    scores = replace(ChannelStatistics.normal(np.full(1, -5.0), 0.5, -6.2, 6.2), seen=seen)
    assert predicted_range(scores, reaction(1e-4))[1] > 3.0
    around = replace(scores, mean=np.zeros(1), seen=(np.array([-6.0]), np.array([3.0])))
    low, high = possible_reach(around, np.array([1.0, 1.5]))
    assert (low.tolist(), high.tolist()) == ([6.0, 6.2], [3.0, 4.5])


def test_what_never_crosses_zero_has_no_other_side() -> None:
    positive = replace(FEATURE, mean=np.full(1, 5.0), seen=(np.full(1, 4.0), np.full(1, 6.0)))
    assert predicted_range(positive, reaction(1e-9))[0] == 0.0


def test_an_input_has_all_its_stated_range_and_stated_widths_hold() -> None:
    graph = chain([conv(RNG, 4, 3), relu(), conv(RNG, 2, 4)])
    prepared = prepare_by(graph, UNITS)
    assert tensor_ranges(prepared, ActivationsRecipe())["x"] == (-1.0, 1.0)
    wide, narrow = (
        tensor_ranges(prepared, ActivationsRecipe(n_sigma=n, n_sigma_scores=n))[graph.nodes[-1].output]
        for n in (20.0, 10.0)
    )
    assert wide[1] - wide[0] == pytest.approx(2 * (narrow[1] - narrow[0]), rel=0.2)


def test_real_samples_are_cut_only_where_that_lowers_the_noise() -> None:
    graph = chain([conv(RNG, 4, 3), relu(), conv(RNG, 2, 4)])
    rare = RNG.normal(0, 0.01, (8, 8, 8, 3)).astype(np.float32)
    rare[0, 0, 0] = 1.0  # a hundred deviations out, and all that the output hears
    prepared = prepare_by(graph, UNITS, samples={"x": rare})
    seen: dict[str, np.ndarray] = {}
    graph.evaluate({"x": rare}, lambda node, _, value: seen.__setitem__(node.output, value))
    ranges = tensor_ranges(prepared, ActivationsRecipe())
    for tensor, value in seen.items():
        reaction, extremes = (
            prepared.reactions[tensor],
            (min(float(value.min()), 0.0), max(float(value.max()), 0.0)),
        )
        lo, hi = ranges[tensor]
        assert extremes[0] - 1e-6 <= lo <= hi <= extremes[1] + 1e-6

        def noise(lo: float, hi: float, reaction: Reaction = reaction) -> float:
            return float((reaction.rounding(lo, hi) + reaction.clipping(lo, hi)).mean())

        assert noise(lo, hi) <= noise(*extremes) * 1.001
        assert hi > 0.8 * extremes[1] or lo < 0.8 * extremes[0]


def test_a_feature_that_no_sample_shows_is_not_cut_to_what_they_show() -> None:
    """A detector whose weak channel fires on no procedural image: real values are many times as large."""
    first = conv(RNG, 4, 3)
    weak = replace(first, weight=first.weight * 0.05, bias=np.full(4, -0.02))
    second = conv(RNG, 4, 4)
    assert isinstance(second, Conv2D)
    graph = chain([weak, relu(), replace(second, bias=np.full(4, 5.0))])
    prepared = prepare_by(graph, UNITS)
    tensor = graph.nodes[1].output
    seen = prepared.statistics[tensor].seen
    assert seen is not None
    assert tensor_ranges(prepared, ActivationsRecipe())[tensor][1] > 2 * float(seen[1].max())


def test_a_side_on_which_nothing_can_be_costs_nothing() -> None:
    """A ReLU's output ends at zero, and a range that ends there too cuts nothing."""
    statistics = ChannelStatistics(np.array([1.0]), np.array([0.5]), np.array([0.0]), np.array([np.inf]))
    assert unseen_noise(statistics, (0.0, 1e6)) == 0.0
    assert unseen_noise(statistics, (0.0, 1.0)) > 0.0
