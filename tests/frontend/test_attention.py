"""Norms and attention, as operators and as exporters write them out: onnxruntime's results, few operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfqgen.ops.divide import Div
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.standardize import Standardize
from tests.frontend.nets import Net, check, kinds, only

TOKENS, WIDTH = 5, 8
RNG = np.random.default_rng(7)
GAMMA, BETA = RNG.normal(size=(2, WIDTH)).astype(np.float32)
EPSILON = np.float32(1e-3)


def mean(net: Net, x: str, *axes: int) -> str:
    return net.node("ReduceMean", x, axes=list(axes), keepdims=1)


def by_pow(net: Net, x: str) -> str:
    """PyTorch before opset 17."""
    d = net.node("Sub", x, mean(net, x, -1))
    variance = mean(net, net.node("Pow", d, np.float32(2.0)), -1)
    return net.node("Div", d, net.node("Sqrt", net.node("Add", variance, EPSILON)))


def by_square_of_its_own(net: Net, x: str) -> str:
    """The difference is computed twice, and the epsilon comes first."""
    first, second = (net.node("Sub", x, mean(net, x, -1)) for _ in range(2))
    variance = mean(net, net.node("Mul", second, second), -1)
    return net.node("Div", first, net.node("Sqrt", net.node("Add", EPSILON, variance)))


def by_reciprocal(net: Net, x: str) -> str:
    """A product with one over the root."""
    d = net.node("Sub", x, mean(net, x, -1))
    variance = net.node("Add", mean(net, net.node("Pow", d, np.float32(2.0)), -1), EPSILON)
    return net.node("Mul", net.node("Reciprocal", net.node("Sqrt", variance)), d)


def by_power(net: Net, x: str) -> str:
    """The root as a power."""
    d = net.node("Sub", x, mean(net, x, 2))
    variance = net.node("Add", mean(net, net.node("Mul", d, d), 2), EPSILON)
    return net.node("Mul", d, net.node("Pow", variance, np.float32(-0.5)))


FORMS: dict[str, Callable[[Net, str], str]] = {
    "pow": by_pow, "square": by_square_of_its_own, "reciprocal": by_reciprocal, "power": by_power,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_layer_normalization_written_out_is_one_operator(tmp_path: Path, form: str) -> None:
    net = Net()
    y = FORMS[form](net, net.input(1, TOKENS, WIDTH))
    net.output(net.node("Add", net.node("Mul", y, GAMMA), BETA))
    graph = check(net, tmp_path)
    assert kinds(graph) == ["Standardize"]
    np.testing.assert_allclose(only(graph, Standardize).gamma, GAMMA, rtol=1e-6)


def test_rms_normalization_written_out_is_one_operator(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, TOKENS, WIDTH)
    size = net.node("Sqrt", net.node("Add", mean(net, net.node("Mul", x, x), -1), EPSILON))
    net.output(net.node("Mul", net.node("Div", x, size), GAMMA))
    graph = check(net, tmp_path)
    assert kinds(graph) == ["Standardize"]
    assert not only(graph, Standardize).centered


def test_a_norm_over_channels_of_an_image_moves_them_last_once(tmp_path: Path) -> None:
    """ConvNeXt's, which keeps channels first."""
    net = Net()
    x = net.input(1, WIDTH, 6, 5)
    d = net.node("Sub", x, mean(net, x, 1))
    variance = net.node("Add", mean(net, net.node("Pow", d, np.float32(2.0)), 1), EPSILON)
    y = net.node("Div", d, net.node("Sqrt", variance))
    weight = RNG.normal(size=(4, WIDTH, 3, 3)).astype(np.float32)
    net.output(net.node("Conv", net.node("Mul", y, GAMMA[:, None, None]), weight))
    assert kinds(check(net, tmp_path)) == ["Standardize", "Conv2D"]


def test_a_root_mean_square_of_differences_is_one_over_its_own_axis(tmp_path: Path) -> None:
    """The mean is taken over another axis: only what follows it is a norm."""
    net = Net()
    x = net.input(1, TOKENS, WIDTH)
    d = net.node("Sub", x, mean(net, x, 1))
    size = net.node("Add", mean(net, net.node("Pow", d, np.float32(2.0)), 2), EPSILON)
    net.output(net.node("Div", d, net.node("Sqrt", size)))
    assert not only(check(net, tmp_path), Standardize).centered


