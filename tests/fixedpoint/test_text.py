"""The text form of a program: stable, safe to print, and the same program when parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.dialect import TextError
from dfqgen.fixedpoint.serialize import program_to_json
from dfqgen.fixedpoint.text import parse_program, program_text
from tests.programs import branched, stored, tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny.txt"


def test_the_text_of_a_tiny_program() -> None:
    """A change of the text form shows as a diff: copy the new text if it is meant."""
    assert program_text(stored()) == GOLDEN.read_text()


@pytest.mark.parametrize(
    "program", [stored(), tiny(), branched("two\nlines")], ids=["stored", "tiny", "branched"]
)
def test_a_program_is_read_back(program: object) -> None:
    again = parse_program(program_text(program, full=True))  # type: ignore[arg-type]
    assert program_to_json(again) == program_to_json(program)  # type: ignore[arg-type]


def test_a_program_that_is_only_summarised_cannot_be_read() -> None:
    with pytest.raises(TextError, match="only summarised"):
        parse_program(program_text(stored()))


def test_hostile_names_stay_on_their_line() -> None:
    text = program_text(tiny("a\nb\x1b[31m"))
    assert text.isascii()
    assert r'program "a\nb\u001b[31m"' in text


SMALL = """\
program net
  input %x int8[1,2,2,1] scale=0.5 zero_point=0
  %m = QMaxPool(%x) kernel=(2, 2) stride=(1, 1) dilation=(1, 1) pads=(0, 0, 0, 0)
      -> int8[1,1,1,1] scale=0.5 zero_point=0
  %y = QLookup(%m) table=int8[256]{3} -> int8[1,1,1,1] scale=0.25 zero_point=-128 of activation
  output %y
"""


def test_a_small_program_can_be_written_by_hand() -> None:
    program = parse_program(SMALL)
    assert [op.name for op in program.ops] == ["m", "activation"]
    assert program_text(program, full=True) == SMALL.replace("net", "net  # 0 MAC, 256 bytes of constants", 1)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("QLookup", "Lookup", TextError, "there is no operator Lookup"),
        ("int8[1,2,2,1]", "int9[1,2,2,1]", TextError, "int9 is no integer type"),
        ("%y = ", "%m = ", TextError, "%m is written a second time"),
        ("kernel=(2, 2)", "kernel=(2)", TextError, "kernel has 1 entries, not 2"),
        ("kernel=(2, 2)", "kernel=(2, 3)", ProgramError, "window"),
        ("output %y", "output %z", ProgramError, "never written"),
    ],
)
def test_errors_say_what_is_wrong(old: str, new: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_program(SMALL.replace(old, new))
