"""Files of a build that changed on the disk are named, and nothing of them is compiled or run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from dfqgen.emit.package import manifest_checksum
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.verify.folder import check_unchanged, read_manifest
from tests.models import tiny

FILES = (
    "manifest.json",
    "program.json",
    "tiny.c",
    "tiny.h",
    "tiny_weights.c",
    "tiny_golden.c",
    "tiny_selftest.c",
    "tiny.mk",
    "runtime_c/portable/dfq_common.h",
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    assert invoke("build", tiny(folder / "tiny.onnx"), "-t", "cortex-m4", "-o", folder / "o").exit_code == 0
    return folder / "o"


@pytest.fixture
def built(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "o")


def test_a_folder_as_it_was_written_is_unchanged(original: Path) -> None:
    check_unchanged(original)
    listed = set(read_manifest(original)["files"]) | {"manifest.json"}
    assert set(FILES) <= listed


@pytest.mark.parametrize("command", [["verify"], ["run", "--on", "cortex-m4"], ["profile"]])
def test_every_command_names_the_changed_file(built: Path, command: list[str]) -> None:
    path = built / "tiny_weights.c"
    path.write_bytes(path.read_bytes() + b"#error compiled\n")
    result = invoke(command[0], built, *command[1:])
    assert result.exit_code == 1
    assert "tiny_weights.c" in result.stderr
    assert "compiled" not in result.stderr


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_named_when_a_byte_changes(built: Path, name: str) -> None:
    path = built / name
    content = path.read_bytes()
    place = content.index(b"optimize") if name == "manifest.json" else len(content) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(VerificationFailed, match="not what the build wrote") as caught:
        check_unchanged(built)
    assert name in str(caught.value)
    assert str(caught.value).count(".") < 8  # and no other


@pytest.mark.parametrize("name", sorted(set(FILES) - {"manifest.json"}))
def test_files_that_are_gone_are_named(built: Path, name: str) -> None:
    (built / name).unlink()
    with pytest.raises(VerificationFailed, match=name):
        check_unchanged(built)


def test_a_link_to_a_device_in_place_of_a_file_is_named(built: Path) -> None:
    (built / "tiny.c").unlink()
    (built / "tiny.c").symlink_to("/dev/zero")
    with pytest.raises(VerificationFailed, match=r"tiny\.c"):
        check_unchanged(built)


def test_edited_c_is_compiled_when_asked_and_the_wrong_layer_named(built: Path) -> None:
    path = built / "tiny_golden.c"
    path.write_bytes(path.read_bytes() + b"\n")
    result = invoke("verify", built, "--edited")
    assert result.exit_code == 0
    assert "tiny_golden.c" in result.stderr


def listed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the checksum that fits it, as an attacker would write it."""
    return {**manifest, "checksum": manifest_checksum(manifest)}


DAMAGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda m: m | {"network": "a b"},
    lambda m: m | {"network": "x;system(1)"},
    lambda m: m | {"arena_bytes": -1},
    lambda m: m | {"arena_bytes": 1 << 60},
    lambda m: m | {"arena_bytes": "16"},
    lambda m: m | {"arena_bytes": True},
    lambda m: m | {"inputs": [m["inputs"][0] | {"offset": 1 << 40}]},
    lambda m: m | {"inputs": [m["inputs"][0] | {"offset": -4}]},
    lambda m: m | {"inputs": [m["inputs"][0] | {"shape": [1, 1 << 62]}]},
    lambda m: m | {"inputs": [m["inputs"][0] | {"shape": [-1, -5]}]},
    lambda m: m | {"inputs": [m["inputs"][0] | {"type": "object"}]},
    lambda m: m | {"inputs": ["x"]},
    lambda m: m | {"outputs": None},
    lambda m: m | {"layers": [{}]},
    lambda m: m | {"layers": [m["layers"][0] | {"output_offset": m["arena_bytes"]}]},
    lambda m: m | {"files": {"../secret": "0"}},
    lambda m: m | {"files": {"/etc/passwd": "0"}},
    lambda m: m | {"files": {"a\0b": "0"}},
    lambda m: m | {"files": {"tiny.c": 0}},
    lambda m: [m],
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_manifest_that_lies_is_refused(built: Path, damage: Callable[[dict[str, Any]], Any]) -> None:
    path = built / "manifest.json"
    damaged = damage(json.loads(path.read_text()))
    path.write_text(json.dumps(listed(damaged) if isinstance(damaged, dict) else damaged))
    for command in (["verify", "--edited"], ["run", "--edited"]):
        result = invoke(command[0], built, *command[1:])
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit)
        assert "damaged" in result.stderr


@pytest.mark.parametrize("content", ["[" * 100_000, "{", "\xff", "NaN", '{"network": ' + "9" * 5000 + "}"])
def test_a_manifest_that_is_no_json_is_refused(built: Path, content: str) -> None:
    (built / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="damaged"):
        read_manifest(built)


def test_a_program_of_another_network_is_told_from_this_one(built: Path, tmp_path: Path) -> None:
    other = tiny(tmp_path / "tiny.onnx", shape=(1, 2, 8, 8))
    assert invoke("build", other, "-t", "host", "-o", tmp_path / "other").exit_code == 0
    shutil.copy(tmp_path / "other" / "program.json", built / "program.json")
    assert "program.json" in invoke("verify", built).stderr
    result = invoke("verify", built, "--edited")
    assert result.exit_code == 2
    assert "different networks" in result.stderr
