"""What samples decide, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.compile import quantize_graph
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.quantization import simulated
from dfqgen.quantization.types import assign_types
from dfqgen.recipe import make_recipe
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.compare import ErrorMeter
from tests.builders import batch_norm, chain, conv, relu
from tests.programs import prepare_by

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
    recipe = ActivationsRecipe(range_method=method)  # type: ignore[arg-type]
    graph = network()
    scores = graph.outputs[0].tensor

    def width(synthetic: bool) -> float:
        prepared = prepare_by(graph, {"x": UNITS}, samples=timid(), real=not synthetic)
        lo, hi = assign_types(prepared, recipe).types[scores].real_range
        return hi - lo

    assert width(synthetic=True) > 2 * width(synthetic=False)


def test_empirical_bias_at_four_bits_says_what_it_did() -> None:
    recipe = make_recipe(empirical_bias=True, rounding="nearest", bits="4", low_ends=True, samples=8)
    found = quantize_graph(network(), {"x": UNITS}, recipe)
    (effect,) = (note.effect for note in found.notes if note.step == "bias correction")
    assert effect.startswith("channel means compared on 8 samples synthesized from")
    assert any("2 of 4" in note.effect for note in found.notes)
    assert found.program.weight_bytes > 0


def test_clipping_real_samples_counts_what_it_does_when_it_is_tried() -> None:
    graph, samples = network(), timid(64)
    samples["x"] *= 20.0
    samples["x"][1] *= 10.0  # loud where no reaction is measured
    prepared = prepare_by(graph, {"x": UNITS}, samples=samples, real=True)
    exact = prepared.graph.evaluate(samples)

    def sqnr_db(caution: float) -> float:
        typed = assign_types(replace(prepared, caution=caution), ActivationsRecipe())
        meter = ErrorMeter()

        def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> Array | None:
            qtype = typed.types.get(node.output)
            return None if qtype is None else qtype.dequantize(qtype.quantize(output))

        found = typed.graph.evaluate(samples, watch)
        for name in typed.graph.output_tensors:
            meter.add(exact[name], found[name])
        return meter.sqnr_db

    assert prepared.caution > 1.0
    assert sqnr_db(prepared.caution) > sqnr_db(1.0) + 1.0


@pytest.mark.parametrize(("gain_db", "clips"), [(0.7, False), (1.3, True)])
def test_clipping_real_samples_must_gain_a_decibel(
    monkeypatch: pytest.MonkeyPatch, gain_db: float, clips: bool
) -> None:
    noises = iter((1.0, 10.0 ** (-gain_db / 10.0), 1.0))
    monkeypatch.setattr(simulated, "simulated_noise", lambda *_: next(noises))
    prepared = prepare_by(network(), {"x": UNITS}, samples=timid(), real=True)
    assert prepared.caution == simulated.CAUTIONS[1 if clips else -1]
