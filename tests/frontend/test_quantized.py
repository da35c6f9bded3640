"""Models that are quantized already: their types and integers are kept, and the program is onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dfqgen import make_recipe
from dfqgen.compile import Compiled, compile_model
from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.lookup import QLookup
from dfqgen.samples.noise import random_samples
from dfqgen.verify.compare import compare_outputs
from tests.frontend.nets import Net

RNG = np.random.default_rng(11)
MICROSOFT = "com.microsoft"


def scale(value: float) -> Array:
    return np.array(value, np.float32)


def integers(*shape: int, dtype: str = "int8") -> Array:
    ends = np.iinfo(dtype)
    return RNG.integers(ends.min, ends.max + 1, shape).astype(dtype)


def quantized(net: Net, tensor: str, step: float, zero: Any) -> str:
    """QuantizeLinear, DequantizeLinear."""
    coded = net.node("QuantizeLinear", tensor, scale(step), zero)
    return net.node("DequantizeLinear", coded, scale(step), zero)


def weight(net: Net, *shape: int, axis: int = 0, per_channel: bool = True) -> str:
    count = shape[axis] if per_channel else 1
    scales = RNG.uniform(0.002, 0.02, count).astype(np.float32)
    shaped = (count,) if per_channel else ()
    zeros = np.zeros(shaped, np.int8)
    return net.node("DequantizeLinear", integers(*shape), scales.reshape(shaped), zeros, axis=axis)


def bias(net: Net, count: int, step: float) -> str:
    values = RNG.integers(-3000, 3000, count).astype(np.int32)
    return net.node("DequantizeLinear", values, scale(step))


def agreeing(net: Net, folder: Path, same: float = 0.995, **recipe: Any) -> Compiled:
    """The compiled network, compared with onnxruntime: never more than a step off."""
    compiled = compile_model(net.save(folder), make_recipe(**recipe))
    network, program = compiled.network, compiled.program
    samples = random_samples(network.graph, network.meanings, 24)
    found = compare_outputs(program, network.runner(), program.run, network.normalize(samples.raw))
    for output in found:
        assert output.within_step == 1.0
        assert output.same_step is not None
        assert output.same_step >= same
    return compiled


def convolutions(compiled: Compiled) -> list[QConv2D]:
    return [op for op in compiled.program.ops if isinstance(op, QConv2D)]


def note(compiled: Compiled, step: str) -> str:
    return next(note.effect for note in compiled.quantized.notes if note.step == step)


def small_net(zero: Any, out_zero: Any, *, opset: int = 17, step: float = 0.02, w: Any = None) -> Net:
    """Conv, Relu and a fully connected layer, as onnxruntime's tools write them."""
    net = Net(opset)
    x = quantized(net, net.input(1, 3, 8, 8), step, zero)
    kernel = weight(net, 6, 3, 3, 3) if w is None else w(net)
    y = net.node("Conv", x, kernel, bias(net, 6, step * 0.01), pads=[1, 1, 1, 1])
    y = quantized(net, net.node("Relu", y), 0.05, out_zero)
    y = quantized(net, net.node("GlobalAveragePool", y), 0.03, out_zero)
    y = net.node("Gemm", net.node("Flatten", y), weight(net, 5, 6), transB=1)
    return net.output(quantized(net, y, 0.2, zero))


def test_types_and_integers_are_the_models_own(tmp_path: Path) -> None:
    compiled = agreeing(small_net(np.int8(3), np.int8(-128)), tmp_path)
    program = compiled.program
    assert program.tensors[program.inputs[0].tensor].qtype == QType(IntType.INT8, float(scale(0.02)), 3)
    first = convolutions(compiled)[0]
    assert program.tensors[first.output].qtype == QType(IntType.INT8, float(scale(0.05)), -128)
    model = onnx.load(tmp_path / "net.onnx")
    stated = next(t for t in model.graph.initializer if list(t.dims) == [6, 3, 3, 3])
    np.testing.assert_array_equal(first.weight, onnx.numpy_helper.to_array(stated).transpose(0, 2, 3, 1))
    assert note(compiled, "types of the model").endswith("tensors as the model has them")
    assert note(compiled, "weights of the model") == "2 of 2 layers as the model has them"
    assert not compiled.warnings


