"""The networks beside the project, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfqgen.frontend import load
from tests.frontend.nets import assert_equals_onnxruntime, kinds

pytestmark = pytest.mark.shared_models

NETWORKS = [
    "ic01_resnet8",
    "ic01_resnet8-folded",
    "vww01_mobilenetv1_025",
    "vww01_mobilenetv1_025-folded",
    "kws01_dscnn",
    "ad01_autoencoder",
    "mobilenetv1_075_224",
    "mobilenetv1_075_224-folded",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_onnxruntime_and_hold_no_transposes(shared_models: Path, name: str) -> None:
    path = shared_models / f"{name}.onnx"
    graph = load(path)
    assert not {"Transpose", "Pad", "Affine"} & set(kinds(graph))
    assert ("BatchNorm" in kinds(graph)) == (not name.endswith("-folded"))
    assert_equals_onnxruntime(path, graph, 1e-3)


@pytest.mark.parametrize(
    ("name", "layers"), [("armkws_LSTM", ["LSTM"]), ("armkws_GRU", ["GRU"]), ("armkws_CRNN", ["GRU"] * 2)]
)
def test_cells_in_a_scan_are_recurrent_layers(shared_models: Path, name: str, layers: list[str]) -> None:
    path = shared_models / f"{name}.onnx"
    graph = load(path)
    assert [kind for kind in kinds(graph) if kind in ("LSTM", "GRU")] == layers
    assert_equals_onnxruntime(path, graph)


@pytest.mark.parametrize("name", ["ic01_resnet8", "kws01_dscnn"])
def test_networks_keep_their_own_axes_on_request(shared_models: Path, name: str) -> None:
    path = shared_models / f"{name}.onnx"
    graph = load(path, io_layout="nchw")
    assert all(port.permutation is None for port in (*graph.inputs, *graph.outputs))
    assert_equals_onnxruntime(path, graph, 1e-3)
