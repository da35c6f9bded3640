"""Inputs as cameras and microphones give them: the model's own conversion goes into its first layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from dfqgen.compile import compile_model
from dfqgen.errors import UserError
from dfqgen.graph.text import graph_text, parse_graph
from dfqgen.recipe.choices import make_recipe
from tests.frontend.nets import Net, check, kinds

RANGES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
}


def camera(dtype: int = TensorProto.UINT8) -> Net:
    """(x / 255 - mean) / std, then a convolution; channels last, as cameras have them."""
    rng = np.random.default_rng(0)
    net = Net()
    x = net.input(1, 8, 8, 3, name="x", dtype=dtype)
    x = net.node("Cast", net.node("Transpose", x, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    x = net.node("Div", x, np.array(255.0, np.float32))
    x = net.node("Sub", x, np.array([0.4, 0.5, 0.6], np.float32).reshape(3, 1, 1))
    x = net.node("Div", x, np.array([0.2, 0.2, 0.3], np.float32).reshape(3, 1, 1))
    return net.output(net.node("Conv", x, rng.normal(size=(4, 3, 3, 3)).astype(np.float32)))


@pytest.mark.parametrize("dtype", list(RANGES))
def test_the_conversion_goes_into_the_first_layer(tmp_path: Path, dtype: int) -> None:
    graph = check(camera(dtype), tmp_path)
    assert kinds(graph) == ["Conv2D"]
    assert graph.inputs[0].holds == RANGES[dtype]


def test_bytes_are_the_integers_of_the_program(tmp_path: Path) -> None:
    compiled = compile_model(camera().save(tmp_path))
    qtype = compiled.program.tensors[compiled.program.inputs[0].tensor].qtype
    assert (qtype.scale, qtype.zero_point) == (1.0, -128)
    assert not compiled.warnings


def test_a_mean_beside_the_models_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="applied twice"):
        compile_model(camera().save(tmp_path), make_recipe(input_mean=(127.5,), input_std=(127.5,)))


def test_a_cast_to_a_wider_integer_first_changes_nothing(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Cast", net.input(1, 6, dtype=TensorProto.UINT8), to=TensorProto.INT32)
    y = net.node("Tanh", net.node("Cast", x, to=TensorProto.FLOAT))
    assert kinds(check(net.output(y), tmp_path)) == ["Elementwise"]


def test_the_range_is_printed_and_parsed(tmp_path: Path) -> None:
    graph = check(camera(TensorProto.INT8), tmp_path)
    assert parse_graph(graph_text(graph, full=True)).inputs[0].holds == (-128, 127)
