"""Text from a model made safe for C: identifiers, comments, file names.

Everything a model says about itself is untrusted. Nothing of it reaches C, Make or CMake but through here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

MAX_IDENTIFIER = 40
MAX_COMMENT = 80

# Words that C, C++ or the headers the generated code includes already use.
RESERVED = frozenset(
    word
    for line in """
    auto break case char const continue default do double else enum extern float for goto if inline int
    long register restrict return short signed sizeof static struct switch typedef union unsigned void
    volatile while asm typeof bool true false and and_eq bitand bitor catch class compl const_cast delete
    dynamic_cast explicit export friend mutable namespace new not not_eq operator or or_eq private
    protected public reinterpret_cast static_cast template this throw try typeid typename using virtual
    wchar_t xor xor_eq alignas alignof char16_t char32_t constexpr decltype noexcept nullptr static_assert
    thread_local main errno null linux unix offsetof
    """.splitlines()
    for word in line.split()
)

# `<word>_t` is a type of the C headers.
_TYPE_STEM = re.compile(r"u?int(_fast|_least)?\d+|u?int(ptr|max)|s?size|ptrdiff|wchar|time|clock|div|off|pid")


def identifier(text: str, fallback: str) -> str:
    """A lower-case C identifier that reminds of `text`; starts with `fallback` where text gives no letter."""
    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_IDENTIFIER].strip("_")
    if not word:
        return fallback
    if word[0].isdigit() or word.startswith("dfq"):
        return f"{fallback}_{word}"[:MAX_IDENTIFIER].strip("_")
    if word in RESERVED or _TYPE_STEM.fullmatch(word):
        return f"{word}_{fallback}"
    return word


def unique_identifiers(texts: Iterable[str], fallback: str) -> list[str]:
    """One identifier for each text; those that come out equal are numbered from the second on."""
    return numbered(identifier(text, fallback) for text in texts)


def numbered(words: Iterable[str]) -> list[str]:
    """The words, equal ones numbered from the second on."""
    taken: set[str] = set()
    result = []
    for base in words:
        word, number = base, 1
        while word in taken:
            number += 1
            word = f"{base}_{number}"
        taken.add(word)
        result.append(word)
    return result


def comment_text(text: str) -> str:
    """`text` as it may stand inside /* ... */ of any C dialect: printable ASCII, no delimiters, one line."""
    safe = _without_delimiters(text)
    return safe if len(safe) <= MAX_COMMENT else safe[: MAX_COMMENT - 3] + "..."


def comment_lines(text: str, width: int, most: int) -> list[str]:
    """As `comment_text` for a long text, which is broken at spaces, and after `most` lines with an ellipsis.

    Each line must have something other than '/' before it in the comment.
    """
    lines = textwrap.wrap(_without_delimiters(text), width, break_on_hyphens=False)
    return lines if len(lines) <= most else [*lines[:most], "..."]


def _without_delimiters(text: str) -> str:
    safe = "".join(char if " " <= char <= "~" else "?" for char in text)
    safe = safe.replace("\\", "_")
    # Repeated until nothing changes: "**//" must not come out as a delimiter.
    while any(pair in safe for pair in ("*/", "/*", "??")):
        safe = safe.replace("*/", "* /").replace("/*", "/ *").replace("??", "?")
    return safe.strip()
