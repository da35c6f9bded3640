"""Exporters' idioms are recognised, keep their function, and become the operators they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dfqgen.frontend import load
from dfqgen.graph.ir import Graph, Op
from dfqgen.ops.add import Add
from dfqgen.ops.concat import Concat
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.pointwise import Pointwise
from dfqgen.ops.take import Take


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class Net:
    """A model under construction; `x` is its input."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = value
        return name

    def node(self, kind: str, *inputs: str | np.ndarray | np.generic, **attributes: Any) -> str:
        names = [i if isinstance(i, str) else self.constant(np.asarray(i)) for i in inputs]
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def check(self, folder: Path, output: str, opset: int = 18) -> Graph:
        """The graph, after comparing it with onnxruntime on random inputs."""
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        path = folder / "net.onnx"
        onnx.save(model, path)
        loaded = load(path)
        x = np.random.default_rng(1).normal(0, 2, self.shape).astype(np.float32)
        (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )
        (source,), (port,) = loaded.inputs, loaded.outputs
        found = port.to_model(loaded.evaluate({source.tensor: source.from_model(x)})[port.tensor])
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
        return loaded


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def kinds(graph: Graph) -> list[type[Op]]:
    return [type(node.op) for node in graph.nodes]


def silu(net: Net, x: str) -> str:
    return net.node("Mul", x, net.node("Sigmoid", x))


def gelu(net: Net, x: str) -> str:
    inner = net.node("Add", net.node("Erf", net.node("Div", x, vector(1.41421356))), vector(1.0))
    return net.node("Mul", net.node("Mul", x, inner), vector(0.5))


def mish(net: Net, x: str) -> str:
    return net.node("Mul", x, net.node("Tanh", net.node("Softplus", x)))


def hard_swish(net: Net, x: str) -> str:
    clipped = net.node("Clip", net.node("Add", x, vector(3.0)), np.float32(0.0), np.float32(6.0))
    return net.node("Div", net.node("Mul", x, clipped), vector(6.0))


def square(net: Net, x: str) -> str:
    return net.node("Mul", x, x)


@pytest.mark.parametrize("function", [silu, gelu, mish, hard_swish, square])
def test_a_tree_of_elementwise_operators_is_one_table(tmp_path: Path, function: object) -> None:
    net = Net(1, 4, 5, 6)
    y = function(net, net.node("Conv", "x", random(4, 4, 1, 1)))  # type: ignore[operator]
    assert kinds(net.check(tmp_path, y)) == [Conv2D, Pointwise]


def test_a_clip_that_a_convolution_applies_stays_there(tmp_path: Path) -> None:
    net = Net(1, 4, 5, 6)
    y = net.node("Tanh", net.node("Exp", net.node("Relu", net.node("Conv", "x", random(4, 4, 1, 1)))))
    assert kinds(net.check(tmp_path, y)) == [Conv2D, Clip, Pointwise]


def test_a_value_that_others_read_is_not_fused_away(tmp_path: Path) -> None:
    net = Net(1, 4, 5, 6)
    x = net.node("Conv", "x", random(4, 4, 1, 1))
    s = net.node("Sigmoid", x)
    y = net.node("Add", net.node("Mul", x, s), net.node("Conv", s, random(4, 4, 1, 1)))
    assert Pointwise not in kinds(net.check(tmp_path, y))


def test_a_kernel_stuffed_with_zeros_is_dilated(tmp_path: Path) -> None:
    stuffed = np.zeros((6, 1, 9, 5), np.float32)
    stuffed[:, :, ::4, ::2] = random(6, 1, 3, 3)
    net = Net(1, 6, 12, 12)
    graph = net.check(tmp_path, net.node("Conv", "x", stuffed, group=6, pads=[4, 2, 4, 2]))
    (node,) = graph.nodes
    assert isinstance(node.op, Conv2D)
    assert (node.op.kernel, node.op.dilation) == ((3, 3), (4, 2))


def test_a_channel_shuffle_is_one_selection_without_transposes(tmp_path: Path) -> None:
    net = Net(1, 6, 5, 4)
    x = net.node("Conv", "x", random(6, 6, 1, 1))
    split = net.node("Reshape", x, ints(1, 2, 3, 5, 4))
    shuffled = net.node("Reshape", net.node("Transpose", split, perm=[0, 2, 1, 3, 4]), ints(1, 6, 5, 4))
    graph = net.check(tmp_path, net.node("Conv", shuffled, random(6, 6, 1, 1)))
    assert kinds(graph) == [Conv2D, Take, Conv2D]


def test_squeeze_and_excitation_leaves_no_transpose(tmp_path: Path) -> None:
    net = Net(1, 8, 6, 6)
    x = net.node("Conv", "x", random(8, 8, 3, 3), pads=[1, 1, 1, 1])
    pooled = net.node("Flatten", net.node("GlobalAveragePool", x))
    gate = net.node("Sigmoid", net.node("Gemm", pooled, random(8, 8)))
    y = net.node("Mul", x, net.node("Reshape", gate, ints(1, 8, 1, 1)))
    graph = net.check(tmp_path, net.node("Conv", y, random(8, 8, 1, 1)))
    assert Mul in kinds(graph)
    assert Transpose not in kinds(graph)


