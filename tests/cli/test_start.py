"""How the command starts and ends: what help imports, usage errors, Ctrl-C, logs, what the machine has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfqgen.cli.job import Clock, duration
from dfqgen.progress import Part
from tests.models import DIGITS, DIGITS_INPUT
from tests.test_cli import DFQGEN, command

SLOW = ("numpy", "scipy", "onnx", "onnxruntime", "jinja2", "cffi", "joblib", "matplotlib", "torch")


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["--version"], ["build"]], ids=str)
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from dfqgen.cli import app\n"
        f"app({arguments!r}, standalone_mode=False) if {arguments!r} != ['build'] else None\n"
        f"found = [name for name in {SLOW!r} if name in sys.modules]\n"
        "sys.exit(f'imported: {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_gives_its_names_when_they_are_used() -> None:
    program = (
        "import dfqgen.verify.metrics, dfqgen, sys\n"
        "assert callable(dfqgen.verify) and callable(dfqgen.build) and dfqgen.__version__\n"
        "assert set(dfqgen.__all__) <= {name for name in dfqgen.__all__ if getattr(dfqgen, name)}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dfqgen", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == command("--version").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    assert "dfqgen" in command("--show-completion", shell).stdout


def test_targets_are_completed() -> None:
    words = {
        "_DFQGEN_COMPLETE": "complete_bash",
        "COMP_WORDS": "dfqgen run out --on cortex-m5",
        "COMP_CWORD": "4",
    }
    done = subprocess.run([str(DFQGEN)], capture_output=True, text=True, env=os.environ | words, check=False)
    assert done.stdout.split() == ["cortex-m55"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["build", "--weights", "per-row", "m.onnx"], "per-row"),
        (["build"], "Missing argument"),
        (["bild"], "No such command"),
    ],
)
def test_a_usage_error_is_an_object_too(arguments: list[str], word: str) -> None:
    done = command(*arguments, "--json", code=2)
    found = json.loads(done.stdout)
    assert found["exit_code"] == 2
    assert word in found["error"]
    assert word in done.stderr


def test_ctrl_c_says_where_it_was_and_what_is_left(tmp_path: Path) -> None:
    output = tmp_path / "o"
    words = [str(DFQGEN), "build", str(DIGITS), "-t", "host", *DIGITS_INPUT, "-v", "-o", str(output)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "preparing the graph" in line:
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()
    assert running.returncode == 130
    assert "interrupted while" in rest
    assert "the output folder is as it was" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())


def test_verbose_lists_the_stages(tmp_path: Path) -> None:
    lines = command("inspect", DIGITS, "-v").stderr.splitlines()
    assert [line.split(" s  ")[1] for line in lines] == ["reading the model", "done"]


def test_the_time_left_follows_from_the_share_done() -> None:
    times = iter([0.0, 5.0, 100.0, 100.5, 131.0])
    clock = Clock(now=lambda: next(times))
    assert clock.enter("reading") == "reading"
    assert clock.enter(Part("AdaRound", 1, 4, "1 of 4 layers")) == "AdaRound: 1 of 4 layers"
    assert clock.enter(Part("AdaRound", 2, 4, "2 of 4 layers")).endswith(", about 31 s left")


def test_durations_are_short() -> None:
    assert [duration(x) for x in (8.4, 130, 6000)] == ["8 s", "2 min", "1.7 h"]


def test_doctor_names_every_compiler_and_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(command("doctor", "--json").stdout)
    tools = {tool["name"]: tool for tool in facts["tools"]}
    assert facts["ready"] is True
    assert {"arm-none-eabi-gcc", "qemu-system-arm"} <= tools.keys()
    assert all(tool["install"] for tool in facts["tools"])
    monkeypatch.setenv("PATH", "/nowhere")
    first = json.loads(command("doctor", "--json").stdout)["tools"][0]
    assert first["name"].endswith("-m ziglang cc")
    assert "clang" in first["version"]
    monkeypatch.setenv("CC", "no-such-compiler")
    done = command("doctor")
    assert "no: apt install gcc-arm-none-eabi" in " ".join(done.stdout.split())
    assert "not checked" in done.stdout
