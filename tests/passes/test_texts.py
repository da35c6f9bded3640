"""Every pass on a small graph: its text before and after, in golden/ under the pass's name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dfqgen.graph.ir import Graph
from dfqgen.graph.text import graph_text, parse_graph
from dfqgen.ops.norm import BatchNorm
from dfqgen.passes.contract import Note, Pass, Passed, apply_passes
from dfqgen.passes.data_free import ABSORB, DATA_FREE_PASSES, FOLD_DEAD, REPLACE_RELU6, data_free_passes
from dfqgen.passes.importing import IMPORT_PASSES
from dfqgen.statistics.channel import ChannelStatistics
from tests.builders import batch_norm, chain, relu

GOLDEN = Path(__file__).parent / "golden"
PASSES = (*IMPORT_PASSES, *DATA_FREE_PASSES)
CHANGES_THE_FUNCTION = (REPLACE_RELU6, ABSORB)


def golden(step: Pass) -> tuple[str, str]:
    """The texts before and after; a graph begins with the word."""
    slug = re.sub(r"[^a-z0-9]+", "_", step.name.lower())
    _, before, after = (GOLDEN / f"{slug}.txt").read_text().split("graph ")
    return "graph " + before, "graph " + after


def normal_inputs(graph: Graph) -> dict[str, ChannelStatistics]:
    return {port.tensor: ChannelStatistics.normal(np.zeros(port.shape[-1]), 1.0) for port in graph.inputs}


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.name)
def test_a_pass_makes_of_the_text_before_the_text_after(step: Pass) -> None:
    """A change shows as a diff: copy the new text if it is meant."""
    before, after = golden(step)
    graph = parse_graph(before)
    assert graph_text(step(graph, normal_inputs(graph)).graph, full=True) == after


@pytest.mark.parametrize(
    "step", [step for step in PASSES if step not in CHANGES_THE_FUNCTION], ids=lambda step: step.name
)
def test_a_pass_keeps_the_function(step: Pass) -> None:
    before, after = (parse_graph(text) for text in golden(step))
    rng = np.random.default_rng(0)
    inputs = {port.name: port.to_model(rng.normal(size=port.shape)) for port in before.inputs}

    def outputs(graph: Graph) -> list[np.ndarray]:
        found = graph.evaluate({p.tensor: p.from_model(inputs[p.name]) for p in graph.inputs})
        return [port.to_model(found[port.tensor]) for port in graph.outputs]

    for found, expected in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_passes_have_names_of_their_own() -> None:
    assert len({step.name for step in PASSES}) == len(PASSES)


def test_a_pass_refuses_what_a_pass_before_it_removes() -> None:
    graph = chain([batch_norm(np.random.default_rng(0), 3)])
    with pytest.raises(AssertionError, match="fold dead channels comes before layer0 is gone"):
        FOLD_DEAD(graph, {})
    assert BatchNorm in FOLD_DEAD.without


def test_passes_run_in_order_and_say_what_they_did() -> None:
    def twice(graph: Graph, known: object) -> Passed:
        return Passed(graph, {}, "once")

    graph = chain([relu()])
    after, known, notes = apply_passes([Pass("one", twice), Pass("two", twice)], graph, {})
    assert (after, known, notes) == (graph, {}, (Note("one", "once"), Note("two", "once")))


@pytest.mark.parametrize(("wanted", "count"), [(True, 8), (False, 3)])
def test_what_is_not_wanted_is_left_out(wanted: bool, count: int) -> None:
    steps = data_free_passes(fold_dead=wanted, equalization=wanted, relu6_replaced=True, bias_absorbed=wanted)
    assert list(steps) == [step for step in DATA_FREE_PASSES if step in steps]
    assert len(steps) == count
