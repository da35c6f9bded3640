"""int16 activations: the C equals the interpreter, mixed with int8 too; closer to float; what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfqgen import build
from dfqgen.commands import run
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Op, Port, Shape
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.conv import Conv2D, QConv2D
from dfqgen.ops.lookup import LARGEST_BEND, Clip, Elementwise
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.windows import Pads
from dfqgen.quantization.weights import LARGEST_BIAS, smallest_scales
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.host import first_mismatch, verify_on_host
from tests.builders import conv, relu, relu6
from tests.models import DIGITS
from tests.programs import prepare_by, program_by, write

LAYERS = ("stem", "narrow", "depthwise", "sum", "maximum", "pad", "grouped", "average", "dense")


def everything(seed: int = 0) -> Graph:
    """All operators that MLPerf Tiny networks have, one residual among them."""
    rng = np.random.default_rng(seed)
    border = (0, 1, 0, 0)
    dense = conv(rng, 10, 2 * 2 * 12, kernel=1, pad=0)
    ops: list[tuple[str, Op, tuple[str, ...], str]] = [
        ("stem", conv(rng, 8, 3, stride=2, spread=1.0), ("x",), "a"),
        ("stem/relu", relu6(), ("a",), "b"),
        ("narrow", conv(rng, 8, 8, kernel=1, pad=0), ("b",), "c"),
        ("depthwise", conv(rng, 8, 8, groups=8), ("c",), "d"),
        ("depthwise/relu", relu(), ("d",), "e"),
        ("sum", Add(), ("c", "e"), "f"),
        ("sum/relu", relu(), ("f",), "g"),
        ("maximum", MaxPool((2, 2), (2, 2)), ("g",), "h"),
        ("pad", Pad(border, (0, 0, 1, 0)), ("h",), "i"),
        ("grouped", conv(rng, 12, 8, groups=2), ("i",), "j"),
        ("average", AveragePool((3, 3), (2, 2), Pads(0, 0, 0, 0)), ("j",), "k"),
        ("flat", Reshape((1, 1, 1, 48)), ("k",), "l"),
        ("dense", dense, ("l",), "m"),
        ("softmax", Softmax(3), ("m",), "y"),
    ]
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in ops)
    graph = Graph("wide", (Port("x", "x", (1, 16, 16, 3)),), (Port("y", "y", ()),), nodes)
    return replace(graph, outputs=(Port("y", "y", graph.shapes["y"]),))


def program_of(graph: Graph, **options: Any) -> Program:
    chosen = make_recipe(**options)
    return program_by(prepare_by(graph, {"x": InputMeaning((0.0,), (64.0,))}, chosen), chosen)


def wide(program: Program) -> set[str]:
    return {tensor.name for tensor in program.tensors.values() if tensor.qtype.dtype is IntType.INT16}


@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_the_c_equals_the_interpreter(tmp_path: Path, scales: str, weights: str) -> None:
    program = program_of(everything(), activations="int16", scales=scales, weights=weights)
    assert wide(program) == set(program.tensors)
    write(program, tmp_path / "out")
    assert verify_on_host(program, tmp_path / "out").values > 0


@pytest.mark.parametrize("input_type", ["int8", "int16"])
@pytest.mark.parametrize("output_type", ["int8", "int16"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_network_inputs_and_outputs_have_the_stated_types(
    tmp_path: Path, activations: Any, input_type: Any, output_type: Any
) -> None:
    options = {"activations": activations, "input_type": input_type, "output_type": output_type}
    program = program_of(everything(5), **options)
    others = set(program.tensors) - {"x", "y"}
    assert others & wide(program) == (others if activations == "int16" else set())
    assert ("x" in wide(program), "y" in wide(program)) == (input_type == "int16", output_type == "int16")
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


def test_an_input_that_is_an_output_has_one_type() -> None:
    rng = np.random.default_rng(0)
    nodes = (
        Node("flip", Transpose((0, 3, 1, 2)), ("x",), "t"),
        Node("conv", conv(rng, 2, 3), ("x",), "y"),
    )
    graph = Graph("net", (Port("x", "x", (1, 4, 4, 3)),), (), nodes)
    graph = replace(graph, outputs=tuple(Port(name, name, graph.shapes[name]) for name in "ty"))
    assert wide(program_of(graph, input_type="int8", activations="int16")) == {"y"}
    with pytest.raises(UserError, match="output 't' has the integers of an input: it cannot be int16"):
        program_of(graph, input_type="int8", output_type="int16")


@dataclass(frozen=True, slots=True, eq=False)
class Negated(Affine):
    """An operator that somebody wrote for int8 alone."""

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8,)


def test_tensors_beside_an_operator_without_int16_stay_int8(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    minus = Negated(np.array([-1.0]), np.array([0.0]))
    ops: list[tuple[str, Op, tuple[str, ...], str]] = [
        ("first", conv(rng, 4, 3), ("x",), "a"),
        ("minus", minus, ("a",), "b"),
        ("second", conv(rng, 4, 4), ("b",), "c"),
        ("third", conv(rng, 4, 4), ("c",), "y"),
    ]
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in ops)
    graph = Graph("net", (Port("x", "x", (1, 8, 8, 3)),), (Port("y", "y", (1, 8, 8, 4)),), nodes)
    program = program_of(graph, activations="int16")
    assert wide(program) == {"x", "c", "y"}
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")
    with pytest.raises(UserError, match="'first' must be int8: Negated 'minus' computes in int8"):
        program_of(graph, activations_map={"first": "int16"})


@pytest.mark.parametrize("layers", [("stem",), ("narrow",), ("depthwise", "grouped"), ("sum", "average")])
def test_single_layers_beside_int8_ones(tmp_path: Path, layers: tuple[str, ...]) -> None:
    program = program_of(everything(1), activations_map=dict.fromkeys(layers, "int16"))
    assert 0 < len(wide(program)) < len(program.tensors)
    write(program, tmp_path / "out", optimize="size")
    verify_on_host(program, tmp_path / "out")


def test_single_layers_can_stay_int8(tmp_path: Path) -> None:
    program = program_of(everything(2), activations="int16", activations_map={"narrow": "int8"})
    assert wide(program) == set(program.tensors) - {"c"}
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


def test_a_wrong_value_is_found_in_an_int16_layer(tmp_path: Path) -> None:
    program = program_of(everything(), activations="int16")
    write(program, tmp_path / "out")
    header = tmp_path / "out" / "runtime_c" / "portable" / "dfq_wide_s16.h"
    header.write_text(
        header.read_text().replace(
            "    int32_t value;\n    if", "    int32_t value;\n    acc += 50000;\n    if"
        )
    )
    from dfqgen.fixedpoint.vectors import make_inputs

    mismatch = first_mismatch(program, tmp_path / "out", make_inputs(program, "random"))
    assert mismatch is not None
    assert mismatch.layer == "stem"


def test_int16_is_closer_to_the_float_network() -> None:
    graph = everything(3)
    x = np.random.default_rng(4).uniform(0, 4, (32, 16, 16, 3)).astype(np.float32)

    def error(**options: Any) -> float:
        # An inner tensor can be compared only where its channels are not scaled.
        program = program_of(graph, equalize=False, **options)
        q = program.tensors["x"].qtype.quantize(x)
        found: dict[str, np.ndarray] = {}
        program.run({"x": q}, lambda op, value: found.update({op.output: value}))
        seen: dict[str, np.ndarray] = {}
        graph.evaluate(
            {"x": program.tensors["x"].qtype.dequantize(q)},
            lambda node, _, output: seen.update({node.output: output}),
        )
        reals = program.tensors["k"].qtype.dequantize(found["k"])
        return float(np.mean((reals - seen["k"]) ** 2))

    # What is left is the weights' rounding.
    assert error(activations="int16") < 0.7 * error()


def test_large_layers_give_up_bits_of_weights_to_stay_in_32_bits() -> None:
    layer = Conv2D(np.ones((1, 1, 1, 4096)), np.zeros(1))
    program = program_of(everything(), activations="int16")
    x = program.tensors["b"].qtype
    (scale,) = smallest_scales(layer, x)
    assert 4096 * round(1 / scale) * 2**15 + LARGEST_BIAS < 2**31
    assert smallest_scales(layer, replace(x, dtype=IntType.INT8)) == 0


def test_a_mean_over_more_than_65535_elements_is_of_int8(tmp_path: Path) -> None:
    for size, types in ((255, {"x", "y"}), (256, set())):
        pool = AveragePool((size, size))
        nodes = (Node("pool", pool, ("x",), "y"),)
        graph = Graph("net", (Port("x", "x", (1, size, size, 1)),), (Port("y", "y", (1, 1, 1, 1)),), nodes)
        program = program_of(graph, activations="int16")
        assert wide(program) == types
        write(program, tmp_path / str(size))
        verify_on_host(program, tmp_path / str(size))


@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
def test_the_scale_of_a_product_that_is_nearly_nothing_gives_way(tmp_path: Path, scales: str) -> None:
    rng = np.random.default_rng(0)
    ops: list[tuple[str, Op, tuple[str, ...], str]] = [
        ("first", conv(rng, 4, 3, spread=1.0), ("x",), "a"),
        ("second", conv(rng, 4, 3, spread=1.0), ("x",), "b"),
        ("product", Mul(), ("a", "b"), "c"),
        ("product/clip", Clip.of(0.0, 1e-9), ("c",), "d"),
        ("last", conv(rng, 4, 4), ("d",), "y"),
    ]
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in ops)
    graph = Graph("net", (Port("x", "x", (1, 8, 8, 3)),), (Port("y", "y", (1, 8, 8, 4)),), nodes)
    program = program_of(graph, activations="int16", scales=scales)
    a, b, d = (program.tensors[name].qtype.scale for name in "abd")
    assert 4 * a * b <= d < 16 * a * b
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations_map": {"nothing": "int16"}}, "no layer 'nothing'"),
    ],
)
def test_what_cannot_be_int16_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        program_of(everything(), **options)


@pytest.mark.parametrize("bits", ["2", "3", "4", "6", "2/6"])
def test_weights_of_few_bits_go_with_int16(tmp_path: Path, bits: str) -> None:
    meaning = InputMeaning(std=(16.0,), lo=0.0, hi=16.0)
    recipe = make_recipe(meaning=meaning, activations="int16", bits=bits)
    result = build(DIGITS, tmp_path / "out", recipe)
    assert result.facts["verification"]["bit_exact"] is True
    assert wide(result.program)
    types = {op.weight_type.bits for op in result.program.ops if isinstance(op, QConv2D)}
    assert min(types) == int(bits[0])


@pytest.mark.parametrize("function", ["swish", "tanh", "sigmoid"])
@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
def test_functions_take_int16_and_are_closer_to_float(tmp_path: Path, function: str, scales: str) -> None:
    rng = np.random.default_rng(0)
    ops: list[tuple[str, Op, tuple[str, ...], str]] = [
        ("first", conv(rng, 8, 3, spread=1.0), ("x",), "a"),
        ("function", Elementwise(function, 1.0), ("a",), "b"),
        ("second", conv(rng, 4, 8), ("b",), "y"),
    ]
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in ops)
    graph = Graph("net", (Port("x", "x", (1, 8, 8, 3)),), (Port("y", "y", (1, 8, 8, 4)),), nodes)
    x = rng.uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32)

    def noise(**options: Any) -> tuple[float, float]:
        program = program_of(graph, scales=scales, **options)
        found: dict[str, np.ndarray] = {}
        q = program.tensors["x"].qtype.quantize(x)
        program.run({"x": q}, lambda op, value: found.update({op.output: value}))
        exact = Elementwise(function, 1.0).evaluate(program.tensors["a"].qtype.dequantize(found["a"]))
        qtype = program.tensors["b"].qtype
        error = float(np.abs(qtype.dequantize(found["b"]) - exact).max())
        return error, error / qtype.scale

    error, steps = noise(activations="int16")
    assert steps < LARGEST_BEND + 1  # and half a step each for the table and the result
    assert error < 0.2 * noise()[0]
    program = program_of(graph, scales=scales, activations="int16")
    assert wide(program) == set(program.tensors)
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus"])
def test_firmware_with_int16_activations(tmp_path: Path, target: str) -> None:
    meaning = InputMeaning(std=(16.0,), lo=0.0, hi=16.0)
    recipe = make_recipe(target=target, meaning=meaning, activations="int16")
    result = build(DIGITS, tmp_path / "out", recipe)
    assert wide(result.program)
    assert run(tmp_path / "out", target)["bit_exact"]
