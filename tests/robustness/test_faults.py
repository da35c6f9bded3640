"""Machines and programs that fail in the middle: the output folder is whole or absent."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dfqgen.cli import app
from dfqgen.emit.package import write_folder
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.verify import toolchain
from dfqgen.verify.folder import check_unchanged
from dfqgen.verify.toolchain import run_program
from tests.models import tiny


def start(
    folder: Path,
    *more: object,
    environment: dict[str, str] | None = None,
    limits: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """A build of the tiny network into folder/o, with a temporary folder of its own."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    model = folder / "tiny.onnx"
    if not model.exists():
        tiny(model)
    command = [sys.executable, "-m", "dfqgen", "build", model, "-t", "host", *more]
    if "-o" not in more:
        command += ["-o", folder / "o"]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)} | (environment or {}),
        preexec_fn=limits,
    )


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def left_behind(folder: Path) -> list[str]:
    """Of dfqgen, in the temporary folder and beside the output."""
    return [path.name for path in (*(folder / "tmp").glob("dfqgen-*"), *folder.glob(".o*"))]


def assert_whole_or_absent(folder: Path) -> None:
    if folder.exists():
        check_unchanged(folder)


# --- ended from outside


def ends_within(pid: int, *, seconds: float) -> bool:
    """Whether the process is gone, or a zombie, by then: a signal acts when its receiver next runs."""
    stat = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_stops_its_compiler_and_cleans_up(
    tmp_path: Path, sent: signal.Signals
) -> None:
    marker = tmp_path / "compiling"
    slow = script(
        tmp_path / "slow-cc", f"#!/bin/sh\ntouch {marker}\nsleep 60 &\necho $! > {marker}.pid\nwait\n"
    )
    process = start(tmp_path, environment={"CC": slow})
    while not (tmp_path / "compiling.pid").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "o").exists()
    assert left_behind(tmp_path) == []
    assert ends_within(int((tmp_path / "compiling.pid").read_text()), seconds=10)


def test_a_build_killed_at_any_point_leaves_a_whole_folder_or_none(tmp_path: Path) -> None:
    generator = random.Random(0)
    first = start(tmp_path)
    started = time.monotonic()
    assert first.wait(120) == 0
    seconds = time.monotonic() - started
    for _ in range(3):
        process = start(tmp_path, "--force", "--name", "other")
        time.sleep(seconds * generator.uniform(0.3, 1.1))
        process.kill()
        process.communicate()
        assert_whole_or_absent(tmp_path / "o")
        assert not list((tmp_path / "o").glob(".*"))


# --- machines


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """No file may grow beyond 2 KB: the kernel refuses the write, as it does on a full disk."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    process = start(tmp_path, limits=limits)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (1, 2), errors
    assert "error: " in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "o").exists()
    assert left_behind(tmp_path) == []


def test_too_little_memory_is_an_error(tmp_path: Path) -> None:
    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (900_000_000, 900_000_000))

    tiny(tmp_path / "tiny.onnx", shape=(1, 2, 2000, 2000))
    process = start(tmp_path, limits=limits)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "memory" in errors
    assert not (tmp_path / "o").exists()


def test_without_a_temporary_folder_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    result = CliRunner().invoke(
        app, ["build", str(tiny(tmp_path / "tiny.onnx")), "-t", "host", "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert "gone" in result.stderr
    assert not (tmp_path / "o").exists()


# --- compilers


def build_with(compiler: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("CC", compiler)
    result = CliRunner().invoke(
        app, ["build", str(tiny(folder / "tiny.onnx")), "-t", "host", "-o", str(folder / "o")]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert not (folder / "o").exists()
    return result.exit_code, result.stderr


def test_a_compiler_that_flips_a_constant_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes one weight of the tables on their way to the real compiler."""
    lying = f"""#!{sys.executable}
import re, subprocess, sys
arguments = sys.argv[1:]
for i, argument in enumerate(arguments):
    if argument.endswith("_weights.c"):
        text = open(argument).read()
        place = re.search(r"\\{{\\s*(-?\\d+)", text)
        text = text[:place.start(1)] + str(int(place[1]) ^ 16) + text[place.end(1):]
        arguments[i] = argument + ".lie.c"
        open(arguments[i], "w").write(text)
sys.exit(subprocess.run(["cc", *arguments]).returncode)
"""
    code, errors = build_with(script(tmp_path / "lying-cc", lying), tmp_path, monkeypatch)
    assert code == 1
    assert "differ" in errors
    assert "layer 0" in errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\nexit 0\n", "writes nothing"),
        ("#!/bin/sh\necho broken >&2\nexit 1\n", "broken"),
        (
            '#!/bin/sh\nfor last; do :; done\n[ "$last" = --version ] || echo garbage > "$last"\n',
            "cannot be loaded",
        ),
        ("#!/bin/sh\nkill -SEGV $$\n", "failed"),
        ("#!/nonexistent/interpreter\n", "cannot start|No such file"),
    ],
)
def test_a_broken_compiler_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    code, errors = build_with(script(tmp_path / "broken-cc", text), tmp_path, monkeypatch)
    assert code in (1, 2)
    assert re.search(words, errors), errors


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    hanging = script(tmp_path / "hang", f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/pid\nwait\n")
    started = time.monotonic()
    with pytest.raises(VerificationFailed, match="hang did not end within 1 s"):
        run_program([hanging], timeout_s=1.0)
    assert time.monotonic() - started < 20
    pid = int((tmp_path / "pid").read_text())
    assert ends_within(pid, seconds=10)


def test_a_hanging_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.run_program, "__kwdefaults__", {"timeout_s": 1.0, "merge_errors": False})
    hanging = '#!/bin/sh\ncase "$*" in *--version*) echo cc 1;; *) sleep 60;; esac\n'
    code, errors = build_with(script(tmp_path / "hanging-cc", hanging), tmp_path, monkeypatch)
    assert code == 1
    assert "did not end within 1 s" in errors


# --- several at once


def test_builds_at_once_do_not_meet(tmp_path: Path) -> None:
    """Two side by side, and two more into one folder: one of these wins, whole."""
    processes = [start(tmp_path, "-o", tmp_path / str(i), "--name", f"net{i}") for i in range(2)]
    processes += [start(tmp_path, "-o", tmp_path / "one", "--name", f"one{i}") for i in range(2)]
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert [code for _, code in ends[:2]] == [0] * 2, ends
    assert sorted(code for _, code in ends[2:]) in ([0, 2], [0, 0]), ends
    for name in ("0", "1", "one"):
        check_unchanged(tmp_path / name)
    assert left_behind(tmp_path) == []


def test_a_folder_that_appears_while_files_are_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "o"
    original = os.replace

    def late(source: Path, target: Path) -> None:
        folder.mkdir()
        (folder / "mine").write_text("mine")
        original(source, target)

    monkeypatch.setattr(os, "replace", late)
    with pytest.raises(UserError, match="cannot write"):
        write_folder({"manifest.json": b"{}"}, folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["o"]
