"""The input's meaning on the command line and in dfqgen.toml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from tests.models import DIGITS


def build(*arguments: object) -> Result:
    return CliRunner().invoke(
        app, ["build", str(DIGITS), "-t", "host", "--json", "-o", "out", *map(str, arguments)]
    )


def meaning(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)["meanings"]
    return {key: entry[key] for key in ("mean", "std", "range", "seen")}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_range_that_the_network_sees_is_told() -> None:
    found = meaning(build("--input", "mean=8,std=16,range=0..16"))
    assert found == {"mean": [8.0], "std": [16.0], "range": [0.0, 16.0], "seen": [-0.5, 0.5]}
    page = Path("out/report.html").read_text()
    assert "(0 … 16 - [8]) / [16] = -0.5 … 0.5" in page


def test_the_file_beside_counts_unless_an_option_says_otherwise() -> None:
    Path("dfqgen.toml").write_text("[inputs]\nstd = 16\nrange = [0, 16]\n")
    assert meaning(build())["seen"] == [0.0, 1.0]
    assert meaning(build("--input", "std=8,range=0..16", "--force"))["seen"] == [0.0, 2.0]
    assert meaning(build("--input-std", "4", "--input-range", "0,16", "--force"))["seen"] == [0.0, 4.0]
    Path("other.toml").write_text("[inputs]\nstd = 32\nrange = [0, 16]\n")
    assert meaning(build("--config", "other.toml", "--force"))["seen"] == [0.0, 0.5]


def test_a_wrong_file_is_a_usage_error() -> None:
    Path("dfqgen.toml").write_text("[inputs]\nmedian = 3\n")
    result = build()
    assert result.exit_code == 2
    assert "'median' is unknown" in " ".join(result.stderr.split())


def test_an_input_that_is_not_there_is_an_error() -> None:
    result = build("--input", "state:raw")
    assert result.exit_code == 2
    assert "no input 'state'" in result.stderr


@pytest.mark.parametrize("option", ["--data", "--calibration-data"])
def test_samples_in_a_sliver_of_the_stated_range_are_warned_of(option: str) -> None:
    np.savez("x.npz", x=np.random.default_rng(0).random((4, 8, 8, 1), np.float32))
    result = build("--input", "raw", option, "x.npz")
    assert result.exit_code == 0
    (told,) = json.loads(result.stdout)["warnings"][:1]
    assert "a sliver of the stated range 0 to 255" in told
