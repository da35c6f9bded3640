"""The text form of a program."""

from __future__ import annotations

from pathlib import Path

from dfqgen.fixedpoint.text import program_text
from tests.programs import stored, tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny.txt"


def test_the_text_of_a_tiny_program() -> None:
    """A change of the text form shows as a diff: copy the new text if it is meant."""
    assert program_text(stored()) == GOLDEN.read_text()


def test_hostile_names_stay_on_their_line() -> None:
    text = program_text(tiny("a\nb\x1b[31m"))
    assert "\x1b" not in text
    assert r"'a\nb\x1b[31m'" in text
