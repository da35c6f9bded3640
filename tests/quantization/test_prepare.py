"""The passes in their order, and the program they lead to, against the float network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.ops.add import Add, QAdd
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.recipe import Recipe, make_recipe
from dfqgen.samples.meaning import InputMeaning
from tests.builders import batch_norm, chain, conv, relu, relu6, run
from tests.programs import prepare_by, program_by

UNIT = InputMeaning(lo=-2.0, hi=2.0)


def quantized(graph: Graph, options: Recipe, samples: np.ndarray | None = None) -> Program:
    given_samples = None if samples is None else {"x": samples}
    return program_by(prepare_by(graph, {"x": UNIT}, options, given_samples), options)


def outputs(program: Program, x: np.ndarray) -> np.ndarray:
    (port,) = program.inputs
    found = program.run({port.tensor: program.tensors[port.tensor].qtype.quantize(x)})
    (tensor,) = found
    return program.tensors[tensor].qtype.dequantize(found[tensor])


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - found) ** 2)))


def network(rng: np.random.Generator) -> Graph:
    return chain(
        [
            conv(rng, 8, 3, spread=1.0),
            batch_norm(rng, 8),
            relu6(),
            conv(rng, 8, 8, groups=8, spread=1.0),
            batch_norm(rng, 8),
            relu6(),
            conv(rng, 12, 8, 1, pad=0),
            batch_norm(rng, 12),
            relu(),
            MaxPool((2, 2), (2, 2)),
            AveragePool((4, 4)),
            conv(rng, 5, 12, 1, pad=0),
        ]
    )


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
@pytest.mark.parametrize("statistics", ["auto", "analytic"])
def test_the_program_is_close_to_the_float_network(weights: str, scales: str, statistics: str) -> None:
    rng = np.random.default_rng(3)
    graph = network(rng)
    x = np.clip(rng.normal(0, 0.7, (64, *graph.inputs[0].shape[1:])), -2, 2)
    options = make_recipe(weights=weights, scales=scales, statistics=statistics)  # type: ignore[arg-type]
    assert sqnr_db(run(graph, x), outputs(quantized(graph, options), x)) > (
        15 if scales == "multiplier" else 11
    )


def test_users_samples_replace_the_statistics() -> None:
    rng = np.random.default_rng(4)
    graph = network(rng)
    x = np.clip(rng.normal(0, 0.7, (64, *graph.inputs[0].shape[1:])), -2, 2)
    prepared = prepare_by(graph, {"x": UNIT}, Recipe(), {"x": x})
    last = graph.nodes[-1].output
    np.testing.assert_allclose(prepared.statistics[last].mean, run(graph, x).mean(axis=(0, 1, 2)), atol=1e-6)


def test_a_folded_network_is_prepared_as_well_as_one_with_batch_norm() -> None:
    rng = np.random.default_rng(5)
    graph = network(rng)
    folded = prepare_by(graph, {"x": UNIT}, make_recipe(fold_dead=False)).graph
    x = np.clip(rng.normal(0, 0.7, (64, *graph.inputs[0].shape[1:])), -2, 2)
    with_norm = sqnr_db(run(graph, x), outputs(quantized(graph, Recipe()), x))
    without = sqnr_db(run(graph, x), outputs(quantized(folded, Recipe()), x))
    assert without > with_norm - 2.0


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_graphs_stay_within_the_bound_of_their_scales(data: st.DataObject) -> None:
    """Each rounding adds half a step of its tensor; linear layers carry errors on by sum |w|.

    The bound is worst case and assumes that nothing clips: ranges come from the very input.
    """
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    channels = data.draw(st.integers(1, 9))
    layers: list[Op] = [conv(rng, channels, 3, data.draw(st.sampled_from([1, 3])), pad=0)]
    for _ in range(data.draw(st.integers(0, 2))):
        layers.append(
            data.draw(
                st.sampled_from([relu(), relu6(), conv(rng, channels, channels, 3), AveragePool((2, 2))])
            )
        )
    graph = chain(layers)
    if data.draw(st.booleans()):
        last = graph.nodes[-1].output
        nodes = (*graph.nodes, Node("sum", Add(), (last, last), "sum"))
        graph = replace(graph, nodes=nodes, outputs=(Port("y", "sum", graph.shapes[last]),))
    x = rng.uniform(-2, 2, (2, *graph.inputs[0].shape[1:]))
    options = make_recipe(n_sigma=50.0, n_sigma_scores=50.0, correct_bias=False)
    prepared = prepare_by(graph, {"x": UNIT}, options, {"x": x})
    program = program_by(prepared, options)
    error = _error_bound(program)
    assert np.abs(outputs(program, x) - run(graph, x)).max() <= error


def _error_bound(program: Program) -> float:
    """Interval of the error through the program, operator by operator."""
    (port,) = program.inputs
    step = {name: tensor.qtype.scale for name, tensor in program.tensors.items()}
    bound = {port.tensor: 0.51 * step[port.tensor]}
    values = program.tensors
    for op in program.ops:
        inner = bound[op.inputs[0]]
        if isinstance(op, QConv2D):
            reach = np.abs(op.weight.astype(float)).sum(axis=(1, 2, 3))
            # What a weight is worth: the accumulator's unit over the input's.
            factor = op.requantize.multiplier * 2.0 ** (op.requantize.pre_shift - 32) * step[op.output]
            weight_scale = (factor / step[op.inputs[0]])[: len(reach)]
            taps = op.weight[0].size
            magnitude = max(abs(v) for v in values[op.inputs[0]].qtype.real_range)
            rounding = 0.5 * weight_scale * taps * magnitude + 0.5 * weight_scale * step[op.inputs[0]]
            bound[op.output] = float((reach * weight_scale * inner + rounding).max()) + 0.52 * step[op.output]
        elif isinstance(op, QAdd):
            bound[op.output] = 2.02 * inner + 0.55 * step[op.output]
        else:
            bound[op.output] = inner + 0.52 * step[op.output]
    return bound[program.outputs[0].tensor] * 1.01 + 1e-6
