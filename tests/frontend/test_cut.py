"""Cutting a model at named tensors: as the user says, and as errors advise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfqgen import resources
from dfqgen.compile import compile_model
from dfqgen.errors import UnsupportedModel, UserError
from dfqgen.frontend import load
from dfqgen.graph.ir import Array
from dfqgen.recipe.choices import make_recipe
from tests.frontend.nets import Net, assert_equals_onnxruntime


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def conv(net: Net, x: str) -> str:
    return net.node("Conv", x, random(3, 3, 3, 3), pads=[1, 1, 1, 1])


def unsupported_in_the_middle(net: Net, x: str) -> tuple[str, ...]:
    return (net.node("Relu", net.node("LRN", conv(net, x), size=3)),)


def unsupported_at_the_input(net: Net, x: str) -> tuple[str, ...]:
    return (net.node("Relu", conv(net, net.node("LRN", x, size=3))),)


def two_in_a_row(net: Net, x: str) -> tuple[str, ...]:
    return (net.node("LRN", net.node("LRN", conv(net, x), size=3), size=3),)


def on_one_of_two_branches(net: Net, x: str) -> tuple[str, ...]:
    shared = conv(net, x)
    return net.node("Tanh", shared), net.node("LRN", conv(net, shared), size=3)


def best_ten(net: Net, x: str) -> tuple[str, ...]:
    flat = net.node("Flatten", conv(net, x))
    return (net.node("TopK", flat, ints(10), outputs=2),)


def best_of_many(net: Net, x: str) -> tuple[str, ...]:
    return (net.node("ArgMax", net.node("Reshape", conv(net, x), ints(1, -1)), axis=1),)


def best_boxes(net: Net, x: str) -> tuple[str, ...]:
    boxes = net.node("Reshape", conv(net, x), ints(1, 75, 4))
    scores = net.node("Reshape", net.node("Sigmoid", x), ints(1, 4, 75))
    kept = net.node(
        "NonMaxSuppression", boxes, scores, ints(5), np.array([0.5], np.float32), np.array([0.3], np.float32)
    )
    return (kept,)


HELPERS = {"best_ten": "dfq_best_k", "best_of_many": "dfq_best", "best_boxes": "dfq_decode_boxes"}
"""By what the host does instead: a function of runtime_c/api."""


@pytest.mark.parametrize(
    "build",
    [
        best_boxes,
        unsupported_in_the_middle,
        unsupported_at_the_input,
        two_in_a_row,
        on_one_of_two_branches,
        best_ten,
        best_of_many,
    ],
)
def test_the_cut_that_an_error_advises_compiles(
    tmp_path: Path, build: Callable[[Net, str], tuple[str, ...]]
) -> None:
    net = Net(17)
    path = net.output(*build(net, net.input(1, 3, 10, 10))).save(tmp_path)
    with pytest.raises(UnsupportedModel) as caught:
        load(path)
    helper = HELPERS.get(build.__name__)
    if helper is not None:
        header = re.search(r"runtime_c/(api/\w+\.h)", str(caught.value))
        assert header
        assert f" {helper}(" in (resources.runtime_dir() / header[1]).read_text()
    advice = re.search(r"--(inputs|outputs) (.+)$", caught.value.hint)
    assert advice, str(caught.value)
    names = shlex.split(advice[2])[0].split(",")
    graph = load(path, inputs=names) if advice[1] == "inputs" else load(path, outputs=names)
    assert_equals_onnxruntime(path, graph)


def test_a_model_is_cut_at_both_ends(tmp_path: Path) -> None:
    net = Net()
    first = net.node("LRN", net.input(1, 3, 10, 10), size=3)
    middle = net.node("Relu", conv(net, first))
    path = net.output(net.node("LRN", middle, size=3)).save(tmp_path)
    compiled = compile_model(path, make_recipe(inputs=(first,), outputs=(middle,)))
    assert [port.name for port in compiled.network.graph.inputs] == [first]
    assert_equals_onnxruntime(path, compiled.network.graph)


def test_an_unknown_input_is_refused_with_similar_names(tmp_path: Path) -> None:
    net = Net()
    path = net.output(net.node("Relu", net.node("Tanh", net.input(1, 3)))).save(tmp_path)
    with pytest.raises(UserError, match="no tensor 't00' to use as an input\nSimilar names: t0"):
        load(path, inputs=["t00"])
