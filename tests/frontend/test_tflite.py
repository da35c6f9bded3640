"""TFLite models: the program gives what TFLite's interpreter gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from dfqgen import make_recipe
from dfqgen.compile import Compiled, compile_model
from dfqgen.errors import ModelFileError, UserError
from dfqgen.graph.ir import Array
from tests.frontend.tflite import TfliteNet, interpreted

RNG = np.random.default_rng(7)
SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3


def integers(*shape: int) -> Array:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def activation(net: TfliteNet, *shape: int, scale: float = 0.03, zero: int = -5, dtype: Any = np.int8) -> int:
    return net.tensor(shape, dtype, scale=scale, zero=zero)


ONE_BY_ONE = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
PLAIN = {"fusedActivationFunction": NONE}
ZERO: dict[str, Any] = {"scale": 0.03, "zero": -128}


def bias(net: TfliteNet, scales: Array, dtype: Any = np.int32) -> int:
    return net.constant(RNG.integers(-500, 500, len(scales)).astype(dtype), scale=scales)


def conv(net: TfliteNet, x: int, channels: int, out: int, **to: Any) -> int:
    """3x3 with a scale for each filter, RELU6; the input's scale is `step`."""
    scales = RNG.uniform(0.002, 0.01, out)
    step = to.pop("step", 0.03)
    weight = net.constant(integers(out, 3, 3, channels), scale=scales)
    added = bias(net, scales * step, np.int64 if to.get("dtype") is np.int16 else np.int32)
    options = ONE_BY_ONE | {"strideW": 2, "strideH": 2, "padding": SAME, "fusedActivationFunction": RELU6}
    y = activation(net, 1, 4, 4, out, **(ZERO | to))
    return net.operator("CONV_2D", (x, weight, added), y, record="Conv2DOptions", **options)


def pool(net: TfliteNet, kind: str, x: int, y: int, size: int, stride: int, padding: int) -> int:
    window = {"filterWidth": size, "filterHeight": size, "strideW": stride, "strideH": stride}
    return net.operator(kind, (x,), y, record="Pool2DOptions", padding=padding, **window, **PLAIN)


def classifier(net: TfliteNet, x: int) -> int:
    """What image classifiers for microcontrollers are made of."""
    a = conv(net, x, 3, 8)
    scales = RNG.uniform(0.002, 0.01, 8)
    inputs = (a, net.constant(integers(1, 3, 3, 8), scale=scales, axis=3), bias(net, scales * 0.03))
    b = activation(net, 1, 4, 4, 8, scale=0.04, zero=3)
    net.operator(
        "DEPTHWISE_CONV_2D", inputs, b, record="DepthwiseConv2DOptions", padding=SAME, depthMultiplier=1,
        **ONE_BY_ONE, **PLAIN,
    )  # fmt: skip
    c = activation(net, 1, 4, 4, 8, scale=0.05, zero=-30)
    net.operator("ADD", (a, b), c, record="AddOptions", fusedActivationFunction=RELU)
    d = pool(net, "AVERAGE_POOL_2D", c, activation(net, 1, 1, 1, 8, scale=0.05, zero=-30), 4, 4, VALID)
    e = activation(net, 1, 8, scale=0.05, zero=-30)
    net.operator("RESHAPE", (d, net.constant(np.array([1, 8], np.int32))), e, record="ReshapeOptions")
    added = net.constant(RNG.integers(-500, 500, 5).astype(np.int32), scale=0.05 * 0.01)
    inputs = (e, net.constant(integers(5, 8), scale=0.01), added)
    f = activation(net, 1, 5, scale=0.1, zero=3)
    net.operator("FULLY_CONNECTED", inputs, f, record="FullyConnectedOptions", **PLAIN)
    return f


def scores(net: TfliteNet, x: int) -> int:
    y = activation(net, 1, 8, 8, 3, scale=1 / 256, zero=-128)
    return net.operator("SOFTMAX", (x,), y, record="SoftmaxOptions", beta=1.0)


def mixed(net: TfliteNet, x: int) -> int:
    """Functions, a product, a join, a selection, a border, a maximum, a mean, a change of type."""
    a = conv(net, x, 3, 4)
    b = net.operator("LOGISTIC", (a,), activation(net, 1, 4, 4, 4, scale=1 / 256, zero=-128))
    c = net.operator("MUL", (a, b), activation(net, 1, 4, 4, 4, **ZERO), record="MulOptions", **PLAIN)
    d = activation(net, 1, 4, 4, 8, **ZERO)
    net.operator("CONCATENATION", (c, a), d, record="ConcatenationOptions", axis=3, **PLAIN)
    ends = [net.constant(np.array(v, np.int32)) for v in ([0, 1, 0, 2], [1, 4, 4, 8], [1, 1, 2, 1])]
    e = activation(net, 1, 3, 2, 6, **ZERO)
    net.operator("STRIDED_SLICE", (d, *ends), e, record="StridedSliceOptions")
    widths = net.constant(np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32))
    f = net.operator("PAD", (e, widths), activation(net, 1, 4, 4, 6, **ZERO), record="PadOptions")
    g = pool(net, "MAX_POOL_2D", f, activation(net, 1, 2, 2, 6, **ZERO), 3, 2, SAME)
    h = activation(net, 1, 6, scale=0.0213, zero=-120)
    axes = net.constant(np.array([1, 2], np.int32))
    net.operator("MEAN", (g, axes), h, record="ReducerOptions", keepDims=False)
    y = activation(net, 1, 6, scale=0.0317, zero=5)
    return net.operator("QUANTIZE", (h,), y, record="QuantizeOptions")


