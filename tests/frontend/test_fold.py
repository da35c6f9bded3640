"""Constant folding: exporters' shape arithmetic goes, activations stay, and nothing grows without bound."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from dfqgen.errors import UnsupportedModel, UserError
from dfqgen.frontend import load
from dfqgen.frontend.fold import FoldedModel, fold_constants
from dfqgen.frontend.read import fixed_input_shapes, read_model
from tests.frontend.nets import Net, check, kinds


def folded(net: Net, folder: Path) -> FoldedModel:
    model = read_model(net.save(folder))
    return fold_constants(model, fixed_input_shapes(model))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_a_flatten_written_as_shape_arithmetic_is_one_reshape(tmp_path: Path) -> None:
    net = Net(9)
    x = net.input("batch", 3, 4, 5)
    batch = net.node("Unsqueeze", net.node("Gather", net.node("Shape", x), np.array(0), axis=0), axes=[0])
    rest = net.node("Unsqueeze", net.node("Mul", np.array(-3), np.array(20)), axes=[0])
    rest = net.node("Div", rest, ints(1))
    target = net.node("Concat", batch, net.node("Neg", rest), axis=0)
    net.output(net.node("Relu", net.node("Reshape", x, target)))
    assert [node.op_type for node in folded(net, tmp_path).nodes] == ["Reshape", "Relu"]


def test_shapes_behind_computed_reshapes_are_known(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 6, 4)
    first = net.node("Reshape", x, net.node("Concat", ints(1, 2), ints(-1), axis=0))
    second = net.node("Reshape", first, net.node("Slice", net.node("Shape", first), ints(0), ints(2)))
    model = folded(net.output(second), tmp_path)
    assert model.shapes[first] == (1, 2, 12)
    np.testing.assert_array_equal(model.constants["t3"], [1, 2])


def test_the_shape_of_a_window_beyond_its_input_is_refused(tmp_path: Path) -> None:
    """ONNX's inference says that it has a negative size."""
    net = Net()
    x = net.node("Conv", net.input(1, 1, 4, 4), np.ones((1, 1, 7, 7), np.float32))
    net.output(net.node("Reshape", x, net.node("Shape", x)))
    with pytest.raises(UnsupportedModel, match="does not fit"):
        load(net.save(tmp_path))


def test_the_shape_of_a_tensor_beyond_all_memory_is_refused(tmp_path: Path) -> None:
    """Also of one without elements: nothing times 2^63."""
    net = Net()
    sizes = np.array([1, 1, (1 << 63) - 1, 1], np.float32)
    x = net.node("Resize", net.input(1, 1, 4, 4), "", sizes, mode="nearest")
    net.output(net.node("Reshape", x, net.node("Shape", x)))
    with pytest.raises(UserError):
        load(net.save(tmp_path))


def test_batch_normalization_is_not_folded_into_the_convolution(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 4, 4), np.ones((2, 3, 1, 1), np.float32))
    y = net.node("BatchNormalization", x, *[np.ones(2, np.float32)] * 4)
    assert kinds(check(net.output(y), tmp_path)) == ["Conv2D", "BatchNorm"]


def test_weights_computed_from_constants_are_folded(tmp_path: Path) -> None:
    net = Net()
    weight = net.node(
        "Transpose", np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), perm=[1, 0]
    )
    weight = net.node("Mul", weight, np.array(0.5, np.float32))
    check(net.output(net.node("Gemm", net.input(1, 6), weight, transB=1)), tmp_path)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def made_weight(net: Net, kind: str) -> str:
    """A weight [4, 3, 3, 3] as exporters and tools leave it."""
    if kind == "weight norm":
        length = net.node("ReduceL2", random(4, 3, 3, 3), axes=[1, 2, 3], keepdims=1)
        return net.node("Mul", net.node("Div", random(4, 3, 3, 3), length), random(4, 1, 1, 1))
    if kind == "integers":
        integers = np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
        scales = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
        return net.node("DequantizeLinear", integers, scales, np.zeros(4, np.int8), axis=0)
    if kind == "Gemm":
        factored = net.node("Gemm", random(4, 2), random(2, 27), random(27))
        return net.node("Reshape", factored, ints(4, 3, 3, 3))
    if kind == "MatMul":
        return net.node("Reshape", net.node("MatMul", random(4, 2), random(2, 27)), ints(4, 3, 3, 3))
    assert kind == "Conv"
    return net.node("Conv", random(4, 3, 5, 5), random(3, 3, 3, 3))


@pytest.mark.parametrize("kind", ["weight norm", "integers", "Gemm", "MatMul", "Conv"])
def test_weights_that_nodes_compute_are_one_convolution(tmp_path: Path, kind: str) -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    assert kinds(check(net.output(net.node("Conv", x, made_weight(net, kind))), tmp_path)) == ["Conv2D"]


def test_a_product_of_constants_that_would_take_long_is_not_computed(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 2000)
    wide = net.node("Expand", np.ones((1, 1), np.float32), ints(2000, 2000))
    for _ in range(4):
        wide = net.node("MatMul", wide, wide)
    started = time.perf_counter()
    with pytest.raises(UnsupportedModel):
        load(net.output(net.node("MatMul", x, wide)).save(tmp_path))
    assert time.perf_counter() - started < 20.0


def test_random_numbers_are_not_folded(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 4)
    y = net.node("Add", x, net.node("RandomNormal", shape=[4]))
    with pytest.raises(UnsupportedModel, match="RandomNormal"):
        load(net.output(y).save(tmp_path))


def test_nodes_no_output_depends_on_are_left_out(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 4)
    net.node("Det", net.node("Reshape", x, ints(1, 2, 2)))
    assert kinds(check(net.output(net.node("Relu", x)), tmp_path)) == ["Clip"]


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_a_small_file_cannot_unfold_into_a_huge_tensor(tmp_path: Path, operator: str) -> None:
    net = Net()
    one = np.ones((1, 1), np.float32)
    zero = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
    huge = {
        "ConstantOfShape": lambda: net.node("ConstantOfShape", ints(1, 1 << 40), value=zero),
        "Expand": lambda: net.node("Expand", one, ints(1, 1 << 40)),
        "Tile": lambda: net.node("Tile", one, ints(1, 1 << 40)),
        "Range": lambda: net.node(
            "Range", np.array(0, np.float32), np.array(1e12, np.float32), np.array(1, np.float32)
        ),
    }[operator]()
    path = net.output(net.node("Add", net.input(1, 1), huge)).save(tmp_path)
    start = time.perf_counter()
    with pytest.raises(UnsupportedModel, match=operator):
        load(path)
    assert time.perf_counter() - start < 2.0