def test_transposes_cancel_through_joins_cuts_and_resizing(tmp_path: Path) -> None:
    net = Net(1, 4, 6, 6)
    a = net.node("Conv", "x", random(4, 4, 1, 1))
    b = net.node("Relu", net.node("Conv", "x", random(4, 4, 3, 3), pads=[1, 1, 1, 1]))
    up = net.node("Resize", net.node("Concat", a, net.node("Max", a, b), axis=1), "", vector(1, 1, 2, 2))
    cut = net.node("Slice", up, ints(1), ints(7), ints(1))
    graph = net.check(tmp_path, net.node("Conv", cut, random(4, 6, 1, 1)))
    assert {Concat, Take, Maximum, Conv2D} <= set(kinds(graph))
    assert Transpose not in kinds(graph)


def test_depth_to_space_takes_one_transpose(tmp_path: Path) -> None:
    net = Net(1, 12, 4, 5)
    x = net.node("Conv", "x", random(12, 12, 1, 1))
    graph = net.check(
        tmp_path, net.node("Conv", net.node("DepthToSpace", x, blocksize=2), random(3, 3, 1, 1))
    )
    assert kinds(graph) == [Conv2D, Reshape, Transpose, Reshape, Conv2D]


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (2, {"strides": [2, 2]}),
        (3, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        (4, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        (4, {"strides": [2, 1], "pads": [1, 2, 1, 1]}),
        (3, {"strides": [3, 2], "dilations": [2, 2]}),
        (2, {"strides": [3, 3]}),
        (5, {"pads": [2, 2, 2, 2]}),
        (3, {"strides": [2, 2], "group": 2, "pads": [0, 1, 1, 0]}),
        (4, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (4, {"strides": [2, 2], "output_shape": [9, 11]}),
        (2, {"pads": [3, 3, 3, 3], "strides": [4, 4]}),
    ],
)
def test_a_transposed_convolution_is_a_convolution(
    tmp_path: Path, kernel: int, attributes: dict[str, Any]
) -> None:
    net = Net(1, 4, 5, 6)
    weight, bias = random(4, 6 // int(attributes.get("group", 1)), kernel, kernel), random(6)
    graph = net.check(tmp_path, net.node("ConvTranspose", "x", weight, bias, **attributes))
    assert Conv2D in kinds(graph)


def test_channels_of_a_transposed_convolution_add_up(tmp_path: Path) -> None:
    net = Net(1, 4, 5, 6)
    y = net.node("ConvTranspose", "x", random(4, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1])
    graph = net.check(tmp_path, net.node("Add", y, y))
    assert kinds(graph).count(Add) + kinds(graph).count(Pointwise) == 1


def norm(channels: int) -> list[np.ndarray]:
    return [1 + random(channels) / 4, random(channels), random(channels), np.abs(random(channels)) + 1]


@pytest.mark.parametrize(("kernel", "pad"), [(2, 0), (3, 1), (4, 1)])
def test_normalization_after_a_transposed_convolution_reaches_it(
    tmp_path: Path, kernel: int, pad: int
) -> None:
    net = Net(1, 4, 8, 9)
    y = net.node("ConvTranspose", "x", random(4, 3, kernel, kernel), strides=[2, 2], pads=[pad] * 4)
    y = net.node("Relu", net.node("BatchNormalization", y, *norm(3)))
    graph = net.check(tmp_path, net.node("Conv", y, random(2, 3, 1, 1)))
    assert kinds(graph)[:3] == [Conv2D, BatchNorm, Clip]
    assert kinds(graph)[-1] is Conv2D
    assert Take not in kinds(graph)[:3]


@pytest.mark.parametrize("expand", [True, False])
def test_division_by_the_length_is_a_normalization(tmp_path: Path, expand: bool) -> None:
    net = Net(1, 4, 5, 6)
    x = net.node("Conv", "x", random(4, 4, 1, 1))
    length = net.node("Max", net.node("ReduceL2", x, ints(1), keepdims=1), np.float32(1e-9))
    length = net.node("Expand", length, ints(1, 4, 5, 6)) if expand else length
    graph = net.check(tmp_path, net.node("Div", x, length))
    assert kinds(graph) == [Conv2D, LpNormalize]


def test_a_constant_mask_folds_into_the_convolution(tmp_path: Path) -> None:
    net = Net(1, 4, 5, 6)
    mask = np.array([True, False, True, True]).reshape(1, 4, 1, 1)
    y = net.node("Where", mask, net.node("Conv", "x", random(4, 4, 1, 1)), vector(7.0))
    assert kinds(net.check(tmp_path, net.node("Where", mask, vector(1.0), y))) == [Conv2D]


@pytest.mark.parametrize("spelled", ["Pow", "Mul"])
def test_a_root_of_two_squares_is_a_magnitude(tmp_path: Path, spelled: str) -> None:
    net = Net(1, 2, 5, 6)
    parts = net.node("Split", "x", axis=1, num_outputs=2), "t0b"
    net.nodes[-1].output.append(parts[1])
    squares = [net.node("Pow", x, vector(2.0)) if spelled == "Pow" else net.node("Mul", x, x) for x in parts]
    graph = net.check(tmp_path, net.node("Sqrt", net.node("Add", *squares)))
    assert kinds(graph).count(Magnitude) == 1
    assert not {Add, Mul, Pointwise} & set(kinds(graph))


def test_a_power_that_is_read_stays_one(tmp_path: Path) -> None:
    net = Net(1, 4, 5, 6)
    power = net.node("Add", net.node("Mul", "x", "x"), net.node("Pow", "x", vector(2.0)))
    graph = net.check(tmp_path, net.node("Mul", net.node("Sqrt", power), power))
    assert Magnitude not in kinds(graph)
