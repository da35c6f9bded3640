"""What can be wrong with a file, and what is read from it when nothing is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dfqgen.errors import DfqgenError, ModelFileError, UnsupportedModel, UserError
from dfqgen.frontend import load
from dfqgen.graph.ir import Graph
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, kinds


def small_net() -> Net:
    """Conv with a computed Pad, BatchNorm, Clip, pool, Gemm: about 1.5 kB."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    net = Net(13)
    x = net.input(1, 3, 8, 8)
    zeros = helper.make_tensor("z", TensorProto.INT64, [1], [0])
    tail = net.node("ConstantOfShape", np.array([4]), value=zeros)
    x = net.node("Pad", x, net.node("Concat", np.array([0, 0, 1, 1]), tail, axis=0))
    x = net.node("Conv", x, weight(4, 3, 3, 3), strides=[2, 2], name="first")
    x = net.node("BatchNormalization", x, weight(4), weight(4), weight(4), np.abs(weight(4)))
    x = net.node("Clip", x, np.array(0, np.float32), np.array(6, np.float32))
    x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Reshape", x, np.array([1, -1]))
    return net.output(net.node("Softmax", net.node("Gemm", x, weight(16, 5), weight(5))))


def refused(path: Path, text: str, **options: Any) -> UserError:
    with pytest.raises(UserError, match=text) as caught:
        load(path, **options)
    return caught.value


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "empty"), (b"\x89PNG\r\n\x1a\n" * 20, "not an ONNX file"), (b"hello, world", "not an ONNX file")],
)
def test_other_files_are_not_onnx(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert isinstance(refused(path, text), ModelFileError)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "No such file")
    refused(tmp_path, "folder")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = small_net().save(tmp_path).read_bytes()
    path = tmp_path / "short.onnx"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            load(path)


def test_flipped_bytes_give_a_graph_or_a_clear_error(tmp_path: Path) -> None:
    data = small_net().save(tmp_path).read_bytes()
    path = tmp_path / "flipped.onnx"
    generator = random.Random(0)
    refusals = 0
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(generator.choice([1, 1, 2, 8])):
            damaged[generator.randrange(len(damaged))] = generator.choice([0, 1, 0x7F, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            load(path)
        except DfqgenError:
            refusals += 1
    assert 0 < refusals < 150


def edited(folder: Path, edit: Callable[[onnx.ModelProto], object]) -> Path:
    model = small_net().model()
    edit(model)
    path = folder / "edited.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: m.graph.ClearField("node"), "empty graph"),
        (lambda m: m.ClearField("graph"), "no graph"),
        (lambda m: m.ClearField("opset_import"), "which opset"),
        (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999"),
        (lambda m: m.graph.ClearField("output"), "no output"),
        (lambda m: m.graph.node[2].input.__setitem__(0, "nowhere"), "'nowhere'"),
        (lambda m: m.graph.node[3].output.__setitem__(0, "t1"), "given again"),
        (
            lambda m: m.graph.node[3].attribute.append(helper.make_attribute("bogus", 1)),
            "not valid ONNX.*'first'",
        ),
        (lambda m: m.graph.initializer[2].ClearField("raw_data"), "does not fit"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "one name"),
    ],
)
def test_damaged_structure_is_refused(
    tmp_path: Path, edit: Callable[[onnx.ModelProto], object], text: str
) -> None:
    refused(edited(tmp_path, edit), text)


def test_unknown_domains_are_refused_by_node(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.example", 1))
        model.graph.node[5].domain = "com.example"

    error = refused(edited(tmp_path, edit), "cannot be compiled")
    assert isinstance(error, UnsupportedModel)
    assert "com.example" in error.problems[0].advice


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named_with_their_node(tmp_path: Path, value: float) -> None:
    net = Net()
    weight = np.ones((2, 3, 3, 3), np.float32)
    weight[1, 2, 0, 0] = value
    y = net.node("Conv", net.input(1, 3, 8, 8), net.constant(weight, "w.bad"), name="stem")
    error = refused(net.output(y).save(tmp_path), "w.bad")
    assert isinstance(error, UnsupportedModel)
    assert error.problems[0].node == "stem"


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_weights_of_other_types_are_refused(tmp_path: Path, dtype: type) -> None:
    net = Net()
    y = net.node("Conv", net.input(1, 3, 8, 8), np.ones((2, 3, 3, 3), dtype))
    refused(net.output(y).save(tmp_path), np.dtype(dtype).name)


def test_half_precision_weights_behind_a_cast_are_read(tmp_path: Path) -> None:
    net = Net()
    weight = net.node("Cast", np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float16), to=1)
    check(net.output(net.node("Conv", net.input(1, 3, 8, 8), weight)), tmp_path)


@pytest.mark.parametrize("dtype", [TensorProto.BOOL, TensorProto.INT64])
def test_inputs_of_other_types_are_refused(tmp_path: Path, dtype: int) -> None:
    net = Net()
    y = net.node("Relu", net.node("Cast", net.input(1, 3, dtype=dtype), to=1))
    refused(net.output(y).save(tmp_path), TensorProto.DataType.Name(dtype).lower())


# --- shapes ---


def relu_of(*shape: int | str) -> Net:
    net = Net()
    return net.output(net.node("Relu", net.input(*shape)))


@pytest.mark.parametrize("batch", ["N", 0, -1])
def test_an_open_batch_becomes_one(tmp_path: Path, batch: int | str) -> None:
    assert load(relu_of(batch, 5).save(tmp_path)).inputs[0].shape == (1, 5)


def test_other_open_axes_must_be_given(tmp_path: Path) -> None:
    path = relu_of("N", 3, "H", "W").save(tmp_path)
    error = refused(path, "dynamic.*x:[?]x3x[?]x[?]")
    assert "--input-shape x:" in error.hint
    graph = load(path, input_shapes={"x": (1, 3, 4, 6)}, io_layout="nchw")
    assert graph.outputs[0].shape == (1, 3, 4, 6)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({"y": (1, 5)}, "no input 'y'"),
        ({"x": (1, 5, 5)}, "2 axes"),
        ({"x": (1, 0)}, "cannot have shape"),
        ({"x": (1, 1 << 40)}, "cannot have shape"),
    ],
)
def test_given_shapes_are_checked(tmp_path: Path, shapes: dict[str, tuple[int, ...]], text: str) -> None:
    refused(relu_of("N", "C").save(tmp_path), text, input_shapes=shapes)


