"""Steps of a cell written out as nodes: one, with states as inputs, is a layer on a sequence of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from dfqgen.errors import UserError
from dfqgen.frontend import load
from dfqgen.graph.ir import Array
from dfqgen.ops.recurrent import GRU, LSTM, RNN
from tests.frontend.nets import Net, check, kinds, only

FEATURES, UNITS = 5, 4
ONE = np.array(1.0, np.float32)
RNG = np.random.default_rng(3)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def parts(net: Net, x: str, count: int) -> list[str]:
    first = net.node("Split", x, axis=1, outputs=count)
    return [first, *(f"{first}_{k}" for k in range(1, count))]


def lstm_end(net: Net, gates: list[str], g: str, c: str) -> tuple[str, str]:
    """h and c from i, f, o behind their sigmoids and g before its tanh."""
    i, f, o = gates
    new = net.node("Add", net.node("Mul", f, c), net.node("Mul", i, net.node("Tanh", g)))
    return net.node("Mul", o, net.node("Tanh", new)), new


def torch_lstm(net: Net, x: str, h: str, c: str, features: int = FEATURES) -> tuple[str, str]:
    """As torch exports LSTMCell: gates i f g o."""
    of_h = net.node("Gemm", h, normal(4 * UNITS, UNITS), normal(4 * UNITS), transB=1)
    of_x = net.node("Gemm", x, normal(4 * UNITS, features), normal(4 * UNITS), transB=1)
    i, f, g, o = parts(net, net.node("Add", of_h, of_x), 4)
    return lstm_end(net, [net.node("Sigmoid", gate) for gate in (i, f, o)], g, c)


def joined_lstm(net: Net, x: str, h: str, c: str) -> tuple[str, str]:
    """One product of [x, h]; one sigmoid of three gates."""
    both = net.node("Concat", x, h, axis=1)
    total = net.node("Add", net.node("MatMul", both, normal(FEATURES + UNITS, 4 * UNITS)), normal(4 * UNITS))
    cut = [net.node("Slice", total, *(np.array([v]) for v in ends)) for ends in ((0, 12, 1), (12, 16, 1))]
    return lstm_end(net, parts(net, net.node("Sigmoid", cut[0]), 3), cut[1], c)


@pytest.mark.parametrize("cell", [torch_lstm, joined_lstm])
@pytest.mark.parametrize("cell_is_given", [False, True])
def test_an_lstms_step_is_a_layer(tmp_path: Path, cell: object, cell_is_given: bool) -> None:
    net = Net()
    x, h, c = net.input(1, FEATURES), net.input(1, UNITS, name="h"), net.input(1, UNITS, name="c")
    new_h, new_c = cell(net, x, h, c)  # type: ignore[operator]
    y = net.node("MatMul", new_h, normal(UNITS, 3))
    graph = check(net.output(y, new_h, *([new_c] if cell_is_given else [])), tmp_path)
    assert set(kinds(graph)) - {"Take"} == {"Reshape", "LSTM", "Conv2D"}
    assert only(graph, LSTM).gives == ("states" if cell_is_given else "sequence")


def test_two_layers_take_their_states_from_one_input(tmp_path: Path) -> None:
    """As DTLN has them: states [1, layer, unit, h or c]; the second layer's input is as wide as its state."""
    net = Net()
    x, states = net.input(1, FEATURES), net.input(1, 2, UNITS, 2, name="states")
    given = []
    for layer in range(2):
        ends = [([0, layer, 0, k], [1, layer + 1, UNITS, k + 1]) for k in (0, 1)]
        cut = [net.node("Slice", states, np.array(a), np.array(b), np.array([0, 1, 2, 3])) for a, b in ends]
        h, c = (net.node("Squeeze", part, np.array([1, 3])) for part in cut)
        width = FEATURES if layer == 0 else UNITS
        x, new = torch_lstm(net, x, h, c, width)
        given += [net.node("Unsqueeze", tensor, np.array([1, 3])) for tensor in (x, new)]
    pairs = [net.node("Concat", *given[place : place + 2], axis=3) for place in (0, 2)]
    graph = check(net.output(net.node("Relu", x), net.node("Concat", *pairs, axis=1)), tmp_path)
    assert set(kinds(graph)) == {"Take", "Reshape", "LSTM", "Concat", "Clip"}
    assert kinds(graph).count("LSTM") == 2


