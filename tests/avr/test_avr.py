"""Portable C where `int` has 16 bits: every kernel, and the bundled network with its constants in flash."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dfqgen import build, make_recipe, resources
from dfqgen.targets import Isa
from tests.avr.board import FLAGS, arena_bytes, simulate, wrong_bytes
from tests.kernels.board import Run, runs_of
from tests.kernels.strategies import Case
from tests.kernels.test_sanitizers import FAMILIES
from tests.models import DIGITS
from tests.tools import needs

HEADERS = sorted((resources.runtime_dir() / "portable").glob("*.h"))
LARGEST_ARENA_BYTES = 3000
LARGEST_TABLES_BYTES = 4000


def small(run: Run) -> bool:
    code = run.kernel.code(run.case.op, run.case.inputs, run.case.output)
    tables = sum(array.size_bytes for array in code.arrays)
    return arena_bytes(run) <= LARGEST_ARENA_BYTES and tables <= LARGEST_TABLES_BYTES


@needs("avr-gcc", "simavr")
def test_portable_kernels_are_exact_where_int_has_16_bits(tmp_path: Path) -> None:
    cases: list[Case] = []

    @settings(
        max_examples=160, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(FAMILIES))
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    runs = [run for case in cases for run in runs_of(case, Isa.PORTABLE) if small(run)]
    assert len({run.kernel.function for run in runs}) > 20
    for run, wrong in zip(runs, wrong_bytes(runs, "atmega1284", tmp_path), strict=True):
        assert wrong == 0, f"{run.kernel.function} over {run.overlap}: {run.case.op}"


@needs("avr-gcc", "simavr")
def test_the_bundled_network_runs_on_an_atmega2560_from_flash(tmp_path: Path) -> None:
    recipe = make_recipe(target="cortex-m0plus", name="digits", input_std=(16.0,), input_range=(0.0, 16.0))
    folder = tmp_path / "digits"
    build(DIGITS, folder, recipe)
    names = ("digits.c", "digits_weights.c", "digits_golden.c", "digits_selftest.c")
    sources = [*(folder / name for name in names), Path(__file__).parent / "selftest.c"]
    printed = simulate(sources, "atmega2560", tmp_path, "-DDIGITS_NO_MAIN", f"-I{folder}")
    assert printed.split() == ["0", "wrong"]
    sizes = subprocess.run(
        ["avr-size", str(tmp_path / "program.elf")], capture_output=True, text=True, check=True
    )
    data, bss = map(int, sizes.stdout.splitlines()[1].split()[1:3])
    assert data + bss < 4096  # of 8 KB: the constants alone are 7 KB


@needs("avr-gcc")
@pytest.mark.parametrize("extra", ["-DDFQ_OPTIMIZE_SIZE", "-DDFQ_FLASH=", "-std=c99"])
def test_headers_compile_without_warnings_for_avr(tmp_path: Path, extra: str) -> None:
    source = tmp_path / "all.c"
    source.write_text("".join(f'#include "{header}"\n' for header in HEADERS))
    words = ["avr-gcc", "-mmcu=atmega328p", *FLAGS, extra, "-c", str(source), "-o", str(tmp_path / "all.o")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_descriptors_point_to_constants_in_flash() -> None:
    """What a descriptor has of pointers goes to constants, wherever those are."""
    for header in HEADERS:
        for members in re.findall(r"typedef struct \{(.*?)\} dfq_\w+_t;", header.read_text(), re.DOTALL):
            pointers = re.findall(r"^\s*const u?int\d+_t \*.*;", members, re.MULTILINE)
            assert not pointers, f"{header.name}: {pointers}"
