"""Apply mutants of text to a copy of the project and run the tests that must find them."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("dfqgen", "runtime_c", "targets", "templates", "tests", "pyproject.toml")
SECONDS = 600
"""Of processor time: a mutant that takes more hangs, which is noticed too."""
STUCK = 10
"""Times as long on the clock, and one that waits hangs as well."""


class Mutant(Protocol):
    """A change of one file, and the arguments of pytest that must find it."""

    @property
    def test_arguments(self) -> list[str]: ...

    def place(self, root: Path) -> Path: ...

    def change(self, text: str) -> str: ...


AnyMutant = TypeVar("AnyMutant", bound=Mutant)


def copy_project(to: Path) -> Path:
    """What the tests need, in `to`."""
    ignore = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=ignore)
        else:
            shutil.copy(source, to / name)
    return to


def run_mutants(mutants: Sequence[AnyMutant], copy: Path) -> Iterator[tuple[AnyMutant, str]]:
    """Each mutant and "killed", "survived", or why it says nothing ("does not compile")."""
    for mutant in mutants:
        path = mutant.place(copy)
        original = path.read_text("utf-8")
        path.write_text(mutant.change(original), "utf-8")
        try:
            yield mutant, _verdict(mutant, copy)
        finally:
            path.write_text(original, "utf-8")


def _verdict(mutant: Mutant, copy: Path) -> str:
    # No byte code: it would be told apart by size and second only.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.mutants.without_shrinking"]
    options = ["-x", "-q", *plugins]
    command = [sys.executable, "-m", "pytest", *options, *mutant.test_arguments]
    try:
        run = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=STUCK * SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS)),
        )
    except subprocess.TimeoutExpired:
        return "killed"
    output = run.stdout + run.stderr
    if run.returncode == 0:
        return "survived"
    if run.returncode in (4, 5):
        return "no such tests"
    if "CompilationFailed" in output or "SyntaxError" in output:
        return "does not compile"
    return "killed"