def test_a_state_that_may_be_the_input_is_not_guessed(tmp_path: Path) -> None:
    net = Net()
    x, h, c = net.input(1, UNITS), net.input(1, UNITS, name="h"), net.input(1, UNITS, name="c")
    graph = check(net.output(*torch_lstm(net, x, h, c, UNITS)), tmp_path)
    assert "LSTM" not in kinds(graph)


def gru_gates(net: Net, x: str, h: str) -> tuple[list[str], list[str]]:
    """What the gates are of x and of h."""
    of_x, of_h = (
        parts(net, net.node("Gemm", v, normal(width, 3 * UNITS), normal(3 * UNITS)), 3)
        for v, width in ((x, FEATURES), (h, UNITS))
    )
    return of_x, of_h


@pytest.mark.parametrize("mixed", ["z h + (1 - z) n", "n + z (h - n)"])
def test_a_grus_step_is_a_layer(tmp_path: Path, mixed: str) -> None:
    """TensorFlow's way to mix and torch's."""
    net = Net()
    x, h = net.input(1, FEATURES), net.input(1, UNITS, name="h")
    of_x, of_h = gru_gates(net, x, h)
    z, r = (net.node("Sigmoid", net.node("Add", of_h[k], of_x[k])) for k in (0, 1))
    n = net.node("Tanh", net.node("Add", of_x[2], net.node("Mul", of_h[2], r)))
    if mixed.startswith("z"):
        fresh = net.node("Mul", net.node("Sub", ONE, z), n)
        new = net.node("Add", net.node("Mul", z, h), fresh)
    else:
        new = net.node("Add", net.node("Mul", net.node("Sub", h, n), z), n)
    graph = check(net.output(net.node("MatMul", new, normal(UNITS, 3)), new), tmp_path)
    assert only(graph, GRU).reset_after
    assert set(kinds(graph)) == {"Reshape", "GRU", "Conv2D"}


def test_a_mixture_without_a_reset_is_no_gru(tmp_path: Path) -> None:
    net = Net()
    x, h = net.input(1, FEATURES), net.input(1, UNITS, name="h")
    of_x, of_h = gru_gates(net, x, h)
    z = net.node("Sigmoid", net.node("Add", of_h[0], of_x[0]))
    n = net.node("Tanh", net.node("Add", of_x[2], of_h[2]))
    fresh = net.node("Mul", net.node("Sub", ONE, z), n)
    graph = check(net.output(net.node("Add", net.node("Mul", z, h), fresh)), tmp_path)
    assert "GRU" not in kinds(graph)


def rnn_step(net: Net, x: str, h: str, weights: tuple[Array, Array]) -> str:
    """As Keras writes it."""
    of_x = net.node("Add", net.node("MatMul", x, weights[0]), np.arange(UNITS, dtype=np.float32) / UNITS)
    return net.node("Tanh", net.node("Add", of_x, net.node("MatMul", h, weights[1])))


def test_a_simple_cells_step_is_a_layer(tmp_path: Path) -> None:
    net = Net()
    x, h = net.input(1, FEATURES), net.input(1, UNITS, name="h")
    new = rnn_step(net, x, h, (normal(FEATURES, UNITS), normal(UNITS, UNITS)))
    graph = check(net.output(net.node("MatMul", new, normal(UNITS, 3)), new), tmp_path)
    assert set(kinds(graph)) == {"Reshape", "RNN", "Conv2D"}