@pytest.mark.parametrize("zero", [np.uint8(100), np.int16(0), np.uint16(32768)], ids=lambda z: z.dtype.name)
def test_activations_of_other_types_move_exactly(tmp_path: Path, zero: Any) -> None:
    wide = zero.dtype.itemsize == 2
    step = 0.0001 if wide else 0.02
    net = Net(21)
    x = quantized(net, net.input(1, 3, 8, 8), step, zero)
    y = net.node("Relu", net.node("Conv", x, weight(net, 6, 3, 3, 3), bias(net, 6, step * 0.01)))
    net.output(quantized(net, y, 2.5 * step, zero))
    # Some tens of thousands of steps: a float32 sum, and a multiplier of 31 bits, are off now and then.
    compiled = agreeing(net, tmp_path, same=0.98 if wide else 0.995)
    qtype = compiled.program.tensors[compiled.program.inputs[0].tensor].qtype
    assert qtype.zero_point == int(zero) - {"uint8": 128, "int16": 0, "uint16": 32768}[zero.dtype.name]
    assert qtype.dtype is (IntType.INT16 if wide else IntType.INT8)


@pytest.mark.parametrize("zero", [130, 0, 255])
@pytest.mark.parametrize("groups", [1, 3])
def test_asymmetric_weights_are_exact(tmp_path: Path, zero: int, groups: int) -> None:
    def asymmetric(net: Net) -> str:
        values = integers(6, 3 // groups, 3, 3, dtype="uint8")
        return net.node("DequantizeLinear", values, scale(0.004), np.uint8(zero))

    net = Net()
    x = quantized(net, net.input(1, 3, 8, 8), 0.02, np.int8(3))
    y = net.node("Conv", x, asymmetric(net), group=groups)
    net.output(quantized(net, y, 0.1, np.int8(0)))
    compiled = agreeing(net, tmp_path)
    (conv,) = convolutions(compiled)
    real = np.zeros((6, 3, 3, 3 // groups), np.int64)
    for part in np.split(conv.weight, conv.weight.shape[3] // real.shape[3], axis=3):
        real += part
    assert real.min() == -zero + int((real + zero).min())
    assert 0 <= (real + zero).min() <= (real + zero).max() <= 255
    assert note(compiled, "weights of the model") == "1 of 1 layers as the model has them"


def test_weights_of_four_bits_stay_so(tmp_path: Path) -> None:
    def narrow(net: Net) -> str:
        values = helper.make_tensor("narrow", TensorProto.INT4, (6, 3, 3, 3), RNG.integers(-8, 8, 162))
        net.initializers.append(values)
        return net.node("DequantizeLinear", "narrow", RNG.uniform(0.01, 0.05, 6).astype(np.float32), axis=0)

    compiled = agreeing(small_net(np.int8(3), np.int8(-128), opset=21, w=narrow), tmp_path)
    assert [conv.weight_type for conv in convolutions(compiled)] == [IntType.INT4, IntType.INT8]
    assert convolutions(compiled)[0].weight.min() == -8


def test_scales_of_blocks_get_integers_of_ours(tmp_path: Path) -> None:
    net = Net(21)
    x = quantized(net, net.input(1, 8), 0.02, np.int8(0))
    blocks = net.node(
        "DequantizeLinear", integers(4, 8), RNG.uniform(0.01, 0.02, (4, 2)).astype(np.float32), axis=1,
        block_size=4,
    )  # fmt: skip
    net.output(quantized(net, net.node("Gemm", x, blocks, transB=1), 0.02, np.int8(0)))
    compiled = compile_model(net.save(tmp_path))
    assert "0 of 1 layers as the model has them; ours: Gemm" in note(compiled, "weights of the model")


def test_parts_in_float_get_types_of_ours(tmp_path: Path) -> None:
    net = Net()
    x = quantized(net, net.input(1, 3, 8, 8), 0.02, np.int8(3))
    y = net.node("Conv", x, weight(net, 6, 3, 3, 3), name="first")
    y = net.node("Conv", net.node("Relu", y), RNG.normal(size=(4, 6, 1, 1)).astype(np.float32), name="island")
    net.output(quantized(net, y, 0.3, np.int8(0)))
    compiled = compile_model(net.save(tmp_path))
    assert note(compiled, "types of the model").startswith("2 of 3 tensors as the model has them; ours: ")
    assert note(compiled, "weights of the model") == "1 of 2 layers as the model has them; ours: island"
    output = compiled.program.tensors[compiled.program.outputs[0].tensor]
    assert output.qtype == QType(IntType.INT8, float(scale(0.3)), 0)


def test_a_tensor_rounded_for_one_reader_is_so_for_all(tmp_path: Path) -> None:
    net = Net()
    x = quantized(net, net.input(1, 4, 6, 6), 0.02, np.int8(0))
    y = net.node("Conv", x, weight(net, 4, 4, 1, 1))
    first, second = quantized(net, y, 0.02, np.int8(5)), quantized(net, y, 0.02, np.int8(5))
    z = net.node("Add", net.node("Conv", first, weight(net, 4, 4, 1, 1)), second)
    net.output(quantized(net, net.node("Add", z, y), 0.05, np.int8(0)))
    compiled = compile_model(net.save(tmp_path))
    rounding = [node.op for node in compiled.network.graph.nodes if isinstance(node.op, FakeQuantize)]
    assert len(rounding) == 3
    assert len(convolutions(compiled)) == 2


def test_moves_between_the_rounding_and_its_reader_cost_nothing(tmp_path: Path) -> None:
    net = Net()
    x = quantized(net, net.input(1, 4, 6, 6), 0.02, np.int8(0))
    y = net.node("MaxPool", net.node("Conv", x, weight(net, 4, 4, 1, 1)), kernel_shape=[2, 2])
    coded = net.node("QuantizeLinear", y, scale(0.02), np.int8(5))
    coded = net.node("Transpose", net.node("Reshape", coded, np.array([1, 4, 25])), perm=[0, 2, 1])
    y = net.node("DequantizeLinear", coded, scale(0.02), np.int8(5))
    net.output(quantized(net, y, 0.02, np.int8(5)))
    compiled = agreeing(net, tmp_path)
    assert not [op for op in compiled.program.ops if isinstance(op, QLookup)]


def test_two_types_of_one_tensor_are_a_change_of_type(tmp_path: Path) -> None:
    net = Net()
    x = quantized(net, net.input(1, 4, 6, 6), 0.02, np.int8(0))
    pooled = quantized(net, net.node("MaxPool", x, kernel_shape=[2, 2]), 0.03, np.int8(-7))
    net.output(pooled)
    compiled = agreeing(net, tmp_path)
    assert [type(op).__name__ for op in compiled.program.ops] == ["QLookup", "QMaxPool"]


def test_joined_tensors_change_to_the_type_of_the_whole(tmp_path: Path) -> None:
    net = Net()
    x = quantized(net, net.input(1, 4, 6, 6), 0.02, np.int8(0))
    parts = [
        quantized(net, net.node("Conv", x, weight(net, 4, 4, 1, 1)), step, np.int8(5))
        for step in (0.02, 0.03)
    ]
    net.output(quantized(net, net.node("Concat", *parts, axis=1), 0.03, np.int8(5)))
    compiled = agreeing(net, tmp_path)
    assert [type(op).__name__ for op in compiled.program.ops].count("QLookup") == 1


def coded_net(dtype: int) -> Net:
    """Integers in, integers out: no QuantizeLinear at the input, no DequantizeLinear at the output."""
    net = Net()
    zero = helper.tensor_dtype_to_np_dtype(dtype).type(7)
    x = net.node("DequantizeLinear", net.input(1, 3, 8, 8, dtype=dtype), scale(0.02), zero)
    y = net.node("QuantizeLinear", net.node("Conv", x, weight(net, 4, 3, 3, 3)), scale(0.05), zero)
    net.output(y)
    net.outputs[0].type.tensor_type.elem_type = dtype
    return net


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.INT8])
def test_ports_of_integers_hold_the_models_own(tmp_path: Path, dtype: int) -> None:
    compiled = agreeing(coded_net(dtype), tmp_path)
    port = compiled.network.graph.outputs[0]
    assert port.coding is not None
    assert port.coding.qtype == compiled.program.tensors[port.tensor].qtype
    np.testing.assert_array_equal(port.coding.encode(port.coding.decode(np.arange(256) + port.coding.lo)),
                                  np.arange(256) + port.coding.lo)  # fmt: skip


def test_a_batch_normalization_between_two_roundings_is_exact(tmp_path: Path) -> None:
    """It is a layer of one weight a channel, whose bias is a whole multiple of that weight's scale."""
    net = Net()
    x = quantized(net, net.input(1, 64, 2, 2), 0.02, np.int8(14))
    numbers = (RNG.uniform(0.5, 2, 64), RNG.normal(0, 1, 64), RNG.normal(0, 1, 64), RNG.uniform(0.1, 2, 64))
    y = net.node("BatchNormalization", x, *(n.astype(np.float32) for n in numbers))
    net.output(quantized(net, net.node("Relu", y), 0.011, np.int8(-128)))
    program = agreeing(net, tmp_path, same=0.9995).program
    integers = program.tensors[program.inputs[0].tensor]
    every = np.broadcast_to(np.arange(-128, 128, dtype=np.int8)[:, None, None, None], (256, 2, 2, 64))
    (found,) = program.run({integers.name: every}).values()
    gamma, beta, mean, variance = numbers
    real = (integers.qtype.dequantize(every) - mean) * gamma / np.sqrt(variance + 1e-5) + beta
    expected = program.tensors[program.outputs[0].tensor].qtype.quantize(real)
    assert np.mean(found != expected) < 0.0005


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (8, 8), (5, 5), (12, 10)], ids=str)
def test_averages_half_way_go_to_the_even_integer(tmp_path: Path, size: tuple[int, int]) -> None:
    net = Net()
    x = quantized(net, net.input(1, 3, *size), 0.02, np.int8(5))
    net.output(quantized(net, net.node("GlobalAveragePool", x), 0.02, np.int8(5)))
    program = compile_model(net.save(tmp_path)).program
    (port,), (output,) = program.inputs, program.outputs
    values = RNG.integers(-128, 128, (512, *size, 3))
    found = program.run({port.tensor: values.astype(np.int8)})[output.tensor]
    # What lies half way is exact in float64.
    expected = np.rint((values - 5).sum(axis=(1, 2)) / float(np.prod(size))) + 5
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


