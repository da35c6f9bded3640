"""Transposes sink, meet and vanish; ports say what became of the axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfqgen.frontend import load
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Transpose
from dfqgen.passes.layout import matching_axes
from tests.frontend.nets import Net, assert_equals_onnxruntime, check, kinds, only


def random(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_chain_of_image_operators_has_no_transposes(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    a = net.node("Conv", x, random(4, 3, 3, 3), pads=[1, 1, 1, 1])
    a = net.node("BatchNormalization", a, *[np.abs(random(4))] * 4)
    a = net.node("Sigmoid", net.node("Mul", a, random(4, 1, 1)))
    b = net.node("MaxPool", net.node("Conv", x, random(4, 3, 1, 1)), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = net.node("Softmax", net.node("Relu", net.node("Add", a, b)), axis=1)
    graph = check(net.output(y), tmp_path)
    assert "Transpose" not in kinds(graph)
    assert graph.inputs[0].permutation == graph.outputs[0].permutation == (0, 2, 3, 1)
    assert graph.inputs[0].shape == (1, 8, 8, 3)


def test_rows_along_the_width_turn_all_windows_and_leave_no_transpose(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 1, 10, 23)
    a = net.node("Conv", x, random(4, 1, 5, 3), pads=[2, 0, 1, 1], strides=[2, 1])
    a = net.node("Conv", net.node("Relu", a), random(4, 1, 3, 2), group=4, dilations=[1, 2])
    a = net.node("MaxPool", a, kernel_shape=[1, 3], strides=[1, 2])
    b = net.node("AveragePool", a, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = net.node("Flatten", net.node("Add", a, b))
    path = net.output(net.node("Gemm", y, random(108, 5))).save(tmp_path)
    plain, turned = load(path), load(path, rows_along="width")
    assert_equals_onnxruntime(path, turned)
    assert kinds(turned) == kinds(plain)
    assert turned.inputs[0].shape == (1, 23, 10, 1)
    assert turned.inputs[0].permutation == (0, 3, 2, 1)


def test_with_nchw_ports_the_transposes_at_the_ends_stay(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Conv", net.input(1, 3, 8, 8), random(4, 3, 3, 3))).save(tmp_path)
    graph = load(path, io_layout="nchw")
    assert kinds(graph) == ["Transpose", "Conv2D", "Transpose"]
    assert graph.inputs[0].permutation is None
    assert graph.inputs[0].shape == (1, 3, 8, 8)


def test_a_model_that_takes_nhwc_keeps_its_axes(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Transpose", net.input(1, 8, 6, 3), perm=[0, 3, 1, 2])
    y = net.node("Transpose", net.node("Conv", x, random(4, 3, 3, 3)), perm=[0, 2, 3, 1])
    graph = check(net.output(y), tmp_path)
    assert kinds(graph) == ["Conv2D"]
    assert graph.inputs[0].permutation is graph.outputs[0].permutation is None


def test_an_input_with_one_channel_needs_no_transpose_in_either_layout(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Conv", net.input(1, 1, 8, 6), random(1, 1, 3, 3))).save(tmp_path)
    assert "Transpose" not in kinds(load(path, io_layout="nchw"))


def test_a_pad_in_front_of_an_nchw_input_is_still_fused(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Pad", net.input(1, 3, 8, 8), np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    path = net.output(net.node("Conv", x, random(4, 3, 3, 3))).save(tmp_path)
    assert kinds(load(path, io_layout="nchw")) == ["Transpose", "Conv2D", "Transpose"]


def test_a_pad_of_a_sequence_is_fused(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Pad", net.input(1, 3, 8), np.array([0, 0, 2, 0, 0, 0]))
    graph = check(net.output(net.node("Relu", net.node("Conv", x, random(4, 3, 3)))), tmp_path)
    assert "Pad" not in kinds(graph)


def test_pixels_become_tokens_without_moving(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 4, 4), random(6, 3, 1, 1))
    x = net.node("Transpose", net.node("Reshape", x, np.array([1, 6, 16])), perm=[0, 2, 1])
    graph = check(net.output(net.node("MatMul", x, random(6, 5))), tmp_path)
    assert "Transpose" not in kinds(graph)


def test_a_transpose_that_cannot_vanish_stays_and_is_right(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 4, 5), random(6, 3, 1, 1))
    x = net.node("Conv", net.node("Transpose", x, perm=[0, 1, 3, 2]), random(2, 6, 1, 1))
    assert only(check(net.output(x), tmp_path), Transpose).permutation == (0, 2, 1, 3)


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    [
        ((1, 6, 4), (1, 2, 3, 4), [([0], [0]), ([1], [1, 2]), ([2], [3])]),
        ((1, 2, 3, 4), (1, 24), [([0], [0]), ([1, 2, 3], [1])]),
        ((1, 4, 6), (1, 6, 4), [([0], [0]), ([1, 2], [1, 2])]),
        ((1, 4, 1), (1, 4), [([0], [0]), ([1, 2], [1])]),
    ],
)
def test_reshapes_are_split_into_the_smallest_groups_of_axes(
    before: tuple[int, ...], after: tuple[int, ...], groups: list[tuple[list[int], list[int]]]
) -> None:
    assert matching_axes(before, after) == groups
