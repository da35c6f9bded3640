"""The walk-throughs of CONTRIBUTING.md are true: followed in a copy of the project, each ends as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.models import ROOT, save
from tests.tools import needs

COPIED = (
    "dfqgen", "runtime_c", "templates", "targets", "tests", "examples", "scripts", "docs", "pyproject.toml",
)  # fmt: skip
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^(?:`([^`\n]+)`[^\n]*:\n\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A code block, and the file that it is, or changes, where one is named on the line before."""


class Checkout:
    """A copy of the project in which somebody follows the walk-throughs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        commands = folder / "bin"
        commands.mkdir()
        for name, module in (("dfqgen", "dfqgen"), ("pytest", "pytest -p no:cacheprovider")):
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            command.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
        }

    def follow(self, title: str) -> None:
        """Write, change and run what a section of CONTRIBUTING.md says."""
        sections = dict(SECTION.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
        steps = STEP.findall(sections[title])
        assert steps, title
        for path, language, text in steps:
            if language == "sh":
                for command in text.splitlines():
                    done = self.run(command)
                    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            elif language == "diff":
                file = self.folder / path
                file.write_text(patched(file.read_text(encoding="utf-8"), text, path), encoding="utf-8")
            else:
                file = self.folder / path
                assert not file.exists(), f"{path} is there already: choose another example"
                file.write_text(text, encoding="utf-8")

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


def patched(text: str, diff: str, path: str) -> str:
    """The text with each hunk of a diff applied; its context must be there once, line for line."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" -", " +"))
        assert f"\n{text}".count(f"\n{old}") == 1, f"{path} does not have once:\n{old}"
        text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
    return text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


@needs("gcc")
def test_an_operator_and_its_kernel_are_added_as_described(checkout: Checkout) -> None:
    checkout.follow("Add an operator")
    incomplete = checkout.run("pytest tests/ops/test_completeness.py")
    # A set: pytest repeats the message in its summary where it runs in CI.
    assert set(re.findall(r"AssertionError: (\w+ lacks .*)", incomplete.stdout)) == {
        "QHardmax lacks a kernel in dfqgen/kernels"
    }
    checkout.follow("Add a kernel")

    model = save(
        checkout.folder / "marks.onnx",
        [
            helper.make_node("Conv", ["image", "weight"], ["scores"]),
            helper.make_node("Hardmax", ["scores"], ["marks"], axis=1),
        ],
        {"weight": np.random.default_rng(2).normal(size=(5, 2, 3, 3)).astype(np.float32)},
        {"image": (1, 2, 6, 6)},
        {"marks": None},
    )
    built = checkout.run(f"dfqgen build {model} --target cortex-m3 --input-range -1,1 -o marks")
    assert "equal, every bit" in built.stdout, built.stdout + built.stderr
    assert "dfq_hardmax_s8(&" in (checkout.folder / "marks" / "marks.c").read_text()
    assert (
        "SPDX-License-Identifier: MIT-0"
        in (checkout.folder / "marks" / "runtime_c" / "portable" / "dfq_hardmax_s8.h").read_text()
    )


@needs("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
def test_a_target_is_added_as_described(checkout: Checkout) -> None:
    checkout.follow("Add a target")
    assert '"target": "blue-pill"' in (checkout.folder / "out" / "digits" / "manifest.json").read_text()


def test_a_walk_through_that_no_longer_fits_the_code_is_noticed() -> None:
    assert patched("a\nb\nc\n", " a\n+x\n@@\n-c\n+d\n", "file") == "a\nx\nb\nd\n"
    for stale in (" gone\n+x\n", " b\n+x\n"):
        with pytest.raises(AssertionError, match="does not have once"):
            patched("a\nb\nc\nb\n", stale, "file")
