"""Tensors that are joined share one type, for free where nothing else looks, else behind a rescale."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.ops.concat import Concat
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip, Elementwise, QLookup
from dfqgen.ops.pool import MaxPool
from dfqgen.ops.softmax import PROBABILITY
from dfqgen.ops.windows import Pads
from dfqgen.quantization.unify import wide_range
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from tests.builders import conv, relu
from tests.programs import prepare_by, program_by


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def scaled(rng: np.random.Generator, factor: float) -> Conv2D:
    """A convolution 3 -> 4 whose output is `factor` times as wide as its input."""
    op = conv(rng, 4, 3)
    return Conv2D(op.weight * factor, op.bias * factor, op.stride, op.dilation, op.pads, op.groups)


def graph(*nodes: tuple[Op, str, str], outputs: tuple[str, ...] = ("y",)) -> Graph:
    """Nodes (op, inputs separated by spaces, output) on one input x [1,6,6,3]."""
    made = tuple(Node(output, op, tuple(inputs.split()), output) for op, inputs, output in nodes)
    bare = Graph("net", (Port("x", "x", (1, 6, 6, 3)),), (), made)
    return Graph("net", bare.inputs, tuple(Port(o, o, bare.shapes[o]) for o in outputs), made)


def program(net: Graph) -> Program:
    options = make_recipe(statistics="analytic")
    return program_by(prepare_by(net, {"x": InputMeaning(lo=-1.0, hi=1.0)}, options), options)


def rescales(made: Program) -> list[str]:
    return [op.output for op in made.ops if isinstance(op, QLookup) and "rescaled" in op.output]


def test_layers_that_only_a_concatenation_reads_aim_at_its_range(rng: np.random.Generator) -> None:
    made = program(graph((scaled(rng, 1.0), "x", "a"), (scaled(rng, 9.0), "x", "b"), (Concat(3), "a b", "y")))
    assert not rescales(made)
    assert made.tensors["a"].qtype == made.tensors["b"].qtype == made.tensors["y"].qtype


def test_a_fused_activation_and_moves_are_looked_through(rng: np.random.Generator) -> None:
    made = program(
        graph(
            (scaled(rng, 1.0), "x", "c"),
            (relu(), "c", "r"),
            (MaxPool((3, 3), pads=Pads(1, 1, 1, 1)), "r", "a"),
            (scaled(rng, 9.0), "x", "b"),
            (Concat(3), "a b", "y"),
        )
    )
    assert not rescales(made)
    assert made.tensors["r"].qtype == made.tensors["b"].qtype


def test_a_narrow_tensor_that_others_read_keeps_its_resolution(rng: np.random.Generator) -> None:
    made = program(
        graph(
            (scaled(rng, 1.0), "x", "a"),
            (scaled(rng, 9.0), "x", "b"),
            (Concat(3), "a b", "y"),
            (conv(rng, 2, 4), "a", "z"),
            outputs=("y", "z"),
        )
    )
    assert len(rescales(made)) == 1
    assert made.tensors["a"].qtype.scale < made.tensors["y"].qtype.scale / 3
    assert made.tensors["b"].qtype == made.tensors["y"].qtype


def test_a_tensor_nearly_as_wide_joins_although_others_read_it(rng: np.random.Generator) -> None:
    op = scaled(rng, 1.0)
    made = program(
        graph(
            (op, "x", "a"),
            (op, "x", "b"),
            (Concat(3), "a b", "y"),
            (conv(rng, 2, 4), "a", "z"),
            outputs=("y", "z"),
        )
    )
    assert not rescales(made)


def test_equal_fixed_types_stay_and_others_are_rescaled(rng: np.random.Generator) -> None:
    sigmoids = graph(
        (Elementwise("sigmoid"), "x", "a"), (Elementwise("sigmoid"), "x", "b"), (Concat(3), "a b", "y")
    )
    made = program(sigmoids)
    assert not rescales(made)
    assert made.tensors["y"].qtype == PROBABILITY
    mixed = graph((Elementwise("sigmoid"), "x", "a"), (scaled(rng, 9.0), "x", "b"), (Concat(3), "a b", "y"))
    made = program(mixed)
    assert len(rescales(made)) == 1
    assert made.tensors["a"].qtype == PROBABILITY


def test_the_rescaled_integers_mean_the_same_reals(rng: np.random.Generator) -> None:
    net = graph(
        (scaled(rng, 1.0), "x", "a"),
        (scaled(rng, 9.0), "x", "b"),
        (Concat(3), "a b", "y"),
        (Clip.of(-100.0, 100.0), "a", "z"),
        outputs=("y", "z"),
    )
    made = program(net)
    x = rng.uniform(-1, 1, (4, 6, 6, 3)).astype(np.float32)
    found = made.run({"x": made.tensors["x"].qtype.quantize(x)})["y"]
    expected = net.evaluate({"x": x})["y"]
    step = made.tensors["y"].qtype.scale
    assert np.abs(made.tensors["y"].qtype.dequantize(found) - expected).max() < 3 * step


def test_a_concatenation_of_a_concatenation_that_was_rescaled_already(rng: np.random.Generator) -> None:
    """The rescale is in no graph yet when the outer concatenation asks who reads its inputs."""
    made = program(
        graph(
            (scaled(rng, 1.0), "x", "a"),
            (scaled(rng, 100.0), "x", "b"),
            (Concat(3), "a b", "c"),
            (conv(rng, 2, 4), "a", "p"),
            (scaled(rng, 1e4), "x", "d"),
            (Concat(3), "c d", "y"),
            outputs=("y", "p"),
        )
    )
    assert rescales(made) == ["a/rescaled"]
    assert made.tensors["a/rescaled"].qtype == made.tensors["y"].qtype


@pytest.mark.parametrize(
    ("narrow", "bounds", "wide"),
    [
        ((-1.0, 0.5), (-3.5, 0.6), (-3.5, 1.0)),  # as far as values get, or twice int8's
        ((-1.0, 0.5), (-4.5, np.inf), (-2.0, 1.0)),  # too far: twice
        ((0.0, 1.0), (-1.0, 4.0), (0.0, 4.0)),
    ],
)
def test_an_int16_range_holds_all_values_where_that_takes_two_bits_at_most(
    narrow: tuple[float, float], bounds: tuple[float, float], wide: tuple[float, float]
) -> None:
    assert wide_range(narrow, bounds) == wide
