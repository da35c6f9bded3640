"""Bad networks are told: which output, where it is lost, and what helps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from tests.models import DIGITS, DIGITS_INPUT


def build(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        app, ["build", str(model), "-t", "host", "--json", "-o", "out", *map(str, arguments)]
    )


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Three channels of a tensor are 300 times smaller than the fourth, and made as large again behind it."""
    rng = np.random.default_rng(3)
    sizes = np.array([1, 300, 300, 300], np.float32).reshape(4, 1, 1, 1)
    arrays = {"a": rng.normal(0, 1, (4, 3, 1, 1)).astype(np.float32) / sizes, "b": sizes}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], name="shrinks"),
        helper.make_node("Relu", ["p"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "b"], ["y"], name="grows", group=4),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    path = tmp_path / "uneven.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_a_bad_output_is_warned_of_with_the_layer_and_what_was_seen_to_help(uneven: Path) -> None:
    plain = (uneven, "--input", "range=-1..1", "--no-equalize", "--activations", "int8", "--force")
    result = build(*plain)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    (told,) = facts["warnings"]
    assert "output 'y' is far from the float network's" in told
    assert "most is lost in layer 'grows'" in told
    for option in ("--equalize", "--activations int16"):
        gain = re.search(rf"{option} gives (\d+) dB instead of (-?\d+)", told)
        assert gain, told
        helped = json.loads(build(*plain, *option.split()).stdout)
        assert helped["comparison"]["outputs"][0]["sqnr_db"] == pytest.approx(float(gain[1]), abs=3.0)
        assert not any("far from" in warning for warning in helped["warnings"])


def test_a_good_output_is_not_warned_of() -> None:
    result = build(DIGITS, *DIGITS_INPUT)
    assert json.loads(result.stdout)["warnings"] == []


def test_below_the_least_sqnr_nothing_is_written() -> None:
    result = build(DIGITS, *DIGITS_INPUT, "--min-sqnr", "60")
    assert result.exit_code == 1
    assert "--min-sqnr 60" in result.stderr
    assert not Path("out").exists()
    assert build(DIGITS, *DIGITS_INPUT, "--min-sqnr", "10").exit_code == 0
    checked = CliRunner().invoke(app, ["verify", "out", "--model", str(DIGITS), "--min-sqnr", "60"])
    assert checked.exit_code == 1