def compiled(
    folder: Path, body: Callable[[TfliteNet, int], int], *shape: int, **x: Any
) -> tuple[Compiled, Path]:
    net = TfliteNet()
    source = activation(net, *shape, **x)
    path = net.save(folder, [source], [body(net, source)])
    return compile_model(path, make_recipe()), path


def differences(result: Compiled, path: Path, count: int = 24) -> Array:
    """Steps between the program's integers and the interpreter's, on random integers."""
    program = result.program
    port, output = program.inputs[0], program.outputs[0]
    tensor = program.tensors[port.tensor]
    ends = tensor.qtype.dtype
    x = RNG.integers(ends.minimum, ends.maximum + 1, (count, *tensor.shape[1:])).astype(ends.carrier)
    (expected,) = interpreted(path, {0: x})
    found = program.play({port.tensor: x})[output.tensor]
    off: Array = np.abs(found.astype(np.int64) - expected.astype(np.int64))
    return off


@pytest.mark.parametrize("body", [classifier, scores, mixed])
def test_integers_are_tflites(tmp_path: Path, body: Callable[[TfliteNet, int], int]) -> None:
    result, path = compiled(tmp_path, body, 1, 8, 8, 3)
    off = differences(result, path, count=64)
    assert off.max() <= 1
    assert np.mean(off == 0) >= 0.75  # TFLite rounds twice in each layer, and ties away from zero
    steps = {note.step: note.effect for note in result.quantized.notes}
    assert "ours" not in steps.get("weights of the model", "")
    assert "ours" not in steps["types of the model"]
    assert result.network.graph.inputs[0].permutation is None


def test_activations_of_sixteen_bits_are_tflites(tmp_path: Path) -> None:
    def body(net: TfliteNet, x: int) -> int:
        return conv(net, x, 3, 8, dtype=np.int16, scale=3e-4, zero=0, step=1e-4)

    result, path = compiled(tmp_path, body, 1, 8, 8, 3, dtype=np.int16, scale=1e-4, zero=0)
    off = differences(result, path)
    assert off.max() <= 1
    assert np.mean(off == 0) > 0.9


def agree(path: Path, samples: Array) -> None:
    """The float graph is the interpreter's, and compiles."""
    result = compile_model(path, make_recipe(input_range=(-2.0, 2.0)))
    graph = result.network.graph
    (expected,), (found,) = (
        interpreted(path, {0: samples}),
        graph.evaluate({graph.inputs[0].tensor: samples}).values(),
    )
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    assert result.program.ops


def test_float_models_are_quantized_like_any_other(tmp_path: Path) -> None:
    net = TfliteNet()
    x, y = (net.tensor(shape, np.float32) for shape in ((1, 8, 8, 3), (1, 8, 8, 4)))
    half = net.constant(RNG.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float16))
    weight = net.operator(
        "DEQUANTIZE", (half,), net.tensor((4, 3, 3, 3), np.float32), record="DequantizeOptions"
    )
    added = net.constant(RNG.normal(size=4).astype(np.float32))
    options = ONE_BY_ONE | {"padding": SAME, "fusedActivationFunction": RELU}
    net.operator("CONV_2D", (x, weight, added), y, record="Conv2DOptions", **options)
    path = net.save(tmp_path, [x], [y])
    agree(path, RNG.uniform(-2, 2, (8, 8, 8, 3)).astype(np.float32))


@pytest.mark.parametrize("peepholes", [False, True])
def test_a_sequence_goes_through_an_lstm(tmp_path: Path, peepholes: bool) -> None:
    net = TfliteNet()
    x, y = (net.tensor(shape, np.float32) for shape in ((1, 6, 5), (1, 6, 4)))
    weights = [net.constant(RNG.normal(0, 0.5, (4, 5)).astype(np.float32)) for _ in range(4)]
    recurrent = [net.constant(RNG.normal(0, 0.5, (4, 4)).astype(np.float32)) for _ in range(4)]
    biases = [net.constant(RNG.normal(0, 0.5, 4).astype(np.float32)) for _ in range(4)]
    states = [net.tensor((1, 4), np.float32, variable=True) for _ in range(2)]
    eyes = [net.constant(RNG.normal(0, 0.5, 4).astype(np.float32)) if peepholes else -1 for _ in range(3)]
    inputs = [x, *weights, *recurrent, *eyes, *biases, -1, -1, *states, -1, -1, -1, -1]
    net.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, y, record="UnidirectionalSequenceLSTMOptions",
                 fusedActivationFunction=4, timeMajor=False, cellClip=0.0, projClip=0.0)  # fmt: skip
    path = net.save(tmp_path, [x], [y])
    agree(path, RNG.uniform(-2, 2, (1, 6, 5)).astype(np.float32))


