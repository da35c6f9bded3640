"""Recurrent layers get weights of few bits as others do: by a pattern, a map, a budget."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from dfqgen.verify.folder import read_program
from tests.frontend.nets import Net

STEPS, FEATURES, UNITS = 4, 3, 5
OUT = Path("out")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dense layer, a GRU, another, an LSTM, a third."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    net = Net()
    y = net.node("MatMul", net.input(STEPS, 1, FEATURES), normal(FEATURES, UNITS), name="before")
    for kind, gates in (("GRU", 3), ("LSTM", 4)):
        rows = gates * UNITS
        weights = (normal(1, rows, UNITS), normal(1, rows, UNITS), normal(1, 2 * rows))
        settings = {"linear_before_reset": 1} if kind == "GRU" else {}
        y = net.node(kind, y, *weights, name=f"remembers_{kind}", hidden_size=UNITS, **settings)
        y = net.node("Squeeze", y, np.array([1]))
        y = net.node("MatMul", y, normal(UNITS, UNITS), name=f"behind_{kind}")
    return net.output(y).save(tmp_path)


def build(model: Path, *options: str) -> Result:
    fixed = ("-t", "host", "--input", "range=-1..1", "--json", "--force", "-o", str(OUT))
    return CliRunner().invoke(app, ["build", str(model), *fixed, *options])


def widths(result: Result) -> dict[str, int]:
    """Of the weights of every layer, by the beginning of its name."""
    assert result.exit_code == 0, result.output
    layers = {op.name.split("#")[0]: op for op in read_program(OUT).ops if op.weights}
    return {name: op.weights[0][1].bits for name, op in layers.items()}


def test_a_pattern_is_of_recurrent_layers_too(model: Path) -> None:
    assert set(widths(build(model)).values()) == {8}
    full = sum(op.weight_bytes for op in read_program(OUT).ops)
    inner = {"remembers_GRU": 4, "behind_GRU": 4, "remembers_LSTM": 4}
    assert widths(build(model, "--bits", "4")) == {"before": 8, **inner, "behind_LSTM": 8}
    code = (OUT / "net.c").read_text(encoding="utf-8")
    assert "GRU of 5 units" in code
    assert code.count("4-bit weights") == 3
    assert sum(op.weight_bytes for op in read_program(OUT).ops) < 0.85 * full
    dense = {"remembers_GRU": 8, "behind_GRU": 8, "remembers_LSTM": 3}
    mapped = build(model, "--bits-map", "remembers_LSTM#2=3")
    assert widths(mapped) == {"before": 8, **dense, "behind_LSTM": 8}


def test_a_budget_is_met_by_recurrent_layers(model: Path) -> None:
    found = widths(build(model, "--flash-budget", "75%"))
    assert max(found["remembers_GRU"], found["remembers_LSTM"]) < 8
    refused = build(model, "--flash-budget", "30%")
    assert refused.exit_code == 2
    assert "biases and factors take" in refused.stderr


def test_a_pattern_that_only_the_ends_could_have_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = Net()
    y = net.node("MatMul", net.input(1, 3), np.eye(3, 4, dtype=np.float32), name="first")
    model = net.output(net.node("MatMul", y, np.eye(4, dtype=np.float32), name="last")).save(tmp_path)
    warning = "--bits changes no layer: the first and the last one keep 8 bits without --low-ends"
    for options, told in (((), False), (("--bits", "4"), True), (("--bits", "4", "--low-ends"), False)):
        result = build(model, *options)
        assert result.exit_code == 0, result.output
        assert (warning in json.loads(result.stdout)["warnings"]) is told
