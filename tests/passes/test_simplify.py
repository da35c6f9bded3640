"""Each rewrite does what it says and keeps the function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.graph.rewrite import Rule, rewrite
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.passes.fold_affine import (
    fold_affine_into_batch_norm,
    fold_affine_into_convolution,
    fold_affine_into_next,
)
from dfqgen.passes.merge import (
    drop_identities,
    merge_affines,
    merge_clips,
    merge_reshapes,
    merge_transposes,
    transpose_to_reshape,
)
from dfqgen.passes.padding import fuse_pad, pad_after_reshape, pad_after_transpose
from dfqgen.passes.simplify import common_subexpressions, simplify
from dfqgen.passes.tidy_names import tidy_names
from tests.builders import batch_norm, chain, conv, relu


def ops(graph: Graph) -> list[type[Op]]:
    return [type(node.op) for node in graph.nodes]


def assert_same_function(before: Graph, after: Graph) -> None:
    rng = np.random.default_rng(0)
    inputs = {port.tensor: rng.normal(size=port.shape) for port in before.inputs}
    expected, actual = before.evaluate(inputs), after.evaluate(inputs)
    for old, new in zip(before.outputs, after.outputs, strict=True):
        assert before.shapes[old.tensor] == after.shapes[new.tensor]
        np.testing.assert_allclose(actual[new.tensor], expected[old.tensor], atol=1e-5)


def applied(graph: Graph, *rules: Rule) -> Graph:
    result = rewrite(graph, *rules)
    assert_same_function(graph, result)
    return result


def fork(first: list[Op], left: list[Op], right: list[Op]) -> Graph:
    """first, then two branches that each give an output."""
    stem = chain(first)
    nodes = list(stem.nodes)
    outputs = []
    for side, branch in (("l", left), ("r", right)):
        tensor = nodes[len(first) - 1].output
        for i, op in enumerate(branch):
            nodes.append(Node(f"{side}{i}", op, (tensor,), f"{side}{i}"))
            tensor = f"{side}{i}"
        outputs.append(Port(side, tensor, ()))
    graph = Graph("net", stem.inputs, tuple(outputs), tuple(nodes))
    return replace(graph, outputs=tuple(Port(p.name, p.tensor, graph.shapes[p.tensor]) for p in outputs))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# --- moving nothing ---


@pytest.mark.parametrize(
    "op",
    [
        Reshape((1, 8, 8, 3)),
        Transpose((0, 1, 2, 3)),
        Pad((0, 0, 0, 0), (0, 0, 0, 0)),
        Clip.of(-np.inf, np.inf),
        Affine(np.ones(1), np.zeros(3)),
        AveragePool((1, 1)),
        MaxPool((1, 1)),
    ],
)
def test_operators_that_do_nothing_are_dropped(op: Op) -> None:
    assert ops(applied(chain([relu(), op, relu()]), drop_identities)) == [Clip, Clip]


def test_a_dropped_operator_at_the_output_hands_its_port_on() -> None:
    graph = applied(chain([relu(), Reshape((1, 8, 8, 3))]), drop_identities)
    assert graph.outputs[0].tensor == "t0"


def test_reshapes_in_a_row_are_one() -> None:
    graph = chain([Reshape((1, 64, 3)), Reshape((1, 3, 64)), Reshape((1, 192))])
    assert ops(applied(graph, merge_reshapes)) == [Reshape]


def test_transposes_in_a_row_are_one() -> None:
    graph = applied(chain([Transpose((0, 3, 1, 2)), Transpose((0, 1, 3, 2))]), merge_transposes)
    (node,) = graph.nodes
    assert isinstance(node.op, Transpose)
    assert node.op.permutation == (0, 3, 2, 1)


@pytest.mark.parametrize(
    ("shape", "moves"), [((1, 1, 5, 4), False), ((1, 5, 1, 4), False), ((1, 5, 2, 4), True)]
)
def test_a_transpose_is_a_reshape_only_when_no_data_moves(shape: tuple[int, ...], moves: bool) -> None:
    permutation = (0, 2, 1, 3)
    kind = Transpose if moves else Reshape
    assert ops(applied(chain([Transpose(permutation)], shape), transpose_to_reshape)) == [kind]


# --- element-wise ---


@pytest.mark.parametrize("bounds", [(0.0, 6.0, -1.0, 1.0), (0.0, 0.5, 1.0, 2.0), (1.0, 2.0, -1.0, 0.5)])
def test_clips_in_a_row_are_one(bounds: tuple[float, float, float, float]) -> None:
    graph = chain([Clip.of(*bounds[:2]), Clip.of(*bounds[2:])])
    assert ops(applied(graph, merge_clips)) == [Clip]


def test_affines_in_a_row_are_one(rng: np.random.Generator) -> None:
    graph = chain([Affine(rng.normal(size=3), np.ones(1)), Affine(np.full(1, 2.0), rng.normal(size=3))])
    assert ops(applied(graph, merge_affines)) == [Affine]


@pytest.mark.parametrize("channels", [1, 4])
def test_scaling_after_a_convolution_is_in_its_weights(rng: np.random.Generator, channels: int) -> None:
    affine = Affine(rng.normal(size=channels), rng.normal(size=channels))
    assert ops(applied(chain([conv(rng, 4, 3), affine]), fold_affine_into_convolution)) == [Conv2D]


def test_scaling_after_batch_norm_is_in_its_statistics(rng: np.random.Generator) -> None:
    norm, scale, shift = batch_norm(rng, 3), rng.normal(size=3), rng.normal(size=3)
    graph = applied(chain([norm, Affine(scale, shift)]), fold_affine_into_batch_norm)
    (node,) = graph.nodes
    assert isinstance(node.op, BatchNorm)
    np.testing.assert_allclose(node.op.beta, norm.beta * scale + shift, rtol=1e-6)


def test_scaling_of_one_of_two_readers_stays(rng: np.random.Generator) -> None:
    graph = fork([conv(rng, 4, 3)], [Affine(np.full(1, 2.0), np.ones(1))], [relu()])
    assert Affine in ops(applied(graph, fold_affine_into_convolution))


@pytest.mark.parametrize("groups", [1, 3])
def test_scaling_before_a_convolution_is_in_its_weights(rng: np.random.Generator, groups: int) -> None:
    affine = Affine(rng.normal(size=3), rng.normal(size=3))
    graph = chain([affine, conv(rng, 6, 3, groups=groups, pad=0)])
    assert ops(applied(graph, fold_affine_into_next)) == [Conv2D]


def test_a_shift_that_meets_padding_stays(rng: np.random.Generator) -> None:
    graph = chain([Affine(np.ones(1), np.ones(1)), conv(rng, 4, 3, pad=1)])
    assert ops(applied(graph, fold_affine_into_next)) == [Affine, Conv2D]


def test_a_scale_that_meets_padding_folds(rng: np.random.Generator) -> None:
    graph = chain([Affine(np.full(1, 3.0), np.zeros(1)), conv(rng, 4, 3, pad=1)])
    assert ops(applied(graph, fold_affine_into_next)) == [Conv2D]


# --- padding ---

BORDER = Pad((0, 1, 0, 0), (0, 2, 1, 0))


def with_value(value: float) -> Pad:
    return replace(BORDER, value=value)


@pytest.mark.parametrize(
    ("before", "pad", "op", "fused"),
    [
        (Elementwise("tanh"), BORDER, AveragePool((3, 3)), True),
        (
            Elementwise("tanh"),
            BORDER,
            AveragePool((3, 3), pads=Pads(1, 1, 0, 0), count_include_pad=True),
            True,
        ),
        (Elementwise("tanh"), BORDER, AveragePool((3, 3), pads=Pads(1, 1, 0, 0)), False),
        (Elementwise("tanh"), with_value(1.0), AveragePool((3, 3)), False),
        (Elementwise("tanh"), BORDER, MaxPool((3, 3)), False),
        (Elementwise("tanh"), with_value(-np.inf), MaxPool((3, 3)), True),
        (relu(), BORDER, MaxPool((3, 3)), True),
        (relu(), with_value(1.0), MaxPool((3, 3)), False),
        (relu(), BORDER, AveragePool((2, 2)), False),
        (relu(), Pad((0, 1, 0, 1), (0, 0, 0, 0)), MaxPool((3, 3)), False),
    ],
)
def test_padding_goes_into_pools_only_where_it_means_the_same(
    before: Op, pad: Pad, op: Op, fused: bool
) -> None:
    graph = applied(chain([before, pad, op]), fuse_pad)
    assert (Pad not in ops(graph)) == fused


@pytest.mark.parametrize(("value", "fused"), [(0.0, True), (0.5, False)])
def test_padding_with_zeros_goes_into_a_convolution(
    rng: np.random.Generator, value: float, fused: bool
) -> None:
    graph = applied(chain([with_value(value), conv(rng, 4, 3, pad=0)]), fuse_pad)
    assert (Pad not in ops(graph)) == fused


@pytest.mark.parametrize("move", [Transpose((0, 3, 1, 2)), Reshape((1, 1, 11, 9, 3))])
def test_padding_moves_behind_transposes_and_reshapes_that_keep_its_axes(move: Op) -> None:
    assert ops(applied(chain([BORDER, move]), pad_after_transpose, pad_after_reshape)) == [type(move), Pad]


def test_padding_stays_in_front_of_a_reshape_that_joins_its_axes() -> None:
    assert ops(applied(chain([BORDER, Reshape((1, 99, 3))]), pad_after_transpose, pad_after_reshape)) == [
        Pad,
        Reshape,
    ]


# --- whole graph ---


def test_equal_operators_on_equal_inputs_are_computed_once(rng: np.random.Generator) -> None:
    layer = conv(rng, 4, 3)
    twin = replace(layer, weight=layer.weight.copy(), bias=layer.bias.copy())
    graph = fork([relu()], [layer, relu()], [twin, relu(), Elementwise("tanh")])
    result = common_subexpressions(graph)
    assert_same_function(graph, result)
    assert ops(result) == [Clip, Conv2D, Clip, Elementwise]


def test_operators_that_differ_in_a_weight_are_kept_apart(rng: np.random.Generator) -> None:
    layer = conv(rng, 4, 3)
    other = layer.weight.copy()
    other[0, 0, 0, 0] += 1
    graph = fork([relu()], [layer], [replace(layer, weight=other)])
    assert len(common_subexpressions(graph).nodes) == len(graph.nodes)


def test_simplify_keeps_the_function_and_settles(rng: np.random.Generator) -> None:
    graph = chain(
        [
            Affine(np.full(1, 0.5), rng.normal(size=3)),
            conv(rng, 4, 3, pad=0),
            Affine(np.ones(1), rng.normal(size=4)),
            batch_norm(rng, 4),
            relu(),
            Clip.of(-1.0, 6.0),
            Pad((0, 1, 1, 0), (0, 1, 1, 0)),
            conv(rng, 2, 4, pad=0),
            Reshape((1, 2, 36)),
            Reshape((1, 72)),
        ]
    )
    result = simplify(graph)
    assert_same_function(graph, result)
    assert ops(result) == [Conv2D, BatchNorm, Clip, Conv2D, Reshape]
    again = simplify(result)
    assert [node.op for node in again.nodes] == [node.op for node in result.nodes]


def test_simplified_convolutions_have_the_padding(rng: np.random.Generator) -> None:
    (node,) = simplify(chain([BORDER, conv(rng, 4, 3, pad=0)])).nodes
    assert isinstance(node.op, Conv2D)
    assert node.op.pads == Pads(1, 0, 2, 1) != NO_PADS


def test_tidied_names_are_the_models_own_and_unique() -> None:
    nodes = (
        Node("conv", Transpose((0, 3, 1, 2)), ("x",), "y#1"),
        Node("conv", Elementwise("tanh"), ("y#1",), "y#2"),
        Node("conv", Reshape((1, 192)), ("y#2",), "out#7"),
    )
    graph = Graph("net", (Port("x", "x", (1, 8, 8, 3)),), (Port("out", "out#7", (1, 192)),), nodes)
    tidied = tidy_names(graph)
    assert_same_function(graph, tidied)
    assert [node.output for node in tidied.nodes] == ["y#2", "y", "out"]
    assert len({node.name for node in tidied.nodes}) == 3
