"""NAME_CHECKS: what is called wrongly returns a code and touches nothing; in a release no check is left."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dfqgen.commands import build
from dfqgen.recipe import make_recipe
from tests.models import DIGITS, tiny
from tests.test_states import STATES, stream

HEAD = """
#include <stdio.h>
#include "NAME.h"
static NAME_t net;
static int wrong;
static void want(dfq_status_t found, dfq_status_t expected, int line)
{
    if (found != expected) {
        printf("line %d: %d instead of %d\\n", line, (int)found, (int)expected);
        wrong = 1;
    }
}
#define WANT(call, status) want(call, status, __LINE__)
int main(void)
{
"""


def outcome(folder: Path, name: str, body: str, *flags: str) -> subprocess.CompletedProcess[str]:
    source = folder / "misuse.c"
    source.write_text(HEAD.replace("NAME", name) + body + "    return wrong;\n}\n")
    words = [
        "gcc",
        "-std=c99",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-fsanitize=address,undefined",
    ]
    words += ["-fno-sanitize-recover=all", *flags, str(source), str(folder / f"{name}.c")]
    words += [str(folder / f"{name}_weights.c"), "-o", str(folder / "misuse")]
    subprocess.run(words, check=True)
    return subprocess.run([folder / "misuse"], capture_output=True, text=True, check=False)


def test_no_network_or_one_at_an_odd_address(tmp_path: Path) -> None:
    build(tiny(tmp_path / "tiny.onnx"), tmp_path / "o", make_recipe())
    body = """
    static int8_t in[TINY_INPUT_SIZE], out[TINY_OUTPUT_SIZE];
    static union { tiny_t whole; char bytes[2 * sizeof(tiny_t)]; } room;
    WANT(tiny_invoke(NULL), DFQ_NO_NETWORK);
    WANT(tiny_run(NULL, in, out), DFQ_NO_NETWORK);
    WANT(tiny_invoke((tiny_t *)(void *)(room.bytes + 2)), DFQ_MISALIGNED);
    WANT(tiny_run(&net, in, out), DFQ_OK);
"""
    found = outcome(tmp_path / "o", "tiny", body, "-DTINY_CHECKS=1")
    assert (found.returncode, found.stdout) == (0, "")


ROWS = """
    static int8_t rows[DIGITS_ROW_COUNT * DIGITS_ROW_SIZE];
    net.begun = 0x01020304u; /* what memory had by chance */
    WANT(digits_feed_rows(&net, rows, 1), DFQ_NOT_BEGUN);
    WANT(digits_finish(&net), DFQ_NOT_BEGUN);
    WANT(digits_begin(NULL), DFQ_NO_NETWORK);
    WANT(digits_begin(&net), DFQ_OK);
    WANT(digits_feed_rows(&net, NULL, 1), DFQ_NO_ROWS);
    WANT(digits_feed_rows(&net, rows, -1), DFQ_ROW_COUNT);
    WANT(digits_feed_rows(&net, rows, DIGITS_ROW_COUNT + 1), DFQ_ROW_COUNT);
    WANT(digits_feed_rows(&net, rows, DIGITS_ROW_COUNT - 1), DFQ_OK);
    WANT(digits_finish(&net), DFQ_ROW_COUNT);
    WANT(digits_feed_rows(&net, rows, 2), DFQ_ROW_COUNT);
    WANT(digits_feed_rows(&net, rows, 1), DFQ_OK);
    WANT(digits_finish(&net), DFQ_OK);
    WANT(digits_finish(&net), DFQ_NOT_BEGUN);
"""


def test_rows_in_the_wrong_order_or_number(tmp_path: Path) -> None:
    build(DIGITS, tmp_path / "o", make_recipe(input_rows=True))
    found = outcome(tmp_path / "o", "digits", ROWS, "-DDIGITS_CHECKS=1")
    assert (found.returncode, found.stdout) == (0, "")


def test_a_stream_that_is_not_reset(tmp_path: Path) -> None:
    name = build(stream().save(tmp_path), tmp_path / "o", make_recipe(state=STATES)).program.name
    body = """
    WANT(net_invoke(&net), DFQ_NOT_RESET);
    WANT(net_reset(NULL), DFQ_NO_NETWORK);
    WANT(net_reset(&net), DFQ_OK);
    WANT(net_invoke(&net), DFQ_OK);
"""
    found = outcome(tmp_path / "o", name, body.replace("net_", f"{name}_"), f"-D{name.upper()}_CHECKS=1")
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("checks", [(), ("-DTINY_CHECKS=0",)])
def test_a_release_has_no_checks(tmp_path: Path, checks: tuple[str, ...]) -> None:
    build(tiny(tmp_path / "tiny.onnx"), tmp_path / "o", make_recipe())
    body = "    WANT(tiny_invoke(&net), DFQ_OK);\n    wrong |= sizeof(tiny_t) != sizeof net.arena;\n"
    assert outcome(tmp_path / "o", "tiny", body, *checks).returncode == 0
    words = ["gcc", "-std=c99", "-O1", *checks, "-S", "-o", "-", str(tmp_path / "o" / "tiny.c")]
    without = ["-DDFQ_STATUS_H", "-include", "stdint.h", "-Ddfq_status_t=int32_t", "-DDFQ_OK=0"]
    assert assembly(*words) == assembly(*words, *without)  # the header's functions need not be there at all


def assembly(*words: str) -> str:
    """What the compiler writes, without the numbers of its labels."""
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return re.sub(r"\.L[A-Z]*\d+", ".L", text)