def test_reversals_products_and_differences_of_floats(tmp_path: Path) -> None:
    net = TfliteNet()

    def real(*shape: int) -> int:
        return net.tensor(shape, np.float32)

    x, last = real(1, 4, 5), net.constant(np.array([2], np.int32))
    turned = net.operator("REVERSE_V2", (x, last), real(1, 4, 5), record="ReverseV2Options")
    apart = net.operator("SQUARED_DIFFERENCE", (x, turned), real(1, 4, 5), record="SquaredDifferenceOptions")
    record = {"record": "BatchMatMulOptions", "adjX": False, "adjY": True}
    product = net.operator("BATCH_MATMUL", (apart, x), real(1, 4, 4), **record)
    y = net.operator("REDUCE_MIN", (product, last), real(1, 4), record="ReducerOptions", keepDims=False)
    agree(net.save(tmp_path, [x], [y]), RNG.uniform(-2, 2, (1, 4, 5)).astype(np.float32))


def svdf(net: TfliteNet, x: int) -> int:
    """Four units of two filters each over 6 steps."""
    weights = [
        net.constant(RNG.normal(0, 0.3, shape).astype(np.float32)) for shape in ((8, 10), (8, 6), (4,))
    ]
    memory, y = net.tensor((1, 48), np.float32, variable=True), net.tensor((1, 4), np.float32)
    return net.operator("SVDF", (x, *weights, memory), y, record="SVDFOptions", rank=2,
                        fusedActivationFunction=RELU)  # fmt: skip


def integer_svdf(net: TfliteNet, x: int) -> int:
    """The same with filters' results and weights over time of int16."""
    time = net.constant(RNG.integers(-32767, 32768, (8, 6)).astype(np.int16), scale=1e-5)
    weights = net.constant(integers(8, 10), scale=0.01), time
    memory = net.tensor((1, 48), np.int16, scale=4e-3, variable=True)
    added = net.constant(RNG.integers(-500, 500, 4).astype(np.int32), scale=4e-3 * 1e-5)
    y = activation(net, 1, 4, scale=0.02, zero=-128)  # as TFLite wants it of a ReLU
    return net.operator("SVDF", (x, *weights, added, memory), y, record="SVDFOptions", rank=2,
                        fusedActivationFunction=RELU)  # fmt: skip


def test_integers_of_an_svdf_are_tflites(tmp_path: Path) -> None:
    """But for the weights over time, which are int8 here."""
    result, path = compiled(tmp_path, integer_svdf, 1, 10)
    steps = {note.step: note.effect for note in result.quantized.notes}
    assert steps["weights of the model"].startswith("1 of 2 layers as the model has them")
    assert "ours" not in steps["types of the model"]
    assert len(result.program.states) == 1
    off = differences(result, path, count=64)
    assert off.max() <= 2
    assert np.mean(off <= 1) >= 0.95


def test_an_svdf_keeps_its_filters_results(tmp_path: Path) -> None:
    """Step by step, as the interpreter keeps them."""
    net = TfliteNet()
    x = net.tensor((1, 10), np.float32)
    path = net.save(tmp_path, [x], [svdf(net, x)])
    frames = RNG.uniform(-2, 2, (32, 10)).astype(np.float32)
    result = compile_model(path, make_recipe(input_range=(-2.0, 2.0)))
    graph = result.network.graph
    assert [(state.input, state.output) for state in graph.states]
    (expected,) = interpreted(path, {0: frames})
    kept: dict[str, Array] = {before.tensor: np.zeros(before.shape, np.float32) for before, _ in graph.kept}
    (port,), (output,) = graph.fed, graph.given
    for frame, wanted in zip(frames, expected, strict=True):
        found = graph.evaluate({port.tensor: frame[None], **kept})
        kept = {before.tensor: found[after.tensor] for before, after in graph.kept}
        np.testing.assert_allclose(found[output.tensor].ravel(), wanted, atol=1e-5)


def test_operators_that_are_not_known_are_named(tmp_path: Path) -> None:
    def body(net: TfliteNet, x: int) -> int:
        return net.operator("CUMSUM", (x, net.constant(np.array(1, np.int32))), activation(net, 1, 8, 8, 3),
                            record="CumsumOptions")  # fmt: skip

    with pytest.raises(UserError) as caught:
        compiled(tmp_path, body, 1, 8, 8, 3)
    assert "CUMSUM" in str(caught.value)


def test_damaged_files_are_errors_that_name_the_file(tmp_path: Path) -> None:
    _, path = compiled(tmp_path, classifier, 1, 8, 8, 3)
    data = path.read_bytes()
    damaged = tmp_path / "damaged.tflite"
    seen = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        broken = bytearray(data)
        for place in generator.integers(8, len(data), 12):
            broken[place] = int(generator.integers(256))
        damaged.write_bytes(bytes(broken[: generator.integers(64, len(data))] if seed % 2 else broken))
        try:
            compile_model(damaged)
        except ModelFileError as error:
            seen += str(damaged) in str(error) or bool(error.message)
        except UserError:
            pass
    assert seen
