"""Constant folding: exporters' shape arithmetic goes, activations stay, and nothing grows without bound."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from dfqgen.errors import UnsupportedModel
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
