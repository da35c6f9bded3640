"""Every command and every piece of code in README.md works as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# These two set the machine up and run everything, this test included: .ci/run runs them.
BY_CI = ("make demo", "make test")


def blocks(language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout, for commands that write to out/."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def run(command: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_shell_commands_work_in_their_order(folder: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    assert set(BY_CI) <= set(commands)
    for command in commands:
        if command not in BY_CI:
            run(["bash", "-c", command], folder)


def test_python_code_works(folder: Path) -> None:
    for block in blocks("python"):
        run([sys.executable, "-c", block], folder)


def test_c_code_compiles(folder: Path, tmp_path: Path) -> None:
    (block,) = blocks("c")
    build = next(line for line in "".join(blocks("sh")).splitlines() if line.startswith("dfqgen build"))
    run(["bash", "-c", f"{build} --force"], folder)
    head, body = block.split("\n\n", 1)
    declaration, calls = body.split("\n\n", 1)
    source = tmp_path / "main.c"
    source.write_text(
        f"{head}\n{declaration}\nint main(void) {{\n"
        f"static float pixels[DIGITS_INPUT_SIZE], scores[DIGITS_OUTPUT_SIZE];\n{calls}return 0;\n}}\n"
    )
    out = folder / "out" / "digits"
    sources = [str(out / "digits.c"), str(out / "digits_weights.c"), str(source)]
    run(
        ["gcc", "-std=c99", "-Wall", "-Werror", "-I", str(out), *sources, "-o", str(tmp_path / "main")],
        folder,
    )
    run([str(tmp_path / "main")], folder)


def test_links_lead_somewhere() -> None:
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_index_of_the_docs_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)/#]+\.md)\)", index))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_docs_cli_names_every_command_and_option() -> None:
    """The wording around them changes with typer's version."""
    command = ["bash", str(ROOT / "scripts" / "cli_docs.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    current = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = re.compile(r"^## .*|^\* `-[^`]*`", re.MULTILINE)
    assert names.findall(done.stdout) == names.findall(current), "run scripts/cli_docs.sh > docs/cli.md"
