"""Arena and constants are aligned by every compiler, or it is told what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests.emit.test_package import run, sources
from tests.programs import tiny, write
from tests.tools import needs

# GCC as a compiler that nobody has heard of. Freestanding, since glibc's headers know only GCC and its kin.
STRANGER = ["-std=c99", "-ffreestanding", "-U__GNUC__"]

KNOWN = {
    "C11": ["-std=c11"],
    "IAR": ["-D__IAR_SYSTEMS_ICC__", "-D__VER__=7080000"],
    "armcc": ["-D__CC_ARM"],
    "TI": ["-D__TI_COMPILER_VERSION__=20002005", "-D__TI_GNU_ATTRIBUTE_SUPPORT__=1"],
    "the user's own": ["-DDFQ_ALIGNED(bytes)=__attribute__((aligned(bytes)))"],
}


@needs("gcc")
@pytest.mark.parametrize("flags", KNOWN.values(), ids=KNOWN)
def test_a_compiler_other_than_gcc_aligns_the_arena_and_the_constants(
    tmp_path: Path, flags: list[str]
) -> None:
    write(tiny(), tmp_path / "out")
    (tmp_path / "check.c").write_text(
        '#include "out/tiny.h"\n#include "out/tiny_weights.h"\n#include <stdint.h>\n'
        "struct place { char first; tiny_t net; };\n"
        "typedef char aligned[sizeof(struct place) == TINY_ARENA_SIZE + 16 ? 1 : -1];\n"
        "int main(void) { return (int)((uintptr_t)tiny_layer0_weight % 4); }\n"
    )
    binary = tmp_path / "check"
    parts = [tmp_path / "check.c", *(tmp_path / "out" / name for name in ("tiny.c", "tiny_weights.c"))]
    compile_c(parts, binary, [*STRANGER, *flags, "-O1"], ["gcc"])
    assert run(binary) == 0
    compile_c(sources(tmp_path / "out", "tiny"), binary, [*STRANGER, *flags, "-O1"], ["gcc"])
    assert run(binary) == 0


@needs("gcc")
@pytest.mark.parametrize("file", ["tiny.c", "tiny_weights.c", "tiny_selftest.c"])
def test_an_unknown_compiler_is_told_which_macro_to_define(tmp_path: Path, file: str) -> None:
    write(tiny(), tmp_path / "out")
    command = ["gcc", *STRANGER, "-fsyntax-only", str(tmp_path / "out" / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "define DFQ_ALIGNED(bytes) as this compiler's way to align" in done.stderr


@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
@pytest.mark.parametrize("compiler", [pytest.param(name, marks=needs(name)) for name in ("gcc", "clang")])
def test_generated_c_is_of_every_standard(tmp_path: Path, compiler: str, standard: str) -> None:
    write(tiny(), tmp_path / "out")
    for source in sources(tmp_path / "out", "tiny"):
        flags = [flag for flag in WARNINGS if not flag.startswith("-std=")]
        compile_c([source], tmp_path / "a.o", [*flags, f"-std={standard}", "-c"], [compiler])