# --- operators on integers ---


def input_and_coding(net: Net, *shape: int) -> tuple[str, Array, Any]:
    step, zero = scale(0.02), np.uint8(120)
    return net.node("QuantizeLinear", net.input(*shape), step, zero), step, zero


def whole_bias(count: int) -> Array:
    return RNG.integers(-999, 999, count).astype(np.int32)


def finished(net: Net, coded: str) -> Net:
    return net.output(net.node("DequantizeLinear", coded, scale(0.05), np.uint8(90)))


def qlinear_conv(net: Net) -> Net:
    x = input_and_coding(net, 1, 4, 6, 6)
    scales = RNG.uniform(0.002, 0.02, 5).astype(np.float32)
    w = integers(5, 4, 3, 3), scales, np.zeros(5, np.int8)
    y = net.node("QLinearConv", *x, *w, scale(0.05), np.uint8(90), whole_bias(5))
    return finished(net, y)


def qlinear_matmul(net: Net) -> Net:
    x = input_and_coding(net, 1, 3, 8)
    scales = RNG.uniform(0.002, 0.02, 5).astype(np.float32)
    y = net.node("QLinearMatMul", *x, integers(8, 5), scales, np.zeros(5, np.int8), scale(0.05), np.uint8(90))
    return finished(net, y)


