"""Damaged and hostile models: a clear refusal, quickly and in little memory, never a traceback."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dfqgen import quantize
from dfqgen.errors import DfqgenError, ModelFileError, UserError
from dfqgen.frontend import load
from dfqgen.frontend.guard import refusing_damage
from dfqgen.frontend.limits import LARGEST_TENSOR_ELEMENTS
from tests.frontend.nets import Net
from tests.frontend.test_read import small_net

IMAGE = (1, 2, 6, 6)
WEIGHT = np.ones((2, 2, 3, 3), np.float32)
INTEGERS = [0, -1, 3, 255, 1 << 16, (1 << 31) - 1, 1 << 40, -(1 << 63)]
SUBGRAPH = helper.make_graph([], "", [], [])


def one(operator: str, *weights: np.ndarray, shape: tuple[int, ...] = IMAGE, **attributes: Any) -> Net:
    net = Net(opset=17)
    return net.output(net.node(operator, net.input(*shape), *weights, **attributes))


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (one("ConvTranspose", WEIGHT, group=1 << 40), "groups"),
        (one("ConvTranspose", WEIGHT, strides=[2, 8], auto_pad="SAME_UPPER"), "leaves gaps"),
        (one("ConvTranspose", WEIGHT, dilations=[1 << 40, 1]), "dilations"),
        (one("ConvTranspose", WEIGHT, dilations=[0, 1], output_shape=[9, 9]), "dilations"),
        (one("ConvTranspose", WEIGHT, strides=[1 << 15, 1 << 15]), "image|weight"),
        (one("ConvTranspose", WEIGHT, output_shape=[1 << 40, 9]), "image"),
        (one("Conv", WEIGHT, dilations=[1 << 40, 1]), "dilations"),
        (one("Conv", WEIGHT, pads=[1 << 40, 0, 0, 0]), "pads"),
        (one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=3), "ceil_mode is 3"),
        (one("MaxPool", kernel_shape=[1 << 20, 1]), "kernel"),
        (one("MaxPool", kernel_shape=[1024, 1024], shape=(1, 1, 2048, 4096)), "steps"),
        (one("BatchNormalization", vector(1, 1), vector(0, 0), vector(0, 0), vector(1, 1, 1)), "channels"),
        (
            one("BatchNormalization", vector(1, 1), np.zeros((1, 2), np.float32), vector(0, 0), vector(1, 1)),
            "ch",
        ),
        (one("Gemm", vector(1.0), shape=(1, 7)), "matrices"),
        (one("Selu", gamma=-np.inf), "gamma is no finite number"),
        (one("Celu", alpha=1e30), "alpha"),
        (one("HardSigmoid", alpha=np.nan), "alpha is no finite number"),
        (one("Tile", np.array([1, 1 << 15, 1 << 15, 1])), "too large"),
        (one("Expand", np.array([1, 2, 1 << 30, 6])), "too large|broadcast|shape"),
        (one("Relu", shape=(1, 1, 4096, 4097)), f"{LARGEST_TENSOR_ELEMENTS:,} elements"),
    ],
)
def test_what_asks_for_too_much_or_makes_no_sense_is_refused(tmp_path: Path, net: Net, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        load(net.save(tmp_path))
    assert "Error:" not in str(caught.value)  # our own words, not numpy's


@pytest.mark.parametrize(
    ("operator", "attribute"), [("Flatten", "axis"), ("ReduceMean", "keepdims"), ("LeakyRelu", "alpha")]
)
@pytest.mark.parametrize("value", [SUBGRAPH, "text", [1, 2], [1.5]])
def test_an_attribute_of_another_type_is_refused(
    tmp_path: Path, operator: str, attribute: str, value: object
) -> None:
    attributes: dict[str, Any] = {attribute: value}
    with pytest.raises(ModelFileError, match="not valid ONNX"):
        load(one(operator, **attributes).save(tmp_path))


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    model = one("Relu").model()
    call = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(
        helper.make_function("", "Relu", ["x"], ["y"], [call], [helper.make_opsetid("", 17)])
    )
    path = tmp_path / "recursive.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"recursive\.onnx unfolds into more than"):
        load(path)


def test_many_large_layers_are_refused_together(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 1, 4096, 4096)
    for _ in range(20):
        x = net.node("Sigmoid", x)
    with pytest.raises(UserError, match="elements together"):
        load(net.output(x).save(tmp_path))


def test_whatever_a_library_raises_names_the_file() -> None:
    with (
        pytest.raises(ModelFileError, match=r"net\.onnx cannot be read \(KeyError"),
        refusing_damage(Path("net.onnx")),
    ):
        raise KeyError("field")


# --- mutations ---


def _attribute_value(model: onnx.ModelProto, generator: random.Random) -> None:
    node = generator.choice([node for node in model.graph.node if node.attribute])
    attribute = generator.choice(node.attribute)
    if attribute.type == attribute.INT:
        attribute.i = generator.choice(INTEGERS)
    elif attribute.type == attribute.INTS:
        attribute.ints[generator.randrange(len(attribute.ints))] = generator.choice(INTEGERS)
    elif attribute.type == attribute.FLOAT:
        attribute.f = generator.choice([0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-40])


def _attribute_type(model: onnx.ModelProto, generator: random.Random) -> None:
    node = generator.choice([node for node in model.graph.node if node.attribute])
    attribute = generator.choice(node.attribute)
    value = generator.choice([1, 1.5, "x", [1, 2], [1.5], SUBGRAPH])
    attribute.CopyFrom(helper.make_attribute(attribute.name, value))


def _operator(model: onnx.ModelProto, generator: random.Random) -> None:
    others = ["Gemm", "Resize", "Pad", "Split", "Concat", "ReduceMean", "Slice", "ConvTranspose", "If", "Pow"]
    generator.choice(model.graph.node).op_type = generator.choice(others)


def _inputs(model: onnx.ModelProto, generator: random.Random) -> None:
    node = generator.choice(model.graph.node)
    if generator.random() < 0.5:
        node.input.pop()
    else:
        names = [tensor.name for tensor in model.graph.initializer]
        node.input[generator.randrange(len(node.input))] = generator.choice([*names, "x", ""])


def _weight(model: onnx.ModelProto, generator: random.Random) -> None:
    tensor = generator.choice([t for t in model.graph.initializer if t.raw_data])
    data = bytearray(tensor.raw_data)
    data[generator.randrange(len(data))] = generator.choice([0, 0x7F, 0x80, 0xFF])
    tensor.raw_data = bytes(data)


def _dimensions(model: onnx.ModelProto, generator: random.Random) -> None:
    if generator.random() < 0.5:
        dimensions = model.graph.input[0].type.tensor_type.shape.dim
        generator.choice(dimensions).dim_value = generator.choice(INTEGERS)
    else:
        tensor = generator.choice(model.graph.initializer)
        tensor.dims[:] = [*tensor.dims, generator.choice([0, 1, 2, -1])]


MUTATIONS: list[Callable[[onnx.ModelProto, random.Random], None]] = [
    _attribute_value,
    _attribute_type,
    _operator,
    _inputs,
    _weight,
    _dimensions,
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_mutated_model_gives_a_graph_or_a_clear_error(
    tmp_path: Path, mutate: Callable[[onnx.ModelProto, random.Random], None]
) -> None:
    generator = random.Random(0)
    original = small_net().model()
    path = tmp_path / "mutated.onnx"
    for _ in range(40):
        model = onnx.ModelProto()
        model.CopyFrom(original)
        mutate(model, generator)
        path.write_bytes(model.SerializeToString())
        with contextlib.suppress(DfqgenError):
            _load_without_last_resort(path)


def _load_without_last_resort(path: Path) -> None:
    """`load`, where an error that only the guard turns into the user's fails: a check of ours is missing."""
    try:
        load(path)
    except ModelFileError as error:
        if "cannot be read (" in str(error):
            raise AssertionError(f"no check found the reason: {error}") from error
        raise


def test_a_split_into_more_than_its_outputs_is_refused(tmp_path: Path) -> None:
    """onnx's shape inference would write beyond its list of outputs."""
    with pytest.raises(ModelFileError, match="1 outputs, not 2"):
        load(one("Split", num_outputs=2).save(tmp_path))


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    net = one("Relu")
    with pytest.raises(ModelFileError, match="two outputs have one name"):
        load(net.output(net.outputs[0].name).save(tmp_path))


def test_an_output_of_no_type_is_refused(tmp_path: Path) -> None:
    """As onnxruntime does."""
    net = Net()
    net.output(net.node("Relu", net.input(1, 4)), dtype=TensorProto.UNDEFINED)
    with pytest.raises(ModelFileError, match="'t0' is of no type"):
        load(net.save(tmp_path))


def test_a_batch_beyond_all_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot have shape"):
        load(one("Relu", shape=((1 << 31) - 1, 2)).save(tmp_path))


def test_an_input_of_one_number_compiles(tmp_path: Path) -> None:
    assert quantize(one("Sigmoid", shape=(1,)).save(tmp_path)).ops
