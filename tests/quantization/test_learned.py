"""What samples decide, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph
from dfqgen.quantization.learned import learned_program
from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.prepare import prepare
from dfqgen.quantization.quantize import assign_types
from tests.builders import batch_norm, chain, conv, relu

UNITS = InputMeaning(lo=-2.0, hi=2.0)


def network() -> Graph:
    rng = np.random.default_rng(5)
    return chain(
        [conv(rng, 8, 3), batch_norm(rng, 8), relu(), conv(rng, 4, 8), batch_norm(rng, 4)], (1, 8, 8, 3)
    )


def timid(count: int = 8) -> dict[str, np.ndarray]:
    """Samples on which little happens."""
    return {"x": np.random.default_rng(0).normal(0, 0.01, (count, 8, 8, 3)).astype(np.float32)}


@pytest.mark.parametrize("method", ["sigma", "min-max", "percentile", "mse"])
def test_synthetic_samples_never_bound_the_range_of_scores(method: str) -> None:
    options = QuantizeOptions(range_method=method)  # type: ignore[arg-type]
    graph = network()
    scores = graph.outputs[0].tensor

    def width(synthetic: bool) -> float:
        prepared = prepare(graph, {"x": UNITS}, options, timid(), synthetic=synthetic)
        lo, hi = assign_types(prepared, options).types[scores].real_range
        return hi - lo

    assert width(synthetic=True) > 2 * width(synthetic=False)


def test_biases_are_corrected_on_synthetic_samples_unless_rounding_sees_to_them() -> None:
    assert QuantizeOptions(statistics="synthetic").learns
    assert QuantizeOptions(statistics="synthetic", rounding="nearest", bits="4").learns
    assert QuantizeOptions(rounding="adaround").learns
    for options in (
        QuantizeOptions(),
        QuantizeOptions(statistics="synthetic", bits="4"),
        QuantizeOptions(statistics="synthetic", correct_bias=False),
        QuantizeOptions(statistics="synthetic", empirical_bias=False),
        QuantizeOptions(statistics="synthetic", rounding="adaround").without_samples(),
    ):
        assert not options.learns


def test_feedback_rounding_and_empirical_bias_exclude_each_other() -> None:
    options = QuantizeOptions(empirical_bias=True, bits="4")
    prepared = prepare(network(), {"x": UNITS}, options)
    with pytest.raises(UserError, match="feedback"):
        learned_program(prepared, options, timid(), "samples")


def test_empirical_bias_at_four_bits_says_what_it_did() -> None:
    options = QuantizeOptions(empirical_bias=True, rounding="nearest", bits="4", low_ends=True)
    prepared = prepare(network(), {"x": UNITS}, options)
    corrected, program = learned_program(prepared, options, timid(), "timid samples")
    assert corrected.notes[-1].effect == "channel means compared on 8 timid samples"
    assert "2 of 4" in corrected.notes[-2].effect
    assert program.weight_bytes > 0
