"""Nodes that stand for others: branches that are always taken, and fused operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dfqgen.errors import UnsupportedModel
from dfqgen.frontend import load
from dfqgen.graph.ir import Array, Graph
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, evaluate, kinds


def random_array(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def branch(*nodes: onnx.NodeProto, gives: str) -> onnx.GraphProto:
    return helper.make_graph(
        nodes, "branch", [], [helper.make_tensor_value_info(gives, TensorProto.FLOAT, None)]
    )


@pytest.mark.parametrize(("condition", "kind"), [(True, "tanh"), (False, "sigmoid")])
def test_an_if_with_a_constant_condition_is_the_branch_taken(
    tmp_path: Path, condition: bool, kind: str
) -> None:
    net = Net()
    x = net.input(1, 4)
    y = net.node(
        "If",
        np.array(condition),
        then_branch=branch(helper.make_node("Tanh", [x], ["inner"]), gives="inner"),
        else_branch=branch(helper.make_node("Sigmoid", [x], ["inner"]), gives="inner"),
    )
    graph = check(net.output(y), tmp_path)
    assert [node.op.function for node in graph.nodes] == [kind]  # type: ignore[attr-defined]


def test_two_ifs_may_use_the_same_names_inside(tmp_path: Path) -> None:
    net = Net()
    tensor = net.input(1, 4)
    for _ in range(2):
        inside = [helper.make_node("Tanh", [tensor], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
        graph = branch(*inside, gives="b")
        tensor = net.node("If", np.array(True), then_branch=graph, else_branch=graph)
    check(net.output(tensor), tmp_path)


def test_an_if_that_depends_on_the_input_is_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 1)
    inside = branch(helper.make_node("Tanh", [x], ["a"]), gives="a")
    y = net.node("If", net.node("Greater", x, x), then_branch=inside, else_branch=inside)
    with pytest.raises(UnsupportedModel, match="control flow"):
        load(net.output(y).save(tmp_path))


def loaded(net: Net, folder: Path, *domains: str) -> tuple[Path, Graph]:
    model = net.model()
    for domain in domains:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    path = folder / "fused.onnx"
    path.write_bytes(model.SerializeToString())
    return path, load(path)


CONV = (random_array(4, 3, 3, 3), random_array(4))


@pytest.mark.parametrize(
    ("operator", "shape", "constants", "attributes"),
    [
        ("FusedConv", (1, 3, 6, 6), CONV, {"activation": "Relu", "pads": [1, 1, 1, 1]}),
        ("FusedConv", (1, 3, 6, 6), CONV, {"activation": "LeakyRelu", "activation_params": [0.2]}),
        ("FusedConv", (1, 3, 6, 6), CONV, {"activation": "Clip", "activation_params": [-0.5, 0.5]}),
        ("FusedConv", (1, 3, 6, 6), CONV, {"activation": "HardSigmoid", "activation_params": [0.2, 0.5]}),
        ("FusedGemm", (1, 5), (random_array(4, 5), random_array(4)), {"activation": "Relu", "transB": 1}),
        ("FusedMatMul", (1, 5), (random_array(4, 5),), {"transB": 1, "alpha": 0.5}),
        ("Gelu", (1, 5), (), {}),
        ("BiasGelu", (1, 5), (random_array(5),), {}),
        ("FastGelu", (1, 5), (random_array(5),), {}),
        ("QuickGelu", (1, 5), (), {"alpha": 1.5}),
    ],
)
def test_fused_operators_equal_onnxruntime(
    tmp_path: Path, operator: str, shape: tuple[int, ...], constants: tuple[Array, ...], attributes: Any
) -> None:
    net = Net()
    y = net.node(operator, net.input(*shape), *constants, domain="com.microsoft", **attributes)
    path, graph = loaded(net.output(y), tmp_path, "com.microsoft")
    # onnxruntime's own FastGelu is an approximation of the tanh form.
    assert_equals_onnxruntime(path, graph, 1e-3 if operator == "FastGelu" else 1e-4)


def test_a_fused_activation_that_is_unknown_is_named(tmp_path: Path) -> None:
    net = Net()
    y = net.node("FusedConv", net.input(1, 3, 6, 6), *CONV, domain="com.microsoft", activation="Spline")
    with pytest.raises(UnsupportedModel, match="fuses the activation 'Spline'"):
        loaded(net.output(y), tmp_path, "com.microsoft")


def test_a_scaler_of_features_is_arithmetic(tmp_path: Path) -> None:
    net = Net()
    y = net.node(
        "Scaler", net.input(1, 3), domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0], scale=[2.0, 0.5, 1.0]
    )
    _, graph = loaded(net.output(y), tmp_path, "ai.onnx.ml")
    x = random_array(1, 3)
    (value,) = evaluate(graph, {graph.inputs[0].name: x}).values()
    np.testing.assert_allclose(value, (x - [1.0, 2.0, 3.0]) * [2.0, 0.5, 1.0], rtol=1e-6)
    assert "Affine" not in kinds(graph)
