"""A network of everything detection and segmentation use: from the file to C, every bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from dfqgen import InputMeaning, build, make_recipe
from tests.models import save


def random(*shape: int) -> np.ndarray:
    return (
        np.random.default_rng(sum(shape)).normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
    )


WEIGHTS: dict[str, np.ndarray] = {
    "w1": random(8, 3, 3, 3),
    "w2": random(8, 8, 1, 1),
    "w3": random(8, 8, 1, 1),
    "w4": random(8, 4, 4, 4),
    "w5": random(3, 20, 1, 1),
    "slope": random(8, 1, 1),
    "half": np.array([0.5], np.float32),
    "three": np.array(3.0, np.float32),
    "six": np.array(6.0, np.float32),
    "zero": np.array(0.0, np.float32),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "roi": np.zeros(0, np.float32),
    "starts": np.array([0], np.int64),
    "ends": np.array([4], np.int64),
    "axes": np.array([1], np.int64),
    "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64),
}
NODES = [
    helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
    helper.make_node("Add", ["c1", "three"], ["plus"]),
    helper.make_node("Clip", ["plus", "zero", "six"], ["clipped"]),
    helper.make_node("Mul", ["c1", "clipped"], ["swish"]),
    helper.make_node("GlobalAveragePool", ["swish"], ["pooled"]),
    helper.make_node("Conv", ["pooled", "w2"], ["gate1"]),
    helper.make_node("HardSigmoid", ["gate1"], ["gate"]),
    helper.make_node("Mul", ["swish", "gate"], ["excited"]),
    helper.make_node("PRelu", ["excited", "slope"], ["p"]),
    helper.make_node("Conv", ["p", "w3"], ["c2"]),
    helper.make_node("Max", ["c2", "p"], ["larger"]),
    helper.make_node("Sub", ["larger", "pooled"], ["centred"]),
    helper.make_node("ConvTranspose", ["centred", "w4"], ["up1"], strides=[2, 2], pads=[1, 1, 1, 1]),
    helper.make_node("Resize", ["c2", "roi", "scales"], ["up2"], mode="linear"),
    helper.make_node("Resize", ["p", "roi", "scales"], ["up3"], mode="nearest"),
    helper.make_node("Slice", ["up2", "starts", "ends", "axes"], ["part"]),
    helper.make_node("DepthToSpace", ["part"], ["deep"], blocksize=2),
    helper.make_node("SpaceToDepth", ["deep"], ["wide"], blocksize=2),
    helper.make_node("Sigmoid", ["up3"], ["soft"]),
    helper.make_node("Concat", ["up1", "up3", "part", "soft"], ["joined0"], axis=1),
    helper.make_node("Slice", ["joined0", "starts", "twenty", "axes"], ["joined"]),
    helper.make_node("Pad", ["joined", "pads"], ["padded"], mode="reflect"),
    helper.make_node("Conv", ["padded", "w5"], ["logits"]),
    helper.make_node("Transpose", ["logits"], ["last"], perm=[0, 2, 3, 1]),
    helper.make_node("LogSoftmax", ["last"], ["log"], axis=-1),
    helper.make_node("ArgMax", ["logits"], ["classes"], axis=1),
    helper.make_node("Cast", ["classes"], ["map"], to=1),
    helper.make_node("LpNormalization", ["wide"], ["unit"], axis=1),
]


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
def test_every_operator_of_a_segmentation_network_builds_bit_exact(
    tmp_path: Path, scales: Any, activations: Any
) -> None:
    path = save(
        tmp_path / "net.onnx",
        NODES,
        WEIGHTS | {"twenty": np.array([20], np.int64)},
        {"x": (1, 3, 12, 16)},
        {"log": None, "map": None, "unit": None},
    )
    meaning = InputMeaning((127.5,), (127.5,), 0.0, 255.0)
    recipe = make_recipe(meaning=meaning, scales=scales, activations=activations)
    result = build(path, tmp_path / "out", recipe)
    assert {str(tensor.qtype.dtype) for tensor in result.program.tensors.values()} == {activations}
    assert result.facts["verification"]["bit_exact"] is True
    outputs = {entry["name"]: entry for entry in result.facts["comparison"]["outputs"]}
    assert outputs["unit"]["sqnr_db"] > (10 if activations == "int8" else 30)
