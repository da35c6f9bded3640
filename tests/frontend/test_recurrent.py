"""Recurrent layers as PyTorch and Keras export them: what onnxruntime gives, without a transpose left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from dfqgen.errors import UnsupportedModel, UserError
from dfqgen.frontend import load
from tests.frontend.nets import Net, check, kinds

STEPS, FEATURES, UNITS = 6, 5, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


RNG = np.random.default_rng(4)


def parameters(kind: str, directions: int, features: int = FEATURES) -> list[np.ndarray]:
    rows = GATES[kind] * UNITS
    shapes = ((directions, rows, features), (directions, rows, UNITS), (directions, 2 * rows))
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def batch_first(net: Net, kind: str, direction: str, **settings: Any) -> str:
    """PyTorch's batch_first: a transpose, the layer, a squeeze or a reshape, a transpose back."""
    x = net.node("Transpose", net.input(1, STEPS, FEATURES), perm=[1, 0, 2])
    count = 2 if direction == "bidirectional" else 1
    weights = parameters(kind, count)
    return net.node(kind, x, *weights, direction=direction, hidden_size=UNITS, **settings)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_two_layers_keep_the_function_and_need_no_transpose(
    tmp_path: Path, kind: str, direction: str
) -> None:
    net = Net()
    y = batch_first(net, kind, direction)
    count = 2 if direction == "bidirectional" else 1
    for _ in range(2):
        y = net.node("Transpose", y, perm=[0, 2, 1, 3])
        y = net.node("Reshape", y, np.array([0, 0, -1]))
        weights = parameters(kind, count, count * UNITS)
        last = y
        y = net.node(kind, y, *weights, direction=direction, hidden_size=UNITS)
    net.output(net.node("Gather", net.node("Relu", last), np.array(-1), axis=0))
    assert "Transpose" not in kinds(check(net, tmp_path))


@pytest.mark.parametrize("kind", GATES)
def test_time_first_outputs_are_those_of_the_model(tmp_path: Path, kind: str) -> None:
    net = Net()
    net.output(batch_first(net, kind, "bidirectional"))
    check(net, tmp_path)


def test_initial_states_are_inputs(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 1, FEATURES)
    states = [net.input(1, 1, UNITS, name=name) for name in "hc"]
    y = net.node("LSTM", x, *parameters("LSTM", 1), "", *states, outputs=3, hidden_size=UNITS)
    net.output(y, f"{y}_1", f"{y}_2")
    check(net, tmp_path)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, "its functions are Sigmoid, Relu, Tanh"),
        ({"clip": 2.0}, "clips at 2"),
        ({"input_forget": 1}, "input_forget"),
    ],
)
def test_what_a_layer_cannot_do_is_refused_with_the_reason(
    tmp_path: Path, settings: dict[str, Any], text: str
) -> None:
    net = Net()
    path = net.output(batch_first(net, "LSTM", "forward", **settings)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match=text):
        load(path)


def test_a_scan_around_anything_else_is_refused(tmp_path: Path) -> None:
    state, step = (helper.make_tensor_value_info(n, 1, s) for n, s in (("s", [1, 5]), ("e", [1, 5])))
    after, kept = (helper.make_tensor_value_info(n, 1, [1, 5]) for n in ("t", "k"))
    nodes = [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["k"])]
    body = helper.make_graph(nodes, "body", [state, step], [after, kept])
    net = Net()
    x = net.node("Reshape", net.input(1, 30), np.array([6, 1, 5]))
    zeros = np.zeros((1, 5), np.float32)
    y = net.node("Scan", zeros, x, outputs=2, body=body, num_scan_inputs=1)
    with pytest.raises(UnsupportedModel, match="none of TensorFlow's recurrent cells"):
        load(net.output(y).save(tmp_path))


@pytest.mark.parametrize("shape", [(6, 1, 5), ()])
@pytest.mark.parametrize("scanned", [1.0, helper.make_graph([], "other", [], []), 7])
def test_a_scan_that_does_not_say_what_it_scans_is_refused(
    tmp_path: Path, scanned: object, shape: tuple[int, ...]
) -> None:
    net = Net()
    y = net.node(
        "Scan",
        net.input(*shape),
        outputs=1,
        body=helper.make_graph([], "body", [], []),
        num_scan_inputs=scanned,
    )
    with pytest.raises(UserError):
        load(net.output(y).save(tmp_path))