def qgemm(net: Net) -> Net:
    x = input_and_coding(net, 1, 8)
    w = integers(5, 8), scale(0.01), np.int8(0)
    y = net.node("QGemm", *x, *w, whole_bias(5), scale(0.05), np.uint8(90), transB=1, domain=MICROSOFT)
    return finished(net, y)


def qlinear_add(net: Net) -> Net:
    x = input_and_coding(net, 1, 4, 6, 6)
    return finished(net, net.node("QLinearAdd", *x, *x, scale(0.05), np.uint8(90), domain=MICROSOFT))


def qlinear_pool(net: Net) -> Net:
    x = input_and_coding(net, 1, 4, 6, 6)
    y = net.node("QLinearGlobalAveragePool", *x, scale(0.05), np.uint8(90), domain=MICROSOFT)
    return finished(net, y)


def qlinear_others(net: Net) -> Net:
    x = input_and_coding(net, 1, 4, 6, 6)
    y = net.node("QLinearLeakyRelu", *x, scale(0.03), np.uint8(100), alpha=0.3, domain=MICROSOFT)
    y = net.node("QLinearSigmoid", y, scale(0.03), np.uint8(100), scale(0.004), np.uint8(0), domain=MICROSOFT)
    y = net.node("QLinearMul", *x, y, scale(0.004), np.uint8(0), scale(0.03), np.uint8(90), domain=MICROSOFT)
    y = net.node("QLinearConcat", scale(0.05), np.uint8(90), *x, y, scale(0.03), np.uint8(90), axis=1,
                 domain=MICROSOFT)  # fmt: skip
    return finished(net, y)


def matmul_integer(net: Net) -> Net:
    coded, _, zero = input_and_coding(net, 1, 8)
    product = net.node("MatMulInteger", coded, integers(8, 5, dtype="uint8"), zero, np.uint8(125))
    real = net.node("Mul", net.node("Cast", product, to=TensorProto.FLOAT), scale(0.02 * 0.01))
    return net.output(
        quantized(net, net.node("Add", real, RNG.normal(size=5).astype(np.float32)), 0.05, np.int8(0))
    )


def conv_integer(net: Net) -> Net:
    coded, _, zero = input_and_coding(net, 1, 3, 8, 8)
    product = net.node("ConvInteger", coded, integers(5, 3, 3, 3), zero, pads=[1, 1, 1, 1])
    real = net.node("Mul", net.node("Cast", product, to=TensorProto.FLOAT), scale(0.02 * 0.01))
    return net.output(quantized(net, real, 0.05, np.int8(0)))


