"""The cheap rows of the matrix, two threads under ThreadSanitizer, and inputs at odd addresses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.portability.matrix import CHEAP, Row, verdict, write_builds
from tests.tools import needs

TWO_THREADS = r"""
#include <pthread.h>
#include <string.h>
#include "digits.h"

static digits_t nets[2];
static int8_t bytes[DIGITS_INPUT_SIZE + 1];
static int8_t scores[2][DIGITS_OUTPUT_SIZE];

static void *work(void *argument)
{
    const int which = *(const int *)argument;
    for (int i = 0; i < 20; i++) {
        digits_run(&nets[which], bytes + 1, scores[which]); /* an odd address, which both threads read */
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int numbers[2] = { 0, 1 };
    for (int i = 0; i < DIGITS_INPUT_SIZE; i++) {
        bytes[i + 1] = (int8_t)(i * 7 % 128);
    }
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, work, &numbers[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    return memcmp(scores[0], scores[1], sizeof scores[0]) != 0;
}
"""


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_builds(tmp_path_factory.mktemp("builds"), ("int8", "4 bits", "int16", "DSP"))


@pytest.mark.parametrize("row", CHEAP, ids=lambda row: row.label)
@pytest.mark.parametrize("build", ["int8", "4 bits", "int16"])
def test_every_compiler_gives_the_same_bits(builds: dict[str, Path], row: Row, build: str) -> None:
    if row.missing:
        pytest.skip(f"{row.missing} is not installed")
    assert verdict(row, build, builds[build]) in ("equal", "compiles")


@needs("s390x-linux-gnu-gcc")
def test_kernels_that_need_little_endian_say_so(builds: dict[str, Path]) -> None:
    command = ["s390x-linux-gnu-gcc", "-std=c99", "-c", "digits.c", "-o", "digits.o"]
    done = subprocess.run(command, cwd=builds["DSP"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "little-endian" in done.stderr


@pytest.mark.parametrize("build", ["int8", "DSP"])
def test_two_threads_with_a_context_each_do_not_meet(
    builds: dict[str, Path], tmp_path: Path, build: str
) -> None:
    (tmp_path / "main.c").write_text(TWO_THREADS)
    options = ["-std=c99", "-O1", "-g", "-fsanitize=thread", f"-I{builds[build]}", "-pthread"]
    sources = [str(builds[build] / name) for name in ("digits.c", "digits_weights.c")]
    program = tmp_path / "threads"
    subprocess.run(["clang", *options, "main.c", *sources, "-o", str(program)], cwd=tmp_path, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


CPLUSPLUS = r"""
#include "digits.h"

extern "C" int digits_selftest(digits_t *net);

namespace {
digits_t net;
}

int main()
{
    float pixels[DIGITS_INPUT_SIZE] = {};
    float scores[DIGITS_OUTPUT_SIZE];
    digits_quantize_input(&net, pixels);
    digits_invoke(&net);
    digits_dequantize_output(&net, scores);
    return digits_selftest(&net);
}
"""


@pytest.mark.parametrize("compiler", [("gcc", "g++"), ("clang", "clang++")])
def test_a_program_in_cpp17_takes_the_header(
    builds: dict[str, Path], tmp_path: Path, compiler: tuple[str, str]
) -> None:
    folder = builds["int8"]
    (tmp_path / "main.cpp").write_text(CPLUSPLUS)
    parts = ("", "_weights", "_golden", "_selftest")
    sources = [str(folder / f"digits{part}.c") for part in parts]
    subprocess.run([compiler[0], "-std=c99", "-DDIGITS_NO_MAIN", "-c", *sources], cwd=tmp_path, check=True)
    options = ["-std=c++17", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{folder}"]
    objects = [f"digits{part}.o" for part in parts]
    subprocess.run([compiler[1], *options, "main.cpp", *objects, "-o", "program"], cwd=tmp_path, check=True)
    assert subprocess.run([str(tmp_path / "program")], check=False).returncode == 0
