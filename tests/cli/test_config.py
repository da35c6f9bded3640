"""dfqgen.toml: every option, for all models or one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from dfqgen.cli import app
from dfqgen.cli.config import NOT_HERE, name_in_file
from dfqgen.cli.expand import chosen
from dfqgen.recipe import Choices, make_recipe
from tests.models import DIGITS, DIGITS_TEST, tiny
from tests.recipe.test_manifest import EVERY
from tests.test_cli import command

ROOT = typer.main.get_command(app)
BUILD: Any = ROOT.commands["build"]  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def choices(*arguments: str) -> Choices:
    """What `dfqgen build` in this folder is asked for."""
    with ROOT.make_context("dfqgen", ["build", *arguments]) as root:
        context = BUILD.make_context("build", list(arguments), parent=root)
        group = {
            key: context.params[key]
            for key in context.params
            if key in Choices.__annotations__ or key == "config"
        }
        return chosen(context, group)


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


@pytest.mark.parametrize("said", EVERY, ids=str)
def test_a_file_says_what_the_command_line_says(said: Choices) -> None:
    names = {key: "cut-inputs" if key == "inputs" else key.replace("_", "-") for key in said}
    lines = [f"{names[key]} = {toml(value)}" for key, value in said.items()]
    Path("dfqgen.toml").write_text("\n".join(lines).replace('{"" = [1, 3, 8, 8]}', '"1,3,8,8"'))
    assert make_recipe(**choices("m.onnx")) == make_recipe(**said)


def test_every_option_has_a_name_of_its_own_in_the_file() -> None:
    for name, known in ROOT.commands.items():  # type: ignore[attr-defined]
        options = [parameter for parameter in known.params if parameter.param_type_name == "option"]
        names = [name_in_file(parameter) for parameter in options]
        assert len(set(names)) == len(names), name
        assert not {"inputs", "models"} & set(names)
    assert set(NOT_HERE) <= {"help", "help-all", "version", "config", "json"}


def test_the_command_line_comes_first_then_the_models_table() -> None:
    Path("dfqgen.toml").write_text(
        'target = "cortex-m4"\nbits = "4"\nfold-dead = false\n'
        '[models.wake]\nbits = "6"\n[models.other]\nname = "x"\nseed = 3\n'
    )
    assert choices("m.onnx") == {"target": "cortex-m4", "bits": "4", "fold_dead": False}
    assert choices("nets/wake.onnx") == {"target": "cortex-m4", "bits": "6", "fold_dead": False}
    assert choices("wake.onnx", "--bits", "2", "--fold-dead")["bits"] == "2"
    assert choices("wake.onnx", "--fold-dead")["fold_dead"] is True
    assert "bits" not in choices(
        "wake.onnx", "--flash-budget", "60%"
    )  # of two ways to say it, the nearer one


def test_paths_are_from_the_files_folder() -> None:
    Path("there").mkdir()
    Path("there/other.toml").write_text('calibration-data = "x.npz"\n')
    found = choices("m.onnx", "--config", "there/other.toml")
    assert found["calibration_data"] == Path("there/x.npz")


def test_tables_of_a_model_say_what_its_inputs_mean() -> None:
    Path("dfqgen.toml").write_text(
        "[inputs]\nstd = 2\n[inputs.state]\nstd = 3\n[models.m.inputs]\nstd = 4\nrange = [0, 8]\n"
    )
    found = {name: meaning.std for name, meaning in choices("m.onnx")["input"].items()}
    assert found == {"": (4.0,), "state": (3.0,)}
    assert choices("n.onnx")["input"][""].std == (2.0,)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[inputs", "not TOML"),
        ("colour = 3", "'colour' is unknown"),
        ("fold_dead = true", "Write fold-dead."),
        ("[models.other]\ncolour = 3", "'colour' is unknown"),
        ("models = 3", "models must be tables"),
        ("json = true", "'json' is unknown"),
        ('fold-dead = "no"', "must be true or false"),
        ("target = true", "must be text or a number"),
        ('weights = "per-row"', "(from dfqgen.toml)"),
        ("n-sigma = 0.1", "(from dfqgen.toml)"),
        ("inputs = 3", "must be a table"),
    ],
)
def test_a_wrong_file_is_a_usage_error_that_names_it(text: str, word: str) -> None:
    Path("dfqgen.toml").write_text(text)
    error = json.loads(command("build", "m.onnx", "--json", code=2).stdout)["error"]
    assert word in error
    assert "dfqgen.toml" in error


def test_options_of_other_kinds_are_read_too() -> None:
    tiny(Path("tiny.onnx"))
    Path("dfqgen.toml").write_text(
        f'[models.tiny]\noutput = "made"\nper-layer = true\n[models.digits]\ndata = "{DIGITS_TEST}"\n'
    )
    facts = json.loads(command("build", "tiny.onnx", "-t", "host", "--json").stdout)
    assert facts["folder"] == "made"
    assert "sqnr_db" in facts["layers"][0]
    found = json.loads(command("eval", DIGITS, "--limit", "8", "--json").stdout)
    assert found["samples"] == 8
