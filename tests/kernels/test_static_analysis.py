"""The generated C under cppcheck's MISRA addon, GCC's analyzer and clang-tidy.

What deviates from MISRA is listed in docs/misra.md with its reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dfqgen import quantize
from dfqgen.emit.package import emit, write_files
from dfqgen.plan import plan_program
from dfqgen.recipe.records import Optimize
from dfqgen.targets import load_target
from tests.models import DIGITS, ROOT

BUILDS: tuple[tuple[str, Optimize, tuple[str, ...]], ...] = (
    ("cortex-m0plus", "size", ()),
    ("cortex-m4", "speed", ("-D__ARM_FEATURE_DSP=1",)),
    ("cortex-m55", "size", ("-D__ARM_FEATURE_DSP=1", "-D__ARM_FEATURE_MVE=1")),
)
MACROS = ("-D__GNUC__=12", "-D__OPTIMIZE__=1")
# Of cppcheck itself: paths that it cannot follow. GCC's analyzer and the sanitizers look at initialization.
OTHER_CHECKS = {"uninitvar", "ctuuninitvar"}
MANDATORY = {
    "9.1",
    "12.5",
    "13.6",
    "17.3",
    "17.4",
    "17.6",
    "19.1",
    "21.13",
    "21.17",
    "21.18",
    "21.19",
    "21.20",
}
MANDATORY |= {"22.2", "22.4", "22.5", "22.6"}


def listed() -> set[str]:
    """The rules of the table in docs/misra.md."""
    text = (ROOT / "docs" / "misra.md").read_text("utf-8")
    return set(re.findall(r"^\| (\d+\.\d+) \| (?:advisory|required) \|", text, re.MULTILINE))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits network for each target."""
    program = quantize(DIGITS)
    result = {}
    for name, optimize, _ in BUILDS:
        folder = tmp_path_factory.mktemp(name)
        target = load_target(name)
        plan = plan_program(program, target, optimize=optimize)
        write_files(emit(program, plan, target, optimize=optimize, golden=()), folder)
        result[name] = folder
    return result


@pytest.fixture(scope="module")
def found(folders: dict[str, Path]) -> set[str]:
    """Everything cppcheck says of the builds, by rule."""
    return set().union(*(misra_rules(folders[name], macros) for name, _, macros in BUILDS))


def misra_rules(folder: Path, macros: tuple[str, ...]) -> set[str]:
    command = ["cppcheck", "--addon=misra", "--std=c99", "--suppress=missingIncludeSystem", "--template={id}"]
    command += [*MACROS, *macros, "digits.c", "digits_weights.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    lines = {line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("^")}
    return {line.removeprefix("misra-c2012-") for line in lines}


def test_every_deviation_is_listed_with_a_reason(found: set[str]) -> None:
    assert found - OTHER_CHECKS <= listed()


def test_every_listed_deviation_still_occurs(found: set[str]) -> None:
    assert listed() <= found


def test_no_mandatory_rule_is_broken(found: set[str]) -> None:
    assert not found & MANDATORY
    assert not listed() & MANDATORY


@pytest.mark.parametrize(("name", "optimize"), [(name, optimize) for name, optimize, _ in BUILDS])
def test_gccs_analyzer_finds_nothing(folders: dict[str, Path], name: str, optimize: Optimize) -> None:
    compiler = load_target(name).compiler
    command = [compiler.command, *compiler.flags_for(optimize), "-std=c99", "-fanalyzer", "-Werror"]
    done = subprocess.run(
        [*command, "-c", "digits.c", "-o", "digits.o"],
        cwd=folders[name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", [name for name, _, _ in BUILDS])
def test_clang_tidy_finds_nothing(folders: dict[str, Path], name: str) -> None:
    """Checks and what is left out of them: .clang-tidy."""
    tidy = Path(sys.executable).with_name("clang-tidy")
    newlib = Path("/usr/lib/arm-none-eabi/include")
    flags = ["-std=c99", "--target=arm-none-eabi", f"-mcpu={name}", "-mfloat-abi=soft", f"-isystem{newlib}"]
    done = subprocess.run(
        [tidy, f"--config-file={ROOT / '.clang-tidy'}", "digits.c", "digits_weights.c", "--", *flags],
        cwd=folders[name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
