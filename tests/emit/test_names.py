"""No text of a model can break C."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfqgen.emit.names import MAX_COMMENT, RESERVED, comment_text, identifier, unique_identifiers

HOSTILE = [
    "*/ int evil(void); /*",
    "conv\n#include <stdio.h>",
    "a\"b'c",
    "??/ ??' trigraph",
    "back\\",
    "**//",
    "/" * 10 + "*" * 10 + "/" * 10,
    "int",
    "",
    "   ",
    "卷积/重量",
    "1st",
    "size",
    "dfq_conv2d_s8s8",
    "x" * 500,
    "\x00\x1b[31m",
    "%s%n",
    "$(rm -rf x)",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_an_identifier(text: str) -> None:
    word = identifier(text, "layer")
    assert re.fullmatch(r"[a-z][a-z0-9_]*", word)
    assert word not in RESERVED
    assert len(word) <= 50


@given(st.text())
def test_any_text_is_one_harmless_line_of_a_comment(text: str) -> None:
    safe = comment_text(text)
    assert re.fullmatch(r"[ -~]*", safe)
    assert not any(pair in safe for pair in ("*/", "/*", "??", "\\"))
    assert not safe.endswith("*/")
    assert len(safe) <= MAX_COMMENT


@given(st.lists(st.sampled_from(["a", "A", "a!", "a_2", "a 2", "", "a__2", "layer", "layer_2"]), max_size=12))
def test_equal_names_are_told_apart(texts: list[str]) -> None:
    words = unique_identifiers(texts, "layer")
    assert len(set(words)) == len(texts)


@given(st.text())
def test_names_are_stable(text: str) -> None:
    assert identifier(identifier(text, "net"), "net") == identifier(text, "net")


@pytest.mark.parametrize("text", ["int8", "uint_fast16", "size", "intptr", "int", "while"])
def test_types_of_the_c_headers_are_not_redefined(text: str) -> None:
    assert identifier(text, "net") == f"{text}_net"
