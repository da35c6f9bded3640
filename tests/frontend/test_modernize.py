"""Legal forms of ONNX that are rewritten first: any order, older operator sets, other precisions."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dfqgen.errors import ModelFileError
from dfqgen.frontend import load
from dfqgen.frontend.modernize import sort_nodes
from dfqgen.frontend.read import read_model
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, kinds


def chain(length: int) -> Net:
    net = Net()
    tensor = net.input(1, 4)
    for _ in range(length):
        tensor = net.node("Add", net.node("Tanh", tensor), tensor)
    return net.output(tensor)


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    net = chain(6)
    random.Random(0).shuffle(net.nodes)
    check(net, tmp_path)


def test_sorted_nodes_stay_where_they_are() -> None:
    graph = chain(4).model().graph
    before = [node.output[0] for node in graph.node]
    sort_nodes(graph)
    assert [node.output[0] for node in graph.node] == before


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    net = chain(3)
    net.nodes[0].input[0] = "t5"
    with pytest.raises(ModelFileError, match="reads 't5', which nothing before it gives"):
        load(net.save(tmp_path))


def test_a_model_of_opset_6_is_converted(tmp_path: Path) -> None:
    net = Net(6)
    y = net.node("Clip", net.node("Conv", net.input(1, 3, 6, 6), np.ones((2, 3, 3, 3), np.float32)), max=3.0)
    net.output(y)
    net.outputs[0].type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension(dim_value=1)] * 4)
    path = net.save(tmp_path)
    assert kinds(load(path)) == ["Conv2D", "Clip"]
    assert_equals_onnxruntime(path, load(path))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_a_model_in_another_precision_is_read_as_float32(tmp_path: Path, dtype: type[np.floating]) -> None:
    net = Net()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weight = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(dtype)
    x = net.node("Cast", net.input(1, 3, 6, 6, dtype=kind), to=kind)
    graph = check(net.output(net.node("Conv", x, weight), dtype=kind), tmp_path)
    assert kinds(graph) == ["Conv2D"]


def test_sparse_initializers_are_weights(tmp_path: Path) -> None:
    net = Net()
    y = net.node("MatMul", net.input(1, 3), "w")
    model = net.output(y).model()
    values = numpy_helper.from_array(np.array([2.0, -1.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([[0, 1], [2, 0]], np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 2]))
    path = tmp_path / "sparse.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load(path)
    x = np.array([[1.0, 10.0, 100.0]], np.float32)
    (value,) = graph.evaluate({graph.inputs[0].tensor: x}).values()
    np.testing.assert_array_equal(value, [[-100.0, 2.0]])


def test_functions_that_double_at_each_level_are_refused_before_they_unfold(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    net = Net()
    net.input(1, 4)
    net.nodes.append(helper.make_node("F40", ["x"], ["t0"], domain="f"))
    model = net.output("t0").model()
    model.opset_import.append(imports[1])
    model.functions.append(
        helper.make_function("f", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], imports)
    )
    for level in range(1, 41):
        twice = [helper.make_node(f"F{level - 1}", [a], [b], domain="f") for a, b in (("a", "m"), ("m", "b"))]
        model.functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], twice, imports))
    path = tmp_path / "doubling.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="unfolds into more than"):
        read_model(path)


def test_a_value_too_large_for_float32_is_refused_by_name(tmp_path: Path) -> None:
    net = Net()
    kind = TensorProto.DOUBLE
    y = net.node("Mul", net.input(1, 3, dtype=kind), np.array([1.0, 1e300, 1.0]))
    with pytest.raises(Exception, match="'c0' holds 1 NaN or infinite"):
        load(net.output(y, dtype=kind).save(tmp_path))


def test_an_output_declared_in_another_precision_than_it_has_is_refused(tmp_path: Path) -> None:
    net = Net()
    y = net.node("Relu", net.input(1, 3, dtype=TensorProto.DOUBLE))
    with pytest.raises(ModelFileError, match="not valid ONNX"):
        load(net.output(y).save(tmp_path))
