"""The comment above every kernel has what runtime_c/README.md asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dfqgen import resources
from dfqgen.kernels import REGISTRY

RUNTIME = resources.runtime_dir()
HEADERS = sorted({kernel.header for kernel in REGISTRY.kernels})
TESTS = Path(__file__).parent
REFERENCE = r"(Arguments are those of|As |as in the)[\w\s./()]*?dfq_\w+\.h"
INSTRUCTIONS = {"portable": "", "dsp": "Arm DSP extension", "mve": "Helium"}


@pytest.fixture(params=HEADERS)
def header(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def comment(header: str) -> str:
    """The text above the include guard, without the licence and the stars."""
    text = (RUNTIME / header).read_text(encoding="utf-8").split("#ifndef", 1)[0]
    lines = [line for line in text.splitlines() if "SPDX" not in line]
    return "\n".join(re.sub(r"^(/\*| \*/?) ?", "", line) for line in lines)


def test_a_header_says_what_its_kernels_compute_and_on_which_instructions(header: str) -> None:
    first = comment(header).split("\n\n")[0]
    assert INSTRUCTIONS[header.split("/")[0]] in first


def test_a_header_gives_arguments_a_shape_or_a_formula_or_names_the_header_that_does(header: str) -> None:
    table = re.search(r"^  +\w[\w, ]*(\[\w+\])* *([\[=]|of size)", comment(header), re.MULTILINE)
    inline = re.search(r"out\[i\] = ", comment(header))
    assert table or inline or re.search(REFERENCE, comment(header))


def test_a_header_names_only_headers_that_exist(header: str) -> None:
    names = {path.name for path in RUNTIME.glob("*/*.h")}
    assert set(re.findall(r"dfq_\w+\.h", comment(header))) <= names


def test_a_header_says_what_the_output_may_overlap(header: str) -> None:
    assert re.search(r"`out`|`y`|overlap|disjoint|apart", comment(header))


def test_a_header_names_the_operators_that_its_kernels_equal(header: str) -> None:
    sentences = re.findall(r"\bEquals?\s+(Q.*?)bit\s+for\s+bit", comment(header), re.DOTALL)
    told = set(re.findall(r"\bQ\w+", " ".join(sentences)))
    assert told == {kernel.op.__name__ for kernel in REGISTRY.kernels if kernel.header == header}


def test_a_header_names_its_tests(header: str) -> None:
    (told,) = re.findall(r"^Tested by tests/kernels/(.*)\.$", comment(header), re.MULTILINE)
    files = re.findall(r"test_\w+\.py", told)
    assert files
    for file in files:
        assert re.search(r"check\w*\(|run_on_board\(", (TESTS / file).read_text(encoding="utf-8")), file
