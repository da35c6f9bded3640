"""Recurrent layers keep weights of 8 bits; who asks for fewer is told which do."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.recurrent_integer import QRecurrent
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


def told(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [text for text in json.loads(result.stdout)["warnings"] if text.startswith("recurrent")]


def test_few_bits_are_told_to_leave_recurrent_layers_at_eight(model: Path) -> None:
    result = build(model, "--bits", "4")
    (warning,) = told(result)
    ops = read_program(OUT).ops
    gru, lstm = (op.name for op in ops if isinstance(op, QRecurrent))
    assert gru.startswith("remembers_GRU")
    assert lstm.startswith("remembers_LSTM")
    assert f"recurrent layers {gru}, {lstm} keep weights of 8 bits" in warning
    assert f"warning: {warning}" in result.stderr
    assert warning in html.unescape((OUT / "report.html").read_text(encoding="utf-8"))
    assert IntType.INT4 in {op.weight_type for op in ops if isinstance(op, QConv2D)}


def test_a_budget_is_told_of_too(model: Path) -> None:
    assert told(build(model, "--flash-budget", "98%"))
    refused = build(model, "--flash-budget", "60%")
    assert refused.exit_code == 2
    assert "biases, factors and recurrent layers take" in refused.stderr


@pytest.mark.parametrize("options", [(), ("--bits", "8"), ("--bits-map", "behind_GRU#2=4")])
def test_who_asks_for_no_fewer_bits_of_them_hears_nothing(model: Path, options: tuple[str, ...]) -> None:
    assert not told(build(model, *options))
