"""What Keras 3 writes through tf2onnx: a Loop around one step of a recurrent layer, TensorFlow's norms, more.

The graphs have the nodes of files that tf2onnx 1.17 made of Keras 3.15 models; `bench/exporters.py --keras`
makes such files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dfqgen.errors import UnsupportedModel
from dfqgen.frontend import load
from dfqgen.graph.ir import Array, Op
from dfqgen.ops.recurrent import GRU, LSTM, RNN
from dfqgen.ops.standardize import Standardize
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, kinds, only

STEPS, FEATURES, UNITS = 6, 5, 4
RNG = np.random.default_rng(8)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


class Step:
    """The body of a Loop: the counters and the condition, and the cell's nodes."""

    def __init__(self, source: str, carried: dict[str, Array], steps: int = STEPS) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.carried = carried
        one = self.constant(np.array(1, np.int32))
        self.time = self.node("Add", "time", one)
        self.x = self.node("Gather", source, "time")
        limit = self.constant(np.array(float(steps), np.float32))
        less = [self.node("Less", self.node("Cast", n, to=1), limit) for n in ("count", self.time)]
        self.more = self.node("And", *less)

    def constant(self, value: Array) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def nodes_of(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"s{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_of(operator, 1, *inputs, **attributes)[0]

    def part(self, x: str, first: int, end: int) -> str:
        """Columns, as TensorFlow's strided slices."""
        ends = (np.array(v, np.int64) for v in ([0, first], [2147483647, end], [0, 1]))
        return self.node("Slice", x, *(self.constant(v) for v in ends))

    def graph(self, after: dict[str, str], weights: dict[str, Array]) -> onnx.GraphProto:
        """With `after` as the new states; the first of them is what the loop gives of every step."""
        given = self.node("Identity", next(iter(after.values())))
        info = helper.make_tensor_value_info
        inputs = [info("count", TensorProto.INT64, []), info("going", TensorProto.BOOL, [])]
        inputs += [info("time", TensorProto.INT32, [])]
        inputs += [info(n, TensorProto.FLOAT, v.shape) for n, v in (self.carried | weights).items()]
        outputs = [info(self.more, TensorProto.BOOL, []), info(self.time, TensorProto.INT32, [])]
        outputs += [info(name, TensorProto.FLOAT, None) for name in (*after.values(), *weights, given)]
        return helper.make_graph(self.nodes, "body", inputs, outputs, self.constants)


def lstm(step: Step, weights: dict[str, Array]) -> dict[str, str]:
    product = step.node("Squeeze", step.node("MatMul", "h", "r"))  # of a batch of 1 what is left is a vector
    total = step.node("Add", step.node("Gemm", step.x, "w", product), "b")
    i, f, g, o = step.nodes_of("Split", 4, total, axis=1)
    kept = step.node("Mul", step.node("Sigmoid", f), "c")
    c = step.node("Add", kept, step.node("Mul", step.node("Sigmoid", i), step.node("Tanh", g)))
    return {"h": step.node("Mul", step.node("Sigmoid", o), step.node("Tanh", c)), "c": c}


def peephole(step: Step, weights: dict[str, Array]) -> dict[str, str]:
    """TensorFlow's LSTMCell: gates see the cell, the output's the new one; the state is projected."""
    p = [step.constant(normal(UNITS)) for _ in range(3)]
    total = step.node("Gemm", step.node("Concat", step.x, "h", axis=1), step.constant(weights["k"]), "b")
    i, g, f, o = step.nodes_of("Split", 4, total, axis=1)
    i, f = (step.node("Add", gate, step.node("Mul", "c", w)) for gate, w in ((i, p[0]), (f, p[1])))
    kept = step.node("Mul", step.node("Sigmoid", f), "c")
    c = step.node("Add", kept, step.node("Mul", step.node("Sigmoid", i), step.node("Tanh", g)))
    o = step.node("Add", o, step.node("Mul", c, p[2]))
    h = step.node("Mul", step.node("Sigmoid", o), step.node("Tanh", c))
    return {"h": step.node("MatMul", h, step.constant(normal(UNITS, UNITS))), "c": c}


def gru_end(step: Step, update: str, candidate: str) -> dict[str, str]:
    one = step.constant(np.array(1.0, np.float32))
    fresh = step.node("Mul", step.node("Sub", one, update), candidate)
    return {"h": step.node("Add", step.node("Mul", update, "h"), fresh)}


def gru_after(step: Step, weights: dict[str, Array]) -> dict[str, str]:
    """Keras' default: the reset gate behind the product."""
    biases = step.nodes_of("Split", 2, "b", axis=0)
    zero = step.constant(np.array([0], np.int64))
    biases = [step.node("Squeeze", bias, zero) for bias in biases]
    of_x = step.nodes_of("Split", 3, step.node("Gemm", step.x, "w", biases[0]), axis=-1)
    whole = step.node("Gemm", "h", "r", biases[1])
    of_h = [step.part(whole, k * UNITS, 2147483647 if k == 2 else (k + 1) * UNITS) for k in range(3)]
    update, reset = (step.node("Sigmoid", step.node("Add", of_x[k], of_h[k])) for k in (0, 1))
    candidate = step.node("Tanh", step.node("Add", of_x[2], step.node("Mul", reset, of_h[2])))
    return gru_end(step, update, candidate)


def gru_before(step: Step, weights: dict[str, Array]) -> dict[str, str]:
    of_x = step.nodes_of("Split", 3, step.node("Gemm", step.x, "w", "b"), axis=-1)
    whole = step.node("MatMul", "h", step.part("r", 0, 2 * UNITS))
    of_h = [step.part(whole, k * UNITS, (k + 1) * UNITS) for k in range(2)]
    update, reset = (step.node("Sigmoid", step.node("Add", of_x[k], of_h[k])) for k in (0, 1))
    last = step.part("r", 2 * UNITS, 2147483647)
    candidate = step.node("Tanh", step.node("Gemm", step.node("Mul", reset, "h"), last, of_x[2]))
    return gru_end(step, update, candidate)


def simple(step: Step, weights: dict[str, Array]) -> dict[str, str]:
    return {"h": step.node("Tanh", step.node("Gemm", "h", "r", step.node("Gemm", step.x, "w", "b")))}


Cell = Callable[[Step, dict[str, Array]], dict[str, str]]
CELLS: dict[str, tuple[Cell, int, type[Op]]] = {
    "LSTM": (lstm, 4, LSTM),
    "GRU": (gru_after, 3, GRU),
    "GRU before": (gru_before, 3, GRU),
    "RNN": (simple, 1, RNN),
    "LSTM, peepholes": (peephole, 4, LSTM),
}


def layer(net: Net, x: str, kind: str, steps: int = STEPS) -> str:
    """A recurrent layer on x [T,1,F], time first: gives its hidden states [T,1,H]."""
    cell, gates, _ = CELLS[kind]
    zeros = np.zeros((1, UNITS), np.float32)
    carried = {"h": zeros, "c": zeros} if kind.startswith("LSTM") else {"h": zeros}
    rows = (2, gates * UNITS) if kind == "GRU" else (gates * UNITS,)
    weights = {"w": normal(FEATURES, gates * UNITS), "r": normal(UNITS, gates * UNITS), "b": normal(*rows)}
    step = Step(x, carried, steps)
    whole = {"k": np.concatenate([weights["w"], weights["r"]])}
    body = step.graph(cell(step, weights | whole), weights)
    given = [scalar(net, value) for value in (np.array(STEPS), np.array(True), np.array(0, np.int32))]
    count = len(carried) + len(weights) + 2
    last = net.node("Loop", *given, *carried.values(), *weights.values(), outputs=count, body=body)
    return f"{last}_{count - 1}"


def scalar(net: Net, value: Array) -> str:
    """A constant without axes."""
    name = f"scalar{len(net.initializers)}"
    net.initializers.append(numpy_helper.from_array(value, name))
    return name


def time_first(net: Net) -> str:
    return net.node("Reshape", net.input(1, STEPS, FEATURES), np.array([STEPS, 1, FEATURES]))


@pytest.mark.parametrize("kind", CELLS)
def test_a_loop_around_a_cell_is_a_recurrent_layer(tmp_path: Path, kind: str) -> None:
    net = Net()
    states = layer(net, time_first(net), kind)
    last = net.node("Slice", states, np.array([-1]), np.array([2147483647]), np.array([0]))
    graph = check(net.output(net.node("Squeeze", last, np.array([0]))), tmp_path)
    op = only(graph, CELLS[kind][2])
    if kind.startswith("GRU"):
        assert op.reset_after == (kind == "GRU")


def test_both_directions_are_one_loop_on_the_reverse(tmp_path: Path) -> None:
    net = Net()
    x = time_first(net)
    lengths = np.array([STEPS], np.int64)
    back = net.node("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)
    both = [layer(net, x, "LSTM"), layer(net, back, "LSTM")]
    # tf2onnx takes the length from the shape of what the loop gives.
    length = net.node("Gather", net.node("Shape", both[1]), np.array([0]))
    both[1] = net.node("ReverseSequence", both[1], length, time_axis=0, batch_axis=1)
    y = net.node("Reshape", net.node("Concat", *both, axis=2), np.array([1, STEPS, 2 * UNITS]))
    assert kinds(check(net.output(y), tmp_path)).count("LSTM") == 2


def test_a_loop_that_ends_before_the_sequence_is_refused(tmp_path: Path) -> None:
    net = Net()
    path = net.output(layer(net, time_first(net), "RNN", steps=3)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match="control flow is not supported but around one step"):
        load(path)


def unrolled(net: Net, kind: str, *, other_weights_at: int = -1) -> list[str]:
    """The hidden states [1,H] of an LSTM or a GRU without a loop; the first step's states are constants."""
    steps = net.node("Split", net.input(1, STEPS, FEATURES), axis=1, outputs=STEPS)
    gates = 4 if kind == "LSTM" else 3
    weights = normal(FEATURES, gates * UNITS), normal(UNITS, gates * UNITS)
    biases = normal(gates * UNITS), normal(gates * UNITS)
    h: str | Array = np.zeros((1, UNITS), np.float32)
    c: str | Array = np.zeros((1, UNITS), np.float32)
    one = np.array(1.0, np.float32)
    found = []
    for t in range(STEPS):
        w, r = (normal(*v.shape) for v in weights) if t == other_weights_at else weights
        x = net.node("Squeeze", steps if t == 0 else f"{steps}_{t}", np.array([1]))
        of_x, of_h = net.node("Gemm", x, w, biases[0]), net.node("Gemm", h, r, biases[1])
        if kind == "LSTM":
            first = net.node("Split", net.node("Add", of_x, of_h), axis=1, outputs=4)
            i, f, g, o = (first, *(f"{first}_{k}" for k in (1, 2, 3)))
            kept = net.node("Mul", net.node("Sigmoid", f), c)
            c = net.node("Add", kept, net.node("Mul", net.node("Sigmoid", i), net.node("Tanh", g)))
            h = net.node("Mul", net.node("Sigmoid", o), net.node("Tanh", c))
        else:
            parts = [net.node("Split", of, axis=1, outputs=3) for of in (of_x, of_h)]
            z, reset = (
                net.node("Sigmoid", net.node("Add", *(p if k == 0 else f"{p}_{k}" for p in parts)))
                for k in (0, 1)
            )
            inner = net.node("Mul", reset, f"{parts[1]}_2")
            candidate = net.node("Tanh", net.node("Add", f"{parts[0]}_2", inner))
            fresh = net.node("Mul", net.node("Sub", one, z), candidate)
            h = net.node("Add", net.node("Mul", z, h), fresh)
        found.append(h)
    return found


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_layer_without_a_loop_gets_one(tmp_path: Path, kind: str) -> None:
    net = Net()
    hidden = unrolled(net, kind)
    graph = check(net.output(net.node("Relu", hidden[-1]), net.node("Relu", hidden[2])), tmp_path)
    assert kinds(graph).count(kind) == 1
    (op,) = (node for node in graph.nodes if type(node.op).__name__ == kind)
    assert graph.shapes[op.inputs[0]] == (1, STEPS - 1, FEATURES)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_step_with_other_weights_is_a_layer_of_its_own(tmp_path: Path, kind: str) -> None:
    net = Net()
    graph = check(net.output(net.node("Relu", unrolled(net, kind, other_weights_at=2)[-1])), tmp_path)
    found = [node for node in graph.nodes if type(node.op).__name__ == kind]
    assert [graph.shapes[node.inputs[0]][1] for node in found] == [1, 1, STEPS - 3]


def norm(net: Net, x: str, *, beta: bool, groups: bool) -> str:
    """x * k + (beta - mean * k), as TensorFlow computes LayerNormalization, or GroupNormalization's part."""
    axes = np.array([1, 2, 4] if groups else [2])
    mean = net.node("ReduceMean", x, axes, keepdims=1)
    difference = net.node("Sub", x, mean)
    variance = net.node("ReduceMean", net.node("Mul", difference, difference), axes, keepdims=1)
    root = net.node("Sqrt", net.node("Add", variance, np.float32(1e-3)))
    scale = net.node("Reciprocal", root)
    if groups:
        scale = net.node("Expand", scale, np.array([1, 1, 1, 4, 2]))
    else:
        scale = net.node("Mul", scale, normal(1, 1, 8))
    shift = net.node("Mul", net.node("Neg", mean), scale)
    if beta:
        shift = net.node("Add", shift, normal(1, 1, 8))
    return net.node("Add", net.node("Mul", x, scale), shift)


@pytest.mark.parametrize("beta", [False, True])
def test_a_norm_that_is_multiplied_out_is_one_operator(tmp_path: Path, beta: bool) -> None:
    net = Net(18)
    graph = check(net.output(norm(net, net.input(1, 5, 8), beta=beta, groups=False)), tmp_path)
    assert only(graph, Standardize).epsilon == pytest.approx(1e-3)
    assert set(kinds(graph)) <= {"Standardize", "Affine"}


def test_a_norm_of_groups_is_one_operator(tmp_path: Path) -> None:
    net = Net(18)
    x = net.node("Reshape", net.input(1, 4, 4, 8), np.array([1, 4, 4, 4, 2]))
    y = net.node("Reshape", norm(net, x, beta=False, groups=True), np.array([1, 4, 4, 8]))
    assert "Standardize" in kinds(check(net.output(y), tmp_path))


def test_a_product_with_a_bounded_reciprocal_length_is_a_normalization(tmp_path: Path) -> None:
    net = Net(18)
    x = net.input(1, 12)
    squares = net.node("ReduceSum", net.node("Mul", x, x), np.array([-1]), keepdims=1)
    inverse = net.node("Min", net.node("Reciprocal", net.node("Sqrt", squares)), np.float32(1e12))
    assert kinds(check(net.output(net.node("Mul", x, inverse)), tmp_path)) == ["LpNormalize"]


def test_numbers_of_rows_that_are_counted_from_the_end_are_the_tables(tmp_path: Path) -> None:
    net = Net()
    number = net.node("Cast", net.input(1, 5), to=TensorProto.INT32)
    less = net.node("Less", net.node("Cast", number, to=TensorProto.FLOAT), np.float32(0.0))
    kept = net.node("Mul", number, net.node("Cast", net.node("Not", less), to=TensorProto.INT32))
    wrapped = net.node("Add", number, np.array(9, np.int32))
    moved = net.node("Mul", net.node("Cast", less, to=TensorProto.INT32), wrapped)
    rows = net.node("Gather", normal(9, 3), net.node("Add", moved, kept))
    graph = check(net.output(rows), tmp_path)
    assert kinds(graph) == ["Embedding"]
    assert graph.inputs[0].holds == (0, 8)


def test_erfc_is_read_though_onnx_lacks_it(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 6)
    path = net.output(net.node("Mul", x, net.node("Erfc", net.node("Neg", x)))).save(tmp_path)
    assert_equals_onnxruntime(path, load(path))
