"""A fault of dfqgen itself ends in one paragraph, a file to report it with, and exit code 70."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dfqgen import commands
from dfqgen.cli import app, main
from dfqgen.cli.failures import INTERNAL, INTERRUPTED
from dfqgen.errors import GraphError
from tests.models import tiny


def failing(error: BaseException) -> object:
    def command(*arguments: object, **options: object) -> object:
        raise error

    return command


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "error", [ValueError("42"), RecursionError(), AssertionError(), GraphError("cycle"), OSError()]
)
def test_it_is_one_paragraph_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(commands, "inspect", failing(error))
    model = tiny(tmp_path / "tiny.onnx")
    monkeypatch.setattr("sys.argv", ["dfqgen", "inspect", str(model)])
    result = CliRunner().invoke(app, ["inspect", str(model)])
    assert result.exit_code == INTERNAL
    assert "Traceback" not in result.output
    assert "fault of dfqgen" in result.stderr
    assert type(error).__name__ in result.stderr
    found = re.search(r"\S*dfqgen-fault-\S*\.txt", result.stderr)
    assert found is not None
    text = Path(found[0]).read_text()
    assert "Traceback" in text
    assert f"dfqgen inspect {model}" in text
    assert re.search(r"tiny\.onnx: \d+ bytes, sha256 [0-9a-f]{64}", text)


def test_json_is_an_object_then_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "targets", failing(KeyError("x")))
    result = CliRunner().invoke(app, ["targets", "--json"])
    assert json.loads(result.stdout)["exit_code"] == result.exit_code == INTERNAL


def test_faults_outside_a_command_are_caught_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dfqgen.cli.output.print_targets", failing(IndexError()))
    monkeypatch.setattr("sys.argv", ["dfqgen", "targets"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == INTERNAL
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_place_for_the_file_it_says_so(
    monkeypatch: pytest.MonkeyPatch, own_temporary_folder: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(own_temporary_folder / "gone"))
    monkeypatch.setattr(commands, "targets", failing(ValueError()))
    result = CliRunner().invoke(app, ["targets"])
    assert result.exit_code == INTERNAL
    assert "could be written" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (MemoryError(), 2, "memory"),
        (OSError(28, "No space left on device"), 2, "No space left"),
        (OSError(30, "Read-only file system", "/a/b"), 2, "/a/b: Read-only"),
    ],
)
def test_what_the_machine_lacks_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.setattr(commands, "targets", failing(error))
    result = CliRunner().invoke(app, ["targets"])
    assert result.exit_code == code
    assert words in result.stderr
    assert not list(tmp_path.iterdir())