def microsofts_own(net: Net) -> Net:
    """Types that the standard operators got in later operator sets."""
    coded = net.node("QuantizeLinear", net.input(1, 3, 8, 8), scale(0.0001), np.int16(0), domain=MICROSOFT)
    x = net.node("DequantizeLinear", coded, scale(0.0001), np.int16(0), domain=MICROSOFT)
    return net.output(quantized(net, net.node("Conv", x, weight(net, 4, 3, 3, 3)), 0.02, np.int8(0)))


FORMS: list[Callable[[Net], Net]] = [
    qlinear_conv, qlinear_matmul, qgemm, qlinear_add, qlinear_pool, qlinear_others, matmul_integer,
    conv_integer, microsofts_own,
]  # fmt: skip


class WithMicrosoft(Net):
    """Knows onnxruntime's own operators, which want scalars to be such."""

    def constant(self, value: Array, name: str = "") -> str:
        name = super().constant(value, name)
        self.initializers[-1].CopyFrom(onnx.numpy_helper.from_array(value, name))
        return name

    def model(self) -> onnx.ModelProto:
        model = super().model()
        others = [version for version in model.opset_import if version.domain != MICROSOFT]
        del model.opset_import[:]
        model.opset_import.extend([*others, helper.make_opsetid(MICROSOFT, 1)])
        return model


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_operators_on_integers_are_onnxruntimes(tmp_path: Path, form: Callable[[Net], Net]) -> None:
    # Averages and sums of two equal tensors meet ties, which onnxruntime rounds to even.
    compiled = agreeing(form(WithMicrosoft()), tmp_path, same=0.5 if form is qlinear_add else 0.97)
    notes = {note.step: note.effect for note in compiled.quantized.notes}
    assert "ours" not in notes.get("weights of the model", "")


# --- what is refused ---


def test_scales_found_at_run_time_are_refused_as_such(tmp_path: Path) -> None:
    net = Net()
    coded = net.node("DynamicQuantizeLinear", net.input(1, 8), outputs=3)
    product = net.node("MatMulInteger", coded, integers(8, 5), f"{coded}_2")
    net.output(net.node("Cast", product, to=TensorProto.FLOAT))
    with pytest.raises(UserError) as caught:
        compile_model(net.save(tmp_path))
    assert "finds the scale of every input while the network runs" in str(caught.value)
    assert "MatMulInteger" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("has 3 scales for an activation",
         lambda net, x: net.node("QuantizeLinear", x, np.ones(3, np.float32), np.zeros(3, np.int8))),
        ("its scale is 0, not positive", lambda net, x: net.node("QuantizeLinear", x, scale(0), np.int8(0))),
        ("another scale or zero point than the QuantizeLinear",
         lambda net, x: net.node(
             "DequantizeLinear", net.node("QuantizeLinear", x, scale(1), np.int8(0)), scale(2), np.int8(0))),
        ("computes on integers of quantized tensors",
         lambda net, x: net.node("Abs", net.node("QuantizeLinear", x, scale(1), np.int8(0)))),
    ],
)  # fmt: skip
def test_what_has_no_meaning_here_is_refused_with_the_reason(
    tmp_path: Path, message: str, build: Callable[[Net, str], str]
) -> None:
    net = Net()
    net.output(build(net, net.input(1, 3, 4, 4)))
    with pytest.raises(UserError, match=message):
        compile_model(net.save(tmp_path))


def test_an_input_of_integers_with_a_scale_each_channel_is_refused_with_the_reason(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 3, 4, 4, dtype=TensorProto.INT8)
    net.output(net.node("Relu", net.node("DequantizeLinear", x, np.ones(3, np.float32))))
    with pytest.raises(UserError, match="has 3 scales for an activation"):
        compile_model(net.save(tmp_path))


def test_a_relu_written_as_a_zero_point_is_one_where_errors_are_predicted(tmp_path: Path) -> None:
    """A network whose integers are all stated is exact; without the zero points' ends half of it is lost."""
    net = Net()
    y = quantized(net, net.input(1, 3, 8, 8), 0.02, np.int8(3))
    for kernel in (weight(net, 6, 3, 3, 3), weight(net, 5, 6, 3, 3)):
        y = quantized(net, net.node("Conv", y, kernel), 0.05, np.int8(-128))
    compiled = agreeing(net.output(y), tmp_path)
    assert min(compiled.quantized.predicted_db.values()) > 45.0
