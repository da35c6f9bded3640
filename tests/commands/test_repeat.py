"""A manifest tells how its build is repeated, to the byte, and `verify` reads the recipe from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import DIGITS, DIGITS_INPUT, DIGITS_TEST, tiny
from tests.test_cli import command, contents

NOTHING = ["--compensate", "plain", "--ternary", "threshold", "--low-ends", "--adaround-iterations", "5"]
NOTHING += ["--rounding-data", "noise", "--relu6", "replace", "--samples", "3", "--seed", "4"]


def test_options_without_effect_change_no_byte_and_are_each_warned_of(tmp_path: Path) -> None:
    command("build", DIGITS, "-t", "host", *DIGITS_INPUT, "-o", tmp_path / "plain")
    done = command("build", DIGITS, "-t", "host", *DIGITS_INPUT, *NOTHING, "-o", tmp_path / "o")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    flags = [word for word in NOTHING if word.startswith("--")]
    assert sorted(line.split()[1] for line in warnings) == sorted(flags)
    assert all("has no effect: it needs" in line for line in warnings)
    plain, found = contents(tmp_path / "plain"), contents(tmp_path / "o")
    assert {name for name in plain if plain[name] != found[name]} == {"report.html"}  # it has the warnings


@pytest.mark.parametrize(
    "options",
    [
        ["--target", "cortex-m0plus", "--input-range", "-1,1", "--name", "wake", "--optimize", "size"],
        [
            "--equalize",
            "--relu6",
            "replace",
            "--no-correct-bias",
            "--n-sigma",
            "3.3",
            "--weights",
            "per-tensor",
        ],
        ["--flash-budget", "70.1%", "--low-ends", "--bits-map", "scores/conv=8", "--input-std", "16"],
        ["--calibration-data", "samples of mine.npz", "--ranges", "percentile", "--input-mean", "0.1"],
        ["--activations", "int16", "--io-layout", "nchw", "--statistics", "analytic"],
    ],
    ids=lambda options: options[0],
)
def test_the_command_in_the_manifest_gives_the_same_bytes(tmp_path: Path, options: list[str]) -> None:
    model = tmp_path / "a 'hostile'; touch $(echo broken).onnx"
    shutil.copy(DIGITS, model)
    shutil.copy(DIGITS_TEST, tmp_path / "samples of mine.npz")
    if "--bits-map" in options:
        layers = json.loads(command("inspect", model, "--ir", "--json").stdout)["operators"]
        options[options.index("--bits-map") + 1] = f"{layers[0]['name']}=8"
    target = [] if "--target" in options else ["-t", "host"]
    command("build", model.name, *target, *options, "-o", "first", cwd=tmp_path)
    repeat = json.loads((tmp_path / "first" / "manifest.json").read_text())["provenance"]["command"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-c", f"{repeat} -o second"], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True
    )
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert not (tmp_path / "broken.onnx").exists()


def test_the_report_shows_recipe_and_command_as_text(tmp_path: Path) -> None:
    model = tiny(tmp_path / "<b>&'.onnx")
    command("build", model, "-t", "host", "-o", tmp_path / "o")
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<b>&amp;" not in page
    assert "dfqgen build &#39;&lt;b&gt;&amp;" in page
    assert "granularity" in page


def test_verify_reads_the_recipe_and_refuses_a_damaged_one(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx", shape=("n", 2, "h", "w"))
    folder = tmp_path / "o"
    command(
        "build",
        model,
        "-t",
        "host",
        "--input-shape",
        "image:1,2,6,6",
        "--weights",
        "per-tensor",
        "-o",
        folder,
    )
    facts = json.loads(command("verify", folder, "--model", model, "--per-layer", "--json").stdout)
    assert facts["comparison"]["outputs"]
    assert facts["layers"]
    manifest = json.loads((folder / "manifest.json").read_text())
    for damage in ({"version": 99}, {"weights": {"granularity": "per-row"}}, {"passes": None}):
        broken = json.loads(json.dumps(manifest))
        broken["provenance"]["recipe"] |= damage
        (folder / "manifest.json").write_text(json.dumps(broken))
        error = command("verify", folder, "--edited", "--model", model, code=2).stderr
        assert "recipe" in error
    for other in ({"provenance": None}, {"provenance": {"model": {"file": 3}}}):
        (folder / "manifest.json").write_text(json.dumps(manifest | other))
        assert "which model" in command("verify", folder, "--edited", "--model", model, code=2).stderr
