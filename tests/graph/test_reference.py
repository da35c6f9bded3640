"""The onnxruntime reference: any outputs, any number of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dfqgen.errors import UserError
from dfqgen.graph.reference import Reference
from tests.frontend.nets import Net


def two_layers(folder: Path) -> Path:
    net = Net()
    x = net.node("Mul", net.input("N", 3), np.array([1, 2, 3], np.float32))
    return net.output(net.node("Relu", x)).save(folder)


def test_samples_run_one_by_one_and_come_back_together(tmp_path: Path) -> None:
    x = np.arange(-6, 6, dtype=np.float32).reshape(4, 3)
    result = Reference(two_layers(tmp_path)).run({"x": x})
    np.testing.assert_array_equal(result["t1"], np.maximum(x * [1, 2, 3], 0))


def test_any_tensor_can_be_asked_for(tmp_path: Path) -> None:
    reference = Reference(two_layers(tmp_path), ["t0", "t1"])
    result = reference.run({"x": -np.ones((1, 3), np.float32)})
    assert reference.output_names == ("t0", "t1")
    np.testing.assert_array_equal(result["t0"], [[-1, -2, -3]])
    np.testing.assert_array_equal(result["t1"], [[0, 0, 0]])


def test_nodes_behind_the_cut_do_not_run(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Relu", net.input(1, 3))
    path = net.output(net.node("Reshape", x, np.array([7]))).save(tmp_path)
    assert Reference(path, [x]).run({"x": np.ones((1, 3), np.float32)})[x].shape == (1, 3)


def test_an_input_that_does_not_fit_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot run"):
        Reference(two_layers(tmp_path)).run({"x": np.ones((1, 4), np.float32)})


def test_a_model_onnxruntime_refuses_is_a_user_error(tmp_path: Path) -> None:
    path = two_layers(tmp_path)
    model = onnx.load(path)
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="cannot load"):
        Reference(path)
