"""Constants of any shape beside activations, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfqgen.graph.ir import Array
from tests.frontend.nets import Net, check, kinds


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


SHAPES = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (4, 5)),
    ((1, 3, 4, 5), (3, 1, 5)),
    ((1, 3, 4, 5), (1, 3, 4, 1)),
    ((1, 3, 4, 5), (3, 1, 1)),
    ((1, 6, 2), (6, 2)),
    ((1, 1, 2), (1, 6, 2)),
    ((1, 5), (1, 1, 5)),
    ((1, 5), (1, 3, 5)),
]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"])
@pytest.mark.parametrize(("shape", "constant"), SHAPES)
def test_arithmetic_with_a_constant_along_any_axes(
    tmp_path: Path, operator: str, shape: tuple[int, ...], constant: tuple[int, ...]
) -> None:
    net = Net()
    check(net.output(net.node(operator, net.input(*shape), random(*constant))), tmp_path)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Max"])
def test_the_constant_may_come_first(tmp_path: Path, operator: str) -> None:
    net = Net()
    check(net.output(net.node(operator, random(3, 4, 1), net.input(1, 3, 4, 5))), tmp_path)


@pytest.mark.parametrize("operator", ["Add", "Mul"])
def test_behind_a_convolution_no_data_is_moved(tmp_path: Path, operator: str) -> None:
    net = Net()
    x = net.node("Conv", net.input(1, 3, 4, 5), random(2, 3, 1, 1))
    graph = check(net.output(net.node(operator, x, random(2, 4, 5))), tmp_path)
    assert "Transpose" not in kinds(graph)


@pytest.mark.parametrize("mask", [(3, 4, 5), (1, 4, 1), (1, 3, 4, 5)])
@pytest.mark.parametrize("activations", [1, 2])
def test_where_with_a_mask_along_any_axes(tmp_path: Path, mask: tuple[int, ...], activations: int) -> None:
    net = Net()
    x = net.input(1, 3, 4, 5)
    other = random(4, 5) if activations == 1 else net.input(1, 3, 4, 5, name="x2")
    check(net.output(net.node("Where", random(*mask) > 0, x, other)), tmp_path)
    net = Net()
    x = net.input(1, 3, 4, 5)
    check(net.output(net.node("Where", random(*mask) > 0, random(1), x)), tmp_path)


@pytest.mark.parametrize("slope", [(3, 4, 5), (3, 1, 1), (4, 5), (1,)])
def test_prelu_with_slopes_along_any_axes(tmp_path: Path, slope: tuple[int, ...]) -> None:
    net = Net()
    check(net.output(net.node("PRelu", net.input(1, 3, 4, 5), np.abs(random(*slope)))), tmp_path)


def test_a_concatenation_with_zeros_is_a_border(tmp_path: Path) -> None:
    net = Net()
    zeros = np.zeros((1, 2, 4, 5), np.float32)
    x = net.node("Conv", net.input(1, 3, 4, 5), random(2, 3, 1, 1))
    assert "Pad" in kinds(check(net.output(net.node("Concat", x, zeros, axis=1)), tmp_path))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("order", ["cx", "xc", "cxcyc", "ccxy"])
def test_a_concatenation_with_constants(tmp_path: Path, axis: int, order: str) -> None:
    net = Net()
    parts: list[str | Array] = []
    for i, kind in enumerate(order):
        shape = tuple(i + 1 if a == axis else n for a, n in enumerate((1, 3, 4, 5)))
        parts.append(random(*shape) if kind == "c" else net.input(*shape, name=f"{kind}{i}"))
    check(net.output(net.node("Concat", *parts, axis=axis)), tmp_path)
