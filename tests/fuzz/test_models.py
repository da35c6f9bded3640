"""A short run of the campaign; what it found once is a test where it was mended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.campaign import State, run
from tests.fuzz.cases import case
from tests.fuzz.oracle import Verdict, examine
from tests.fuzz.seeds import small_seeds

CASES = 240
FIRST = 1_000_000
"""Others than a campaign begins with."""


def test_mutated_models_are_refused_or_equal_onnxruntime() -> None:
    found = {}
    verdicts = []
    for number in range(FIRST, FIRST + CASES):
        outcome = examine(case(number))
        verdicts.append(outcome.verdict)
        if outcome.verdict.is_finding:
            found[number] = outcome
    assert not found
    assert verdicts.count(Verdict.TAKEN) > CASES // 10  # it is not all refused at the door


def test_a_case_is_the_same_on_every_run() -> None:
    assert case(7) == case(7)
    assert len({case(number) for number in range(20)}) > 15


def test_the_corpus_compiles_but_for_what_is_documented() -> None:
    seeds = small_seeds()[::7]
    verdicts = [examine(seed).verdict for seed in seeds]
    assert set(verdicts) <= {Verdict.TAKEN, Verdict.REFUSED}
    assert verdicts.count(Verdict.TAKEN) > len(seeds) // 2


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    assert run(folder, 60.0, workers=1, most_cases=3).following == 3
    state = run(folder, 60.0, workers=2, most_cases=4)
    assert state.following == 7
    assert sum(state.counts.values()) == 7
    assert State.read(folder) == state


def test_a_recurrence_that_amplifies_the_last_bit_is_not_compared(tmp_path: Path) -> None:
    """A simple cell of gain four over 200 steps: float32's own order of adding decides its values."""
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=shape).astype(np.float32) for shape in ((1, 16, 8), (1, 16, 16))]
    layer = [helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=16)]
    initializers = [numpy_helper.from_array(weights[0], "w"), numpy_helper.from_array(weights[1], "r")]
    graph = helper.make_graph(
        layer,
        "chaos",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (200, 1, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (200, 1, 1, 16))],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    assert examine(model.SerializeToString(), whole=False).verdict is Verdict.TAKEN
