"""Small ONNX files for the tests of whole commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
DIGITS_TEST = ROOT / "examples" / "digits" / "digits_test.npz"
DIGITS_INPUT = ["--input-std", "16", "--input-range", "0,16"]


def tiny(
    path: Path,
    *,
    names: tuple[str, str] = ("conv", "relu"),
    tensors: tuple[str, str, str] = ("image", "inner", "result"),
    shape: tuple[int | str, ...] = (1, 2, 6, 6),
    bad_weight: float | None = None,
) -> Path:
    """Conv and Relu with the names given; `bad_weight` replaces one weight."""
    weight = np.random.default_rng(0).normal(0, 0.3, (4, 2, 3, 3)).astype(np.float32)
    if bad_weight is not None:
        weight[0, 0, 0, 0] = bad_weight
    image, inner, result = tensors
    nodes = [
        helper.make_node("Conv", [image, "weight"], [inner], name=names[0], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [inner], [result], name=names[1]),
    ]
    return save(path, nodes, {"weight": weight}, {image: shape}, {result: None})


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, tuple[int | str, ...]],
    outputs: dict[str, tuple[int, ...] | None],
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A model of these parts."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
