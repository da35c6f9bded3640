"""Networks whose first axis is not the batch, or a batch of more than one: the function decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfqgen.errors import UnsupportedModel
from dfqgen.frontend import load
from dfqgen.graph.ir import Array
from dfqgen.graph.text import graph_text, parse_graph
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, kinds


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


AXES_FIRST: dict[str, Callable[[Net, str], str]] = {
    "shuffle": lambda n, x: n.node(
        "Reshape",
        n.node("Transpose", n.node("Reshape", x, ints(2, 3, 20)), perm=[1, 0, 2]),
        ints(1, 6, 4, 5),
    ),
    "squeeze": lambda n, x: n.node("Tanh", n.node("Squeeze", x, ints(0))),
    "channels to the front": lambda n, x: n.node("Transpose", x, perm=[1, 0, 2, 3]),
    "softmax over axis 0": lambda n, x: n.node("Softmax", n.node("Squeeze", x, ints(0)), axis=0),
    "split axis 0": lambda n, x: n.node("Split", n.node("Squeeze", x, ints(0)), axis=0, outputs=2),
    "slice axis 0": lambda n, x: n.node("Slice", n.node("Squeeze", x, ints(0)), ints(1), ints(4), ints(0)),
    "gather axis 0": lambda n, x: n.node("Gather", n.node("Squeeze", x, ints(0)), ints(3, 1), axis=0),
    "gather one": lambda n, x: n.node("Gather", n.node("Squeeze", x, ints(0)), np.array(2), axis=0),
    "matrix": lambda n, x: n.node("Gemm", n.node("Reshape", x, ints(24, 5)), random(5, 3), random(3)),
    "matrix with rows of bias": lambda n, x: n.node(
        "Gemm", n.node("Reshape", x, ints(24, 5)), random(5, 3), random(24, 3)
    ),
    "transposed matrix": lambda n, x: n.node(
        "Gemm", n.node("Reshape", x, ints(24, 5)), random(24, 3), transA=1
    ),
    "matmul": lambda n, x: n.node("MatMul", n.node("Reshape", x, ints(6, 4, 5)), random(5, 3)),
    "constant first": lambda n, x: n.node("MatMul", random(3, 24), n.node("Reshape", x, ints(24, 5))),
    "sum over axis 0": lambda n, x: n.node("ReduceSum", n.node("Squeeze", x, ints(0)), ints(0), keepdims=0),
    "mean over axis 0": lambda n, x: n.node(
        "ReduceMean", n.node("Squeeze", x, ints(0)), axes=[0], keepdims=1
    ),
    "constant of axis 0": lambda n, x: n.node("Add", n.node("Squeeze", x, ints(0)), random(6, 1, 1)),
    "larger constant": lambda n, x: n.node("Mul", x, random(3, 6, 1, 5)),
    "joined along axis 0": lambda n, x: n.node("Concat", x, random(2, 6, 4, 5), x, axis=0),
    "padded axis 0": lambda n, x: n.node("Pad", x, ints(1, 0, 0, 0, 2, 0, 0, 0)),
    "expanded": lambda n, x: n.node("Expand", x, ints(3, 1, 1, 1)),
    "tiled": lambda n, x: n.node("Tile", x, ints(2, 1, 1, 2)),
    "flattened at 0": lambda n, x: n.node("Flatten", n.node("Squeeze", x, ints(0)), axis=0),
    "flattened at 2": lambda n, x: n.node("Flatten", n.node("Squeeze", x, ints(0)), axis=2),
    "unsqueezed": lambda n, x: n.node("Unsqueeze", n.node("Squeeze", x, ints(0)), ints(1, -1)),
    "two of different rank": lambda n, x: n.node("Add", n.node("Squeeze", x, ints(0)), x),
    "pooled sample by sample": lambda n, x: n.node(
        "MaxPool", n.node("Reshape", x, ints(3, 2, 4, 5)), kernel_shape=[2, 2]
    ),
    "convolved sample by sample": lambda n, x: n.node(
        "Conv", n.node("Reshape", x, ints(3, 2, 4, 5)), random(4, 2, 3, 3), pads=[1, 1, 1, 1]
    ),
    "normalized sample by sample": lambda n, x: n.node(
        "BatchNormalization", n.node("Reshape", x, ints(3, 2, 4, 5)), *[np.abs(random(2))] * 4
    ),
}


@pytest.mark.parametrize("behind", ["input", "convolution"])
@pytest.mark.parametrize("kind", list(AXES_FIRST))
def test_the_first_axis_may_be_one_like_others(tmp_path: Path, kind: str, behind: str) -> None:
    net = Net(17)
    x = net.input(1, 6, 4, 5)
    if behind == "convolution":
        x = net.node("Conv", x, random(6, 6, 1, 1))
    check(net.output(AXES_FIRST[kind](net, x)), tmp_path)


def test_a_shuffle_over_the_first_axis_is_one_selection(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 6, 4, 5), random(6, 6, 1, 1))
    graph = check(net.output(AXES_FIRST["shuffle"](net, x)), tmp_path)
    assert "Take" in kinds(graph)
    assert "Transpose" not in kinds(graph)


def test_a_sequence_may_come_time_first(tmp_path: Path) -> None:
    net = Net()
    x = net.input(7, 1, 5)
    y = net.node("MatMul", net.node("Transpose", x, perm=[1, 0, 2]), random(5, 3))
    graph = check(net.output(net.node("Add", y, net.node("ReduceMean", y, axes=[1]))), tmp_path)
    assert graph.inputs[0].shape == (1, 7, 1, 5)
    assert graph.inputs[0].whole


def test_ports_without_a_batch_are_printed_and_parsed(tmp_path: Path) -> None:
    net = Net()
    graph = load(net.output(net.node("Tanh", net.input(7, 1, 5))).save(tmp_path))
    again = parse_graph(graph_text(graph, full=True))
    assert [port.whole for port in (*again.inputs, *again.outputs)] == [True, True]


@pytest.mark.parametrize("flat", [(8, -1), (8, 48), (-1, 48), (0, -1)])
def test_a_batch_of_eight_becomes_one(tmp_path: Path, flat: tuple[int, int]) -> None:
    net = Net()
    x = net.node("Conv", net.input(8, 3, 4, 4), random(3, 3, 3, 3), pads=[1, 1, 1, 1])
    y = net.node("Gemm", net.node("Reshape", x, ints(*flat)), random(48, 5))
    graph = check(net.output(y), tmp_path)
    assert graph.inputs[0].shape == (1, 4, 4, 3)
    assert graph.outputs[0].shape == (1, 5)


def test_the_shape_given_decides_what_the_first_axis_is(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Softmax", net.input(8, 5), axis=0)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match="the file has 8 samples"):
        load(path)
    graph = load(path, input_shapes={"x": (8, 5)})
    assert graph.inputs[0].shape == (1, 8, 5)
    assert_equals_onnxruntime(path, graph)


def test_many_samples_of_one_layer_are_refused(tmp_path: Path) -> None:
    net = Net()
    y = net.node(
        "MaxPool", net.node("Reshape", net.input(1, 40, 4, 5), ints(20, 2, 4, 5)), kernel_shape=[2, 2]
    )
    with pytest.raises(UnsupportedModel, match="works on 20 samples; up to 16"):
        load(net.output(y).save(tmp_path))


@pytest.mark.parametrize(
    ("operator", "constants", "attributes"),
    [
        ("Softmax", (), {"axis": 0}),
        ("ReduceMean", (), {"axes": [0], "keepdims": 1}),
        ("ReduceL1", (), {}),
        ("Tile", (ints(2, 1),), {}),
        ("Pad", (ints(1, 0, 0, 0),), {}),
        ("Flatten", (), {"axis": 0}),
        ("Slice", (ints(-2), ints(3), ints(0)), {}),
    ],
)
def test_what_mixes_the_samples_of_a_fixed_batch_is_refused(
    tmp_path: Path, operator: str, constants: tuple[np.ndarray, ...], attributes: dict[str, Any]
) -> None:
    net = Net(opset=13)
    path = net.output(net.node(operator, net.input(3, 5), *constants, **attributes)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match=r"the file has 3 samples .* --input-shape"):
        load(path)
    assert_equals_onnxruntime(path, load(path, input_shapes={"x": (3, 5)}))


def test_a_sum_over_an_axis_that_has_taken_the_batch_in_is_refused(tmp_path: Path) -> None:
    net = Net(opset=13)
    rows = net.node("Flatten", net.input(2, 3, 4, 5), axis=2)
    path = net.output(net.node("ReduceSum", rows)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match="that the batch may be part of, of which the file has 2"):
        load(path)


def test_a_recurrent_layer_over_the_first_axis_of_a_batch_is_refused(tmp_path: Path) -> None:
    net = Net(opset=14)
    y = net.node("RNN", net.input(4, 2, 3), random(1, 5, 3), random(1, 5, 5), hidden_size=5)
    with pytest.raises(UnsupportedModel, match="the file has 4 samples"):
        load(net.output(y).save(tmp_path))


def test_a_batch_that_ends_behind_another_axis_is_refused(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Transpose", net.input(3, 4, 5), perm=[1, 0, 2])).save(tmp_path)
    with pytest.raises(UnsupportedModel, match=r"batch of 3, which is not the first axis of its output 't0'"):
        load(path)


@pytest.mark.parametrize("operator", ["ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_a_norm_over_one_sample_is_not_the_sample(tmp_path: Path, operator: str) -> None:
    net = Net(opset=13)
    check(net.output(net.node(operator, net.input(1, 5), axes=[0], keepdims=1)), tmp_path)


def test_a_batch_that_changes_places_with_an_axis_of_one_is_refused(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Transpose", net.input(3, 4, 1), perm=[2, 1, 0])).save(tmp_path)
    with pytest.raises(UnsupportedModel, match="behind one of size 1"):
        load(path)
