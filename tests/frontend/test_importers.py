"""Each importer against onnxruntime, on small random models of several opsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfqgen.errors import UnsupportedModel
from dfqgen.frontend import load
from dfqgen.graph.ir import Array
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from tests.frontend.nets import Net, check, kinds, only

OPSETS = (7, 9, 11, 13, 18, 21)


def random(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


# --- convolution ---


@pytest.mark.parametrize(
    ("image", "weight", "attributes"),
    [
        ((1, 3, 8, 9), (4, 3, 3, 3), {}),
        ((1, 3, 8, 9), (4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ((1, 4, 8, 9), (6, 2, 3, 3), {"group": 2, "dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        ((1, 4, 8, 9), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
        ((1, 4, 8, 9), (4, 1, 5, 3), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 4, 8, 9), (4, 4, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ((1, 4, 8, 9), (4, 4, 2, 4), {"auto_pad": "VALID", "strides": [3, 2]}),
        ((1, 4, 20), (6, 4, 5), {"pads": [2, 1], "strides": [2]}),
        ((1, 4, 20), (4, 1, 3), {"group": 4, "dilations": [3]}),
    ],
)
def test_conv_equals_onnxruntime(
    tmp_path: Path, image: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    net = Net()
    x = net.input(*image)
    y = net.node("Conv", x, random(*weight), random(weight[0], seed=2), **attributes)
    graph = check(net.output(y), tmp_path)
    assert kinds(graph).count("Conv2D") == 1
    assert "Transpose" not in kinds(graph)


def test_a_conv_without_bias_has_zeros(tmp_path: Path) -> None:
    net = Net()
    y = net.node("Conv", net.input(1, 3, 5, 5), random(2, 3, 3, 3))
    assert not only(check(net.output(y), tmp_path), Conv2D).bias.any()


@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), ()])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_equals_onnxruntime(tmp_path: Path, bias: tuple[int, ...], transposed: int) -> None:
    net = Net()
    weight = random(4, 6) if transposed else random(6, 4)
    y = net.node("Gemm", net.input(1, 6), weight, random(*bias), transB=transposed, alpha=0.5, beta=2.0)
    check(net.output(y), tmp_path)


@pytest.mark.parametrize("weight", [(6, 4), (1, 6, 4), (6,)])
@pytest.mark.parametrize("x", [(1, 6), (1, 5, 6), (1, 2, 3, 6)])
def test_matmul_by_a_constant_equals_onnxruntime(
    tmp_path: Path, x: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    if weight == (1, 6, 4) and len(x) == 2:
        x = (1, 1, 6)
    net = Net()
    shape = x if len(weight) > 1 or len(x) > 2 else (1, 1, 6)
    check(net.output(net.node("MatMul", net.input(*shape), random(*weight))), tmp_path)


def test_a_constant_matmul_from_the_left_mixes_rows(tmp_path: Path) -> None:
    net = Net()
    check(net.output(net.node("MatMul", random(4, 6), net.input(1, 6, 5))), tmp_path)


def test_flatten_after_a_conv_permutes_the_weights_of_the_fully_connected_layer(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 6, 5), random(4, 3, 3, 3))
    x = net.node("Relu", net.node("Flatten", net.node("Relu", x)))
    y = net.node("Gemm", x, random(10, 4 * 4 * 3), transB=1)
    graph = check(net.output(y), tmp_path)
    assert "Transpose" not in kinds(graph)


# --- normalization and element-wise ---


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 7), (1, 5, 4, 3)])
def test_batch_normalization_equals_onnxruntime(tmp_path: Path, opset: int, shape: tuple[int, ...]) -> None:
    net = Net(opset)
    parameters = [random(5, seed=i) for i in range(3)]
    y = net.node("BatchNormalization", net.input(*shape), *parameters, np.abs(random(5)) + 0.1, epsilon=1e-3)
    assert "BatchNorm" in kinds(check(net.output(y), tmp_path))


def test_batch_normalization_between_flatten_and_gemm(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Flatten", net.node("Conv", net.input(1, 3, 4, 5), random(2, 3, 1, 1)))
    parameters = [random(40, seed=i) for i in range(3)]
    x = net.node("BatchNormalization", x, *parameters, np.abs(random(40)) + 0.1)
    graph = check(net.output(net.node("Gemm", x, random(40, 3))), tmp_path)
    assert "Transpose" not in kinds(graph)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operator", ["Relu", "Sigmoid", "Tanh"])
def test_functions_equal_onnxruntime(tmp_path: Path, opset: int, operator: str) -> None:
    net = Net(opset)
    check(net.output(net.node(operator, net.input(1, 3, 4, 5))), tmp_path)


@pytest.mark.parametrize(
    ("lo", "hi", "bounds"),
    [(0.0, 6.0, (0.0, 6.0)), (-0.5, None, (-0.5, np.inf)), (None, 0.25, (-np.inf, 0.25))],
)
@pytest.mark.parametrize("opset", OPSETS)
def test_clip_in_both_forms_equals_onnxruntime(
    tmp_path: Path, opset: int, lo: float | None, hi: float | None, bounds: tuple[float, float]
) -> None:
    net = Net(opset)
    x = net.input(1, 2, 4, 5)
    if opset < 11:
        attributes: dict[str, Any] = {"min": lo, "max": hi}
        y = net.node("Clip", x, **{k: v for k, v in attributes.items() if v is not None})
    else:
        y = net.node("Clip", x, *("" if v is None else np.array(v, np.float32) for v in (lo, hi)))
    clip = only(check(net.output(y), tmp_path), Clip)
    assert (float(clip.lo[0]), float(clip.hi[0])) == bounds


def test_a_clip_with_crossed_bounds_gives_the_upper_one(tmp_path: Path) -> None:
    net = Net(13)
    y = net.node("Clip", net.input(1, 2, 4, 5), np.array(1, np.float32), np.array(-1, np.float32))
    check(net.output(y), tmp_path)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operator", ["Add", "Sub"])
def test_add_and_sub_of_two_branches_equal_onnxruntime(tmp_path: Path, opset: int, operator: str) -> None:
    net = Net(opset)
    x = net.input(1, 3, 4, 5)
    a = net.node("Conv", x, random(3, 3, 3, 3), pads=[1, 1, 1, 1])
    b = net.node("Conv", x, random(3, 3, 1, 1, seed=4))
    graph = check(net.output(net.node(operator, a, b)), tmp_path)
    assert "Transpose" not in kinds(graph)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (5,), (4, 1)])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_with_a_constant_equals_onnxruntime(
    tmp_path: Path, operator: str, shape: tuple[int, ...]
) -> None:
    net = Net()
    x = net.input(1, 3, 4, 5)
    constant = np.asarray(np.abs(random(*shape)) + np.float32(0.5))
    y = net.node(operator, x, constant)
    if operator != "Div":
        y = net.node(operator, constant, net.node("Relu", y))
    check(net.output(y), tmp_path)


def test_an_add_after_matmul_is_its_bias(tmp_path: Path) -> None:
    net = Net()
    x = net.node("MatMul", net.input(1, 7, 6), random(6, 4))
    graph = check(net.output(net.node("Relu", net.node("Add", x, random(4)))), tmp_path)
    assert kinds(graph) == ["Reshape", "Conv2D", "Clip", "Reshape"]


def test_input_normalization_folds_into_the_first_conv(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Div", net.node("Sub", net.input(1, 3, 6, 6), random(3, 1, 1)), np.array(0.25, np.float32))
    graph = check(net.output(net.node("Conv", x, random(4, 3, 3, 3))), tmp_path)
    assert kinds(graph) == ["Conv2D"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_softmax_equals_onnxruntime(tmp_path: Path, opset: int, axis: int) -> None:
    net = Net(opset)
    check(net.output(net.node("Softmax", net.input(1, 3, 4, 5), axis=axis)), tmp_path)


@pytest.mark.parametrize("opset", OPSETS)
def test_softmax_has_the_default_axis_of_its_opset(tmp_path: Path, opset: int) -> None:
    net = Net(opset)
    check(net.output(net.node("Softmax", net.input(1, 3, 4))), tmp_path)


# --- pools ---

WINDOWS = [
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
def test_pools_equal_onnxruntime(tmp_path: Path, operator: str, opset: int, window: dict[str, Any]) -> None:
    net = Net(opset)
    x = net.node("Relu", net.input(1, 3, 8, 7))
    check(net.output(net.node(operator, x, **window)), tmp_path)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
@pytest.mark.parametrize("image", [(7, 7), (8, 6), (5, 10)])
@pytest.mark.parametrize("counted", [0, 1])
def test_average_pool_with_ceil_mode_counts_as_onnxruntime_does(
    tmp_path: Path, counted: int, image: tuple[int, int], pads: list[int]
) -> None:
    net = Net(19)
    window: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 3], "pads": pads}
    y = net.node("AveragePool", net.input(1, 2, *image), **window, ceil_mode=1, count_include_pad=counted)
    check(net.output(y), tmp_path)


@pytest.mark.parametrize("image", [(7, 7), (8, 6), (5, 10)])
def test_max_pool_with_ceil_mode_and_dilation(tmp_path: Path, image: tuple[int, int]) -> None:
    net = Net(13)
    x = net.input(1, 2, *image)
    a = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    b = net.node("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 3])
    check(net.output(a, b), tmp_path)


def test_pools_of_sequences_equal_onnxruntime(tmp_path: Path) -> None:
    net = Net()
    x = net.node("MaxPool", net.input(1, 3, 20), kernel_shape=[3], strides=[2])
    y = net.node("AveragePool", x, kernel_shape=[2], pads=[1, 1], count_include_pad=1)
    check(net.output(y), tmp_path)


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 3, 8)])
def test_global_pools_equal_onnxruntime(tmp_path: Path, operator: str, shape: tuple[int, ...]) -> None:
    net = Net()
    check(net.output(net.node(operator, net.node("Relu", net.input(*shape)))), tmp_path)


@pytest.mark.parametrize("axes", [(2, 3), (-1, -2), (1,), (3,), (1, 3), (1, 2, 3)])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax"])
def test_reductions_equal_onnxruntime(
    tmp_path: Path, operator: str, opset: int, keepdims: int, axes: tuple[int, ...]
) -> None:
    net = Net(opset)
    x = net.node("Relu", net.input(1, 3, 4, 5))
    if opset < 18:
        y = net.node(operator, x, axes=list(axes), keepdims=keepdims)
    else:
        y = net.node(operator, x, ints(*axes), keepdims=keepdims)
    if len(axes) == 3 and not keepdims:
        y = net.node("Reshape", y, ints(1, 1))
    check(net.output(y), tmp_path)


# --- movement ---


@pytest.mark.parametrize("opset", OPSETS)
def test_padding_is_fused_into_the_convolution(tmp_path: Path, opset: int) -> None:
    net = Net(opset)
    x = net.input(1, 3, 6, 5)
    pads = [0, 0, 1, 0, 0, 0, 2, 1]
    x = net.node("Pad", x, pads=pads) if opset < 11 else net.node("Pad", x, ints(*pads))
    graph = check(net.output(net.node("Conv", x, random(2, 3, 3, 3), pads=[0, 1, 0, 1])), tmp_path)
    assert kinds(graph) == ["Conv2D"]
    assert tuple(only(graph, Conv2D).pads) == (1, 1, 2, 2)


def test_padding_with_axes_and_a_value_equals_onnxruntime(tmp_path: Path) -> None:
    net = Net(18)
    y = net.node("Pad", net.input(1, 3, 6, 5), ints(1, 2), np.array(0.5, np.float32), ints(-2))
    graph = check(net.output(net.node("Conv", y, random(2, 3, 3, 3))), tmp_path)
    assert "Pad" in kinds(graph)


@pytest.mark.parametrize("opset", OPSETS)
def test_shapes_without_data_movement_equal_onnxruntime(tmp_path: Path, opset: int) -> None:
    net = Net(opset)
    x = net.input(1, 6, 1, 4)
    if opset < 13:
        x = net.node("Unsqueeze", net.node("Squeeze", x, axes=[2]), axes=[1, 4])
    else:
        x = net.node("Unsqueeze", net.node("Squeeze", x, ints(2)), ints(1, -1))
    x = net.node("Reshape", net.node("Identity", x), ints(0, 3, -1, 2))
    x = net.node("Relu", net.node("Transpose", x, perm=[0, 2, 1, 3]))
    check(net.output(net.node("Flatten", net.node("Dropout", x))), tmp_path)


def test_a_transpose_of_batch_and_another_axis_of_one_moves_nothing(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Relu", net.node("Transpose", net.input(1, 6, 1, 4), perm=[2, 1, 0, 3]))
    assert kinds(check(net.output(x), tmp_path)) == ["Clip"]


# --- refusals ---


def refusal(net: Net, folder: Path) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as caught:
        load(net.save(folder))
    return caught.value


def test_all_problems_are_listed_at_once_with_node_and_advice(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 8, 8), random(4, 3, 3, 3))
    x = net.node("LRN", x, size=3, name="norm/lrn")
    x = net.node("Relu", x)
    x = net.node("Det", x)
    error = refusal(net.output(x), tmp_path)
    assert [(p.operator, p.node) for p in error.problems] == [("LRN", "norm/lrn"), ("Det", "t3")]
    assert error.hint.endswith("--outputs t0")


def test_checks_go_on_behind_an_unsupported_node(tmp_path: Path) -> None:
    net = Net()
    x = net.node("LRN", net.input(1, 3, 8, 8), size=3)
    x = net.node("Conv", x, net.node("Relu", net.input(4, 3, 3, 3, name="w")))
    assert [p.operator for p in refusal(net.output(x), tmp_path).problems] == ["LRN", "Conv"]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda n, x: n.node("Conv", x, n.node("Relu", n.input(4, 3, 3, 3, name="w"))),
            "weight must be a constant",
        ),
        (
            lambda n, x: n.node("BatchNormalization", x, *[random(3)] * 4, training_mode=1, outputs=3),
            "training",
        ),
        (lambda n, x: n.node("Cast", x, to=7), "float32"),
        (lambda n, x: n.node("Div", x, np.zeros(1, np.float32)), "zero"),
        (lambda n, x: n.node("Add", x, random(1, 3, 8, 8)[:, :, :1, :1] * np.float32("nan")), "NaN"),
        (lambda n, x: n.node("ReduceSum", x, ints(0, 1, 2, 3), keepdims=0), "single number"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_a_reason(tmp_path: Path, build: object, text: str) -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    y = build(net, x)  # type: ignore[operator]
    path = net.output(y).save(tmp_path)
    with pytest.raises(Exception, match=text) as caught:
        load(path)
    assert caught.type.__module__ == "dfqgen.errors"


def test_a_used_second_output_is_refused(tmp_path: Path) -> None:
    net = Net()
    y = net.node("MaxPool", net.input(1, 3, 8, 8), kernel_shape=[2, 2], outputs=2)
    indices = net.node("Cast", f"{y}_1", to=1)
    assert "t0_1" in refusal(net.output(y, indices), tmp_path).problems[0].advice


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 1.1, 1.2), (1, 1, 2, 1.1)])
def test_a_scale_that_changes_no_size_copies_like_onnxruntime(
    tmp_path: Path, mode: str, scales: tuple[float, ...]
) -> None:
    """It copies where no axis changes, and selects by the scale where another does."""
    net = Net()
    x = net.node("Relu", net.input(1, 2, 3, 4))
    attributes: dict[str, Any] = {
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
        "mode": mode,
    }
    check(net.output(net.node("Resize", x, "", np.array(scales, np.float32), **attributes)), tmp_path)


def test_a_negative_axis_of_an_old_flatten_is_refused_like_onnxruntime(tmp_path: Path) -> None:
    old, new = Net(9), Net(11)
    for net in (old, new):
        net.output(net.node("Flatten", net.node("Relu", net.input(1, 3, 4, 5)), axis=-3))
    assert "came with opset 11" in refusal(old, tmp_path).problems[0].advice
    check(new, tmp_path)
