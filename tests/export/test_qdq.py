"""Programs as QDQ ONNX: onnxruntime gives the same integers, and reading it gives the same program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dfqgen import make_recipe
from dfqgen.commands import build, export
from dfqgen.compile import compile_model
from dfqgen.errors import UserError
from dfqgen.export import compare_with_onnxruntime, qdq_model
from dfqgen.export.nodes import weight_scales
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import Array, IntType, QType, Requantize
from dfqgen.graph.reference import session_of
from dfqgen.ops.pool import QAveragePool
from tests.frontend.nets import Net
from tests.models import DIGITS, tiny

RNG = np.random.default_rng(5)


def weights(*shape: int) -> Array:
    return RNG.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)


def sums(net: Net, x: str) -> str:
    """Sums, a product, the larger, a border, a join, a shuffle, an average and the largest of windows."""
    a = net.node("Conv", x, weights(8, 4, 3, 3), weights(8), pads=[1, 1, 1, 1])
    b = net.node("Clip", net.node("Conv", x, weights(8, 4, 1, 1)), np.float32(0), np.float32(6))
    c = net.node("Mul", net.node("Add", a, b), net.node("Sub", a, b))
    c = net.node("Max", c, b)
    c = net.node("Concat", c, net.node("PRelu", a, RNG.uniform(0, 0.5, (8, 1, 1)).astype(np.float32)), axis=1)
    c = net.node("Gather", c, np.array([3, 1, 15, 0, 7, 2]), axis=1)
    c = net.node("MaxPool", c, kernel_shape=[2, 2], strides=[2, 2])
    return net.node("AveragePool", c, kernel_shape=[2, 2], pads=[0, 0, 1, 1])


def functions(net: Net, x: str) -> str:
    y = net.node("Sigmoid", net.node("Conv", x, weights(6, 4, 3, 3), group=1))
    y = net.node("Mul", y, net.node("GlobalAveragePool", y))
    y = net.node("Transpose", net.node("Reshape", y, np.array([1, 6, 36])), perm=[0, 2, 1])
    return net.node("Softmax", net.node("Gelu", net.node("MatMul", y, weights(6, 5))))


def equalized(net: Net, x: str) -> str:
    """Clips that equalization gives every channel its own bound of."""
    y = net.node("Clip", net.node("Conv", x, 9 * weights(8, 4, 1, 1)), np.float32(0), np.float32(6))
    y = net.node("Clip", net.node("Conv", y, weights(8, 1, 3, 3), group=8), np.float32(0), np.float32(6))
    return net.node("LogSoftmax", net.node("Flatten", net.node("Conv", y, weights(5, 8, 6, 6))))


def positions(net: Net, x: str) -> str:
    y = net.node("Conv", x, weights(6, 4, 3, 3), strides=[2, 2])
    return net.node("Cast", net.node("ArgMax", y, axis=1), to=1)


OFTEN = {"Softmax": 0.2, "WideSoftmax": 0.2, "LogSoftmax": 0.2}
"""Tables of exponentials have few values here."""

NETS: list[Callable[[Net, str], str]] = [sums, functions, equalized, positions]


def compiled(folder: Path, body: Callable[[Net, str], str], **recipe: Any) -> Program:
    net = Net(20)
    net.output(body(net, net.input(1, 4, 8, 8)))
    recipe = {"activations": "int8", "input_range": (-2.0, 2.0)} | recipe
    return compile_model(net.save(folder), make_recipe(**recipe)).program


def random_integers(program: Program, count: int = 6) -> dict[str, Array]:
    found = {}
    for port in program.inputs:
        tensor = program.tensors[port.tensor]
        dtype = tensor.qtype.dtype
        values = RNG.integers(dtype.minimum, dtype.maximum + 1, (count, *tensor.shape[1:]))
        found[port.tensor] = values.astype(dtype.carrier)
    return found


def read_again(program: Program, folder: Path) -> Program:
    path = folder / "again.onnx"
    onnx.save(qdq_model(program), path)
    return compile_model(path).program


def check(program: Program, folder: Path, ties: float = 0.01) -> None:
    """Read again it gives the same bits; each layer of onnxruntime's is at most a step off, as rarely as
    `ties` are, which it rounds to even.
    """
    again = read_again(program, folder)
    inputs = random_integers(program)
    renamed = {
        there.tensor: inputs[here.tensor] for here, there in zip(program.inputs, again.inputs, strict=True)
    }
    expected, found = program.run(inputs), again.run(renamed)
    for here, there in zip(program.outputs, again.outputs, strict=True):
        assert (here.name, here.permutation) == (there.name, there.permutation)
        assert program.tensors[here.tensor].qtype == again.tensors[there.tensor].qtype
        np.testing.assert_array_equal(found[there.tensor], expected[here.tensor])
    for layer in compare_with_onnxruntime(program, inputs):
        assert layer.largest <= 1
        assert layer.differ <= layer.values * OFTEN.get(layer.operator, ties)


@pytest.mark.parametrize("body", NETS, ids=lambda body: body.__name__)
def test_a_program_comes_back_as_it_was(tmp_path: Path, body: Callable[[Net, str], str]) -> None:
    check(compiled(tmp_path, body), tmp_path)


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_weights_of_few_bits_come_back(tmp_path: Path, bits: int) -> None:
    program = compiled(tmp_path, equalized, bits=str(bits), low_ends=True)
    check(program, tmp_path)
    stored = {t.data_type for t in qdq_model(program).graph.initializer if len(t.dims) == 4}
    assert (onnx.TensorProto.INT4 in stored) == (bits <= 4)


def test_a_softmax_of_sixteen_bits_comes_back(tmp_path: Path) -> None:
    def body(net: Net, x: str) -> str:
        return net.node("Softmax", net.node("Flatten", net.node("Conv", x, 3 * weights(5, 4, 8, 8))))

    program = compiled(tmp_path, body, activations="int16")
    assert "QWideSoftmax" in {type(op).__name__ for op in program.ops}
    check(program, tmp_path)


def test_sums_of_sixteen_bits_are_onnxruntimes(tmp_path: Path) -> None:
    def body(net: Net, x: str) -> str:
        first, second = (net.node("Conv", x, scale * weights(4, 4, 1, 1)) for scale in (1.0, 0.37))
        return net.node("Relu", net.node("Add", first, second))

    program = compiled(tmp_path, body, activations="int16")
    assert "QAdd" in {type(op).__name__ for op in program.ops}
    check(program, tmp_path, ties=0.01)


def test_powers_of_two_and_one_scale_for_all_come_back(tmp_path: Path) -> None:
    check(compiled(tmp_path, sums, scales="power-of-two", per_tensor=True), tmp_path, ties=0.3)


def average_of(program: Program) -> QAveragePool:
    (pool,) = (op for op in program.ops if isinstance(op, QAveragePool))
    return pool


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (8, 8), (12, 10), (14, 14)], ids=str)
@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_halves_of_averages_are_the_programs(tmp_path: Path, size: tuple[int, int], direction: int) -> None:
    """Whichever way the multiplier sends them."""
    net = Net(20)
    coding = np.array(0.02, np.float32), np.int8(5)
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", net.input(1, 4, *size), *coding), *coding)
    mean = net.node("QuantizeLinear", net.node("AveragePool", x, kernel_shape=size), *coding)
    net.output(net.node("DequantizeLinear", mean, *coding))
    program = compile_model(net.save(tmp_path)).program
    pool = average_of(program)
    assert pool.even_count == np.prod(size)
    pool = replace(pool, multiplier=pool.multiplier + direction, even_count=0)
    program = replace(program, ops=tuple(pool if op.name == pool.name else op for op in program.ops))
    layers = compare_with_onnxruntime(program, random_integers(program, 200))
    layer = next(layer for layer in layers if layer.layer == pool.name)
    assert layer.largest <= 1
    assert layer.differ <= layer.values / 100
    assert average_of(read_again(program, tmp_path)).even_count == 0


def test_the_whole_model_takes_and_gives_what_the_original_does(tmp_path: Path) -> None:
    path = tiny(tmp_path / "tiny.onnx")
    session = session_of(qdq_model(compile_model(path).program).SerializeToString(), "it")
    original = onnx.load(path).graph
    assert [value.name for value in session.get_inputs()] == [value.name for value in original.input]
    assert [value.name for value in session.get_outputs()] == [value.name for value in original.output]
    shape = [d.dim_value or 1 for d in original.input[0].type.tensor_type.shape.dim]
    assert session.get_inputs()[0].shape == shape


def test_a_wide_layer_without_a_form_is_refused_with_the_way_out(tmp_path: Path) -> None:
    program = compiled(tmp_path, sums, activations="int16")
    with pytest.raises(UserError) as error:
        qdq_model(program)
    assert "--activations int8" in str(error.value.hint)
    qdq_model(compiled(tmp_path, sums))


def test_scales_of_weights_give_the_multipliers_again() -> None:
    x, y = QType(IntType.INT8, float(np.float32(0.037)), 3), QType(IntType.INT8, float(np.float32(0.11)), -9)
    scale = (10.0 ** RNG.uniform(-6, -1, 200)).astype(np.float32)
    form = Requantize.from_scale(scale.astype(np.float64) * x.scale / y.scale, 0, -128, 127)
    found = weight_scales(form, x, y).astype(np.float64)
    again = Requantize.from_scale(found * x.scale / y.scale, 0, -128, 127)
    np.testing.assert_array_equal(again.multiplier, form.multiplier)
    assert again.pre_shift == form.pre_shift


def test_reals_in_are_quantized_in_the_model_and_sums_out_are_refused(tmp_path: Path) -> None:
    def body(net: Net, x: str) -> str:
        return net.node("Conv", x, weights(5, 4, 8, 8))

    program = compiled(tmp_path, body, input_type="float32")
    x = RNG.normal(0, 0.7, (6, *program.tensors[program.inputs[0].tensor].shape[1:])).astype(np.float32)
    layers = compare_with_onnxruntime(program, {program.inputs[0].tensor: x})
    assert layers[0].operator == "Quantize"
    assert sum(layer.differ for layer in layers) == 0
    (expected,) = program.run({program.inputs[0].tensor: x}).values()
    again = read_again(program, tmp_path)
    qtype = again.tensors[again.inputs[0].tensor].qtype
    (found,) = again.run({again.inputs[0].tensor: qtype.quantize(x)}).values()
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match="is int32, which QuantizeLinear does not give") as caught:
        qdq_model(compiled(tmp_path, body, output_type="float32"))
    assert "--output-type" in str(caught.value)


def enlarged(net: Net, x: str) -> str:
    y = net.node("Conv", x, weights(4, 4, 1, 1))
    return net.node("Resize", y, "", np.array([1, 1, 1.5, 1.5], np.float32), mode="linear")


def recurrent(net: Net, x: str) -> str:
    sequence = net.node("Reshape", x, np.array([8, 1, 32]))
    return net.node("LSTM", sequence, weights(1, 12, 32), weights(1, 12, 3), hidden_size=3)


@pytest.mark.parametrize("body", [enlarged, recurrent])
def test_what_has_no_such_form_is_refused_by_name(tmp_path: Path, body: Callable[[Net, str], str]) -> None:
    program = compiled(tmp_path, body)
    with pytest.raises(UserError, match="has no form between QuantizeLinear and DequantizeLinear"):
        qdq_model(program)


def test_a_build_is_exported_and_says_what_differs(tmp_path: Path) -> None:
    recipe = make_recipe(input_std=(16.0,), input_range=(0.0, 16.0))
    result = build(DIGITS, tmp_path / "digits", recipe, qdq=True)
    file = tmp_path / "more" / "digits.onnx"
    facts = export(tmp_path / "digits", file)
    assert file.read_bytes() == (tmp_path / "digits" / "digits.qdq.onnx").read_bytes()
    assert facts["layers"] == result.facts["qdq"]["layers"]
    convolutions = [layer for layer in facts["layers"] if layer["operator"] == "Conv2D"]
    assert len(convolutions) == 8
    assert all(layer["differ"] <= layer["values"] / 100 for layer in convolutions)
    with pytest.raises(UserError, match="does not end in"):
        export(tmp_path / "digits", tmp_path / "digits.tflite")