@pytest.mark.parametrize("other", ["another tensor", "no root"])
def test_what_only_looks_like_a_norm_stays_a_quotient(tmp_path: Path, other: str) -> None:
    net = Net()
    x = net.input(1, TOKENS, WIDTH)
    d = net.node("Sub", x, mean(net, x, 2))
    base = net.node("Exp", x) if other == "another tensor" else d
    size = net.node("Add", mean(net, net.node("Pow", base, np.float32(2.0)), 2), np.float32(0.5))
    net.output(net.node("Div", d, size if other == "no root" else net.node("Sqrt", size)))
    graph = check(net, tmp_path)
    assert only(graph, Div)
    assert "Standardize" not in kinds(graph)


def test_groups_are_found_behind_reshapes_and_channels_stay_last(tmp_path: Path) -> None:
    """PyTorch's GroupNorm: instances of rows of channels."""
    net = Net()
    weight = RNG.normal(size=(WIDTH, 3, 3, 3)).astype(np.float32)
    y = net.node("Conv", net.input(1, 3, 8, 8), weight)
    rows = net.node("Reshape", y, np.array([0, 2, -1]))
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    normal = net.node("InstanceNormalization", rows, ones, zeros)
    image = net.node("Reshape", normal, np.array([1, WIDTH, 6, 6]))
    scaled = net.node("Add", net.node("Mul", image, GAMMA[:, None, None]), BETA[:, None, None])
    net.output(net.node("Relu", scaled))
    graph = check(net, tmp_path)
    assert kinds(graph) == ["Conv2D", "Standardize", "Clip"]
    assert only(graph, Standardize).groups == 2


@pytest.mark.parametrize("operator", ["InstanceNormalization", "GroupNormalization", "RMSNormalization"])
def test_norms_as_operators(tmp_path: Path, operator: str) -> None:
    net = Net(opset=23 if operator == "RMSNormalization" else 21)
    settings = {"num_groups": 4} if operator == "GroupNormalization" else {"epsilon": 0.01}
    parameters = (GAMMA, BETA) if operator != "RMSNormalization" else (GAMMA,)
    x = net.input(1, WIDTH, 5, 8)
    net.output(net.node(operator, x, *parameters, **settings))
    assert [kind for kind in kinds(check(net, tmp_path)) if kind != "Transpose"] == ["Standardize"]


def test_a_norm_over_several_axes_has_a_scale_for_each_element(tmp_path: Path) -> None:
    net = Net()
    scale = RNG.normal(size=(TOKENS, WIDTH)).astype(np.float32)
    net.output(net.node("LayerNormalization", net.input(1, 3, TOKENS, WIDTH), scale, axis=-2))
    assert only(check(net, tmp_path), Standardize).gamma.size == TOKENS * WIDTH


def heads(net: Net, x: str, count: int, order: list[int]) -> str:
    """A projection, its features split into heads."""
    weight = RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    split = net.node("Reshape", net.node("MatMul", x, weight), np.array([0, 0, count, -1]))
    return net.node("Transpose", split, perm=order)


def test_attention_keeps_its_function_and_reads_keys_by_rows(tmp_path: Path) -> None:
    """The scale becomes a factor, and the keys' transpose brings no axis forward."""
    net = Net()
    x = net.input(1, TOKENS, WIDTH)
    q, v = (heads(net, x, 2, [0, 2, 1, 3]) for _ in range(2))
    k = heads(net, x, 2, [0, 2, 3, 1])
    scores = net.node("Div", net.node("MatMul", q, k), np.float32(2.0))
    sums = net.node("MatMul", net.node("Softmax", scores, axis=-1), v)
    joined = net.node("Transpose", sums, perm=[0, 2, 1, 3])
    net.output(net.node("Reshape", joined, np.array([0, 0, -1])))
    graph = check(net, tmp_path)
    products = [node.op for node in graph.nodes if isinstance(node.op, MatMul)]
    assert [(op.transpose_b, op.factor) for op in products] == [(True, 0.5), (False, 1.0)]
    assert "Affine" not in kinds(graph)


def test_matrices_may_be_whole_samples_and_repeat(tmp_path: Path) -> None:
    """[M, K] @ [K, P] without a batch, and one matrix for several."""
    net = Net()
    a = net.node("Reshape", net.input(1, 12, name="a"), np.array([4, 3]))
    b = net.node("Reshape", net.input(1, 15, name="b"), np.array([3, 5]))
    stack = net.input(1, 2, 6, 4, name="stack")
    net.output(net.node("MatMul", stack, net.node("Relu", net.node("MatMul", a, b))))
    assert kinds(check(net, tmp_path)).count("MatMul") == 2


def test_a_quotient_of_activations_repeats_its_divisor(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, TOKENS, WIDTH)
    size = net.node("Add", net.node("Abs", net.input(1, TOKENS, 1, name="d")), np.float32(0.5))
    net.output(net.node("Div", x, size))
    assert only(check(net, tmp_path), Div)
