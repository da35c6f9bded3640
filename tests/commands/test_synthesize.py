"""Synthesis from the command line, and every source of samples that rounding can run on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import dfqgen
from dfqgen.cli import app
from dfqgen.compile import compile_model
from dfqgen.errors import UserError
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.records import RangeMethod, SampleSource
from dfqgen.samples.meaning import InputMeaning
from tests.models import DIGITS, DIGITS_INPUT, DIGITS_TEST, tiny

MEANING = InputMeaning(std=(16.0,), hi=16.0)
QUICK = ["--samples", "8", "--iterations", "10"]


def command(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("samples") / "samples.npz"
    command("synthesize", DIGITS, *DIGITS_INPUT, *QUICK, "-o", file)
    return file


def test_synthesize_writes_samples_a_sheet_and_a_plot(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("s.npz", "sheet.png", "plot.png")]
    arguments = ["-o", files[0], "--contact-sheet", files[1], "--diversity", files[2], "--json"]
    facts = json.loads(command("synthesize", DIGITS, *DIGITS_INPUT, *QUICK, *arguments).stdout)
    assert facts["files"] == [str(file) for file in files]
    assert all(file.stat().st_size for file in files)
    assert np.load(files[0])["x"].shape[0] == facts["samples"] == 8
    assert set(facts["diversity"]) == {"samples", "without SDA and LSE"}
    assert "batch normalizations" in facts["source"]
    assert facts["loss"][1] < facts["loss"][0]


def test_synthesize_prints_the_spread_and_replaces_files_only_by_force(samples: Path) -> None:
    arguments = ["synthesize", DIGITS, *DIGITS_INPUT, *QUICK, "-o", samples]
    before = samples.read_bytes()
    assert "is there already" in command(*arguments, code=2).stderr
    assert "spread from sample to sample" in command(*arguments, "--force").stdout
    assert samples.read_bytes() == before


def test_synthesize_writes_npz_only(tmp_path: Path) -> None:
    assert ".npz" in command("synthesize", DIGITS, *QUICK, "-o", tmp_path / "s.npy", code=2).stderr


@pytest.mark.parametrize("without", [["--no-slack"], ["--no-enhance"], ["--start", "noise"], ["--seed", "1"]])
def test_options_of_synthesis_make_other_samples(samples: Path, tmp_path: Path, without: list[str]) -> None:
    command("synthesize", DIGITS, *DIGITS_INPUT, *QUICK, "-o", tmp_path / "s.npz", *without)
    assert not np.array_equal(np.load(tmp_path / "s.npz")["x"], np.load(samples)["x"])


def test_build_with_everything_synthetic_is_exact_and_says_what_it_did(tmp_path: Path) -> None:
    learned = ["--statistics", "synthetic", "--rounding", "adaround", "--bits", "4", "--samples", "8"]
    arguments = [*DIGITS_INPUT, *learned, "--adaround-iterations", "20", "--data", DIGITS_TEST, "--json"]
    facts = json.loads(command("build", DIGITS, "-t", "host", *arguments, "-o", tmp_path / "o").stdout)
    assert facts["verification"]["bit_exact"] is True
    steps = {step["step"]: step["effect"] for step in facts["steps"]}
    assert "samples synthesized from" in steps["statistics"]
    assert "samples synthesized from" in steps["AdaRound"]
    assert "of 4" in steps["weights of few bits"]
    assert facts["provenance"]["recipe"]["rounding"]["method"] == "adaround"
    again = json.loads(command("verify", tmp_path / "o", "--model", DIGITS, "--json").stdout)
    assert again["verification"]["bit_exact"] is True


def notes_of(**choices: Unpack[Choices]) -> dict[str, str]:
    choices["meaning"] = MEANING
    notes = compile_model(DIGITS, make_recipe(**choices)).quantized.notes
    return {note.step: note.effect for note in notes}


def quick_adaround(**choices: Unpack[Choices]) -> Choices:
    return {"rounding": "adaround", "adaround_iterations": 20, **choices}


@pytest.mark.parametrize(("source", "words"), [("noise", "of noise"), ("procedural", "procedural")])
def test_adaround_runs_on_noise_and_procedural_samples(source: SampleSource, words: str) -> None:
    assert words in notes_of(**quick_adaround(samples=8, rounding_data=source))["AdaRound"]


@pytest.mark.parametrize("bits", ["3", "4"])
def test_adaround_takes_the_users_samples_at_every_width(samples: Path, bits: str) -> None:
    notes = notes_of(**quick_adaround(bits=bits, calibration_data=samples))
    assert "(samples.npz)" in notes["AdaRound"]
    assert "8 samples synthesized from" in notes["statistics"]
    notes = notes_of(**quick_adaround(bits=bits, rounding_data=samples))
    assert "8 samples synthesized from" in notes["AdaRound"]
    assert "(samples.npz)" not in notes["statistics"]
    notes = notes_of(**quick_adaround(bits=bits, calibration_data=DIGITS_TEST))
    assert notes["statistics"] == "measured on 600 samples (digits_test.npz)"


@pytest.mark.parametrize("method", ["mse", "min-max", "percentile"])
def test_ranges_by_samples(samples: Path, method: RangeMethod) -> None:
    notes = notes_of(ranges=method, empirical_bias=True, calibration_data=samples)
    assert "8 samples synthesized from" in notes["bias correction"]
    if method != "mse":
        with pytest.raises(UserError, match="need samples"):
            make_recipe(ranges=method)


def test_without_batch_normalization_rounding_runs_on_procedural_samples(tmp_path: Path) -> None:
    recipe = make_recipe(**quick_adaround(meaning=MEANING))
    compiled = compile_model(tiny(tmp_path / "tiny.onnx"), recipe)
    (effect,) = (note.effect for note in compiled.quantized.notes if note.step == "AdaRound")
    assert "procedural" in effect


def test_without_torch_one_paragraph_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("dfqgen.synthesis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(dfqgen, "synthesis", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    for arguments in (
        ["synthesize", DIGITS, "-o", tmp_path / "s.npz"],
        ["build", DIGITS, "-t", "host", "--rounding", "adaround", "-o", tmp_path / "o"],
        ["eval", DIGITS, "--data", DIGITS_TEST, "--statistics", "synthetic"],
        ["inspect", DIGITS, "--ir", "--statistics", "synthetic"],
    ):
        error = command(*arguments, code=2).stderr
        assert "pip install dfqgen[synthesis]" in error
        assert "Traceback" not in error