@pytest.mark.parametrize("features", [FEATURES, UNITS])
def test_an_unrolled_simple_cell_is_one_loop_behind_its_first_step(tmp_path: Path, features: int) -> None:
    net, steps = Net(), 5
    places = [net.node("Gather", net.input(1, steps, features), np.array(0), axis=1)]
    source = net.nodes[-1].input[0]
    places += [net.node("Gather", source, np.array(k), axis=1) for k in range(1, steps)]
    weights = normal(features, UNITS), 0.5 * normal(UNITS, UNITS)
    h = net.node("Tanh", net.node("MatMul", places[0], weights[0]))
    for x in places[1:]:
        h = rnn_step(net, x, h, weights)
    graph = check(net.output(net.node("MatMul", h, normal(UNITS, 3))), tmp_path)
    assert kinds(graph).count("RNN") == 1
    assert (
        graph.shapes[next(node.inputs[0] for node in graph.nodes if isinstance(node.op, RNN))][1] == steps - 1
    )


def test_a_dense_layer_of_two_inputs_is_no_cell(tmp_path: Path) -> None:
    net = Net()
    x, h = net.input(1, FEATURES), net.input(1, UNITS, name="h")
    hidden = rnn_step(net, x, h, (normal(FEATURES, UNITS), normal(UNITS, UNITS)))
    graph = check(net.output(net.node("MatMul", hidden, normal(UNITS, 3))), tmp_path)
    assert "RNN" not in kinds(graph)


@pytest.mark.parametrize(("operator", "domain"), [("Gemm", "elsewhere"), ("Add", "elsewhere"), ("Add", "")])
def test_nodes_without_their_inputs_are_refused_not_searched(
    tmp_path: Path, operator: str, domain: str
) -> None:
    net = Net()
    y = net.node(operator, net.input(1, FEATURES))
    net.nodes[-1].domain = domain
    with pytest.raises(UserError):
        load(net.output(y).save(tmp_path))


@pytest.mark.parametrize(("place", "shape"), [(1, (9,)), (0, (9, UNITS)), (2, (3, FEATURES))])
def test_sums_whose_widths_differ_are_refused(tmp_path: Path, place: int, shape: tuple[int, ...]) -> None:
    """A bias or a matrix that fits nothing else: the file is damaged."""
    net = Net()
    x, h, c = net.input(1, FEATURES), net.input(1, UNITS, name="h"), net.input(1, UNITS, name="c")
    new = torch_lstm(net, x, h, c)
    net.initializers[place] = numpy_helper.from_array(normal(*shape), net.initializers[place].name)
    with pytest.raises(UserError):
        load(net.output(*new).save(tmp_path))


@pytest.mark.parametrize("sizes", [np.full((4, 1), UNITS), np.array([8, 8])])
def test_splits_that_are_damaged_are_refused(tmp_path: Path, sizes: Array) -> None:
    net = Net()
    x, h, c = net.input(1, FEATURES), net.input(1, UNITS, name="h"), net.input(1, UNITS, name="c")
    new = torch_lstm(net, x, h, c)
    split = next(node for node in net.nodes if node.op_type == "Split")
    split.input.append(net.constant(sizes, "sizes"))
    with pytest.raises(UserError):
        load(net.output(*new).save(tmp_path))


def test_a_bias_wider_than_its_gate_is_refused(tmp_path: Path) -> None:
    """A split that takes one unit of each gate of the state, to which all units' biases are added."""
    net = Net()
    x, h = net.input(1, FEATURES), net.input(1, UNITS, name="h")
    of_x, of_h = gru_gates(net, x, h)
    split = next(node for node in net.nodes if node.op_type == "Split" and of_h[0] in node.output)
    split.input.append(net.constant(np.ones(3, np.int64), "sizes"))
    z, r = (net.node("Sigmoid", net.node("Add", of_h[k], of_x[k])) for k in (0, 1))
    n = net.node("Tanh", net.node("Add", of_x[2], net.node("Mul", of_h[2], r)))
    fresh = net.node("Mul", net.node("Sub", ONE, z), n)
    with pytest.raises(UserError):
        load(net.output(net.node("Add", net.node("Mul", z, h), fresh)).save(tmp_path))