def test_a_fixed_larger_batch_becomes_one_and_is_told(tmp_path: Path) -> None:
    graph = load(relu_of(8, 5).save(tmp_path))
    assert graph.inputs[0].shape == (1, 5)
    assert "batch of 8" in graph.remarks[0]


def test_initializers_listed_as_inputs_are_not_inputs(tmp_path: Path) -> None:
    net = Net(8)
    x = net.input(1, 3, 6, 6)
    weight = net.constant(np.ones((2, 3, 1, 1), np.float32), "w")
    net.input(2, 3, 1, 1, name="w")
    graph = check(net.output(net.node("Conv", x, weight)), tmp_path)
    assert [port.name for port in graph.inputs] == ["x"]


# --- cutting ---


def test_the_graph_is_cut_at_named_outputs(tmp_path: Path) -> None:
    path = small_net().save(tmp_path)
    graph = load(path, outputs=["t4", "t7"])
    assert [port.name for port in graph.outputs] == ["t4", "t7"]
    assert "Softmax" not in kinds(graph)
    assert_equals_onnxruntime(path, graph)


def test_an_unknown_output_is_refused_with_similar_names(tmp_path: Path) -> None:
    net = Net()
    net.nodes.append(helper.make_node("Relu", [net.input(1, 4)], ["scores"]))
    assert "scores" in refused(net.output("scores").save(tmp_path), "'score'", outputs=["score"]).hint


@pytest.mark.parametrize("operator", ["Identity", "Dropout"])
def test_an_output_that_is_the_input_is_refused(tmp_path: Path, operator: str) -> None:
    net = Net()
    refused(net.output(net.node(operator, net.input(1, 4))).save(tmp_path), "the input itself")


def test_an_output_that_is_constant_is_left_out_and_told(tmp_path: Path) -> None:
    net = Net()
    y = net.node("Relu", net.input(1, 4))
    constant = net.node("Neg", np.ones((1, 4), np.float32))
    graph = load(net.output(y, constant).save(tmp_path))
    assert [port.name for port in graph.outputs] == [y]
    assert "does not depend on the input; it is left out" in graph.remarks[0]
    with pytest.raises(UserError, match="does not depend"):
        load(net.save(tmp_path), outputs=[constant])


# --- external data ---


def external(folder: Path, location: str, **entries: int) -> Path:
    """A Conv whose weight lies in another file."""
    net = Net()
    net.output(net.node("Conv", net.input(1, 3, 4, 4), net.constant(np.zeros((2, 3, 1, 1), np.float32), "w")))
    model = net.model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def conv_weight(graph: Graph) -> np.ndarray:
    return graph.nodes[0].op.weight.ravel()  # type: ignore[attr-defined]


def test_external_data_beside_the_model_is_read_at_its_offset(tmp_path: Path) -> None:
    values = np.arange(10, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    path = external(tmp_path, "w.bin", offset=8, length=24)
    graph = load(path)
    np.testing.assert_array_equal(conv_weight(graph), values[2:8])
    assert_equals_onnxruntime(path, graph)


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "sub/../../w.bin", "/etc/passwd", "..\\w.bin", "C:\\w.bin", "", "link.bin", "a\0b"],
)
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(24))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    refused(external(folder, location), "outside the model's folder")


def test_missing_and_short_external_data_are_refused(tmp_path: Path) -> None:
    refused(external(tmp_path, "w.bin"), "missing")
    (tmp_path / "w.bin").write_bytes(bytes(20))
    refused(external(tmp_path, "w.bin", length=24), "truncated")
    refused(external(tmp_path, "w.bin"), "does not fit")
    refused(external(tmp_path, "w.bin", offset=-4), "cannot read")
