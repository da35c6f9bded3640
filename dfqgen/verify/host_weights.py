"""Large tables of constants for this machine: compilers take a minute for ten million numbers of text.

The text of a network's weights is read here, number by number, and what it says becomes bytes that the
assembler includes. What is checked is thus still what stands in the file.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np

LARGE_BYTES = 1 << 20
"""Text that is shorter goes through the compiler, in a second."""

_HEAD = re.compile(
    rb"DFQ_ALIGNED\(\d+\) \w+_CONST const DFQ_FLASH (u?int(?:8|16|32)_t) (\w+)\[(\d+)\] = \{\n"
)
"""As templates/weights.c.j2 writes it; the macros say where constants lie on a target, nothing here."""

_ASSEMBLY = """#if defined(__APPLE__)
#define SECTION ".const"
#define SYMBOL(name) "_" name
#elif defined(_WIN32)
#define SECTION ".section .rdata,\\"dr\\""
#define SYMBOL(name) name
#else
#define SECTION ".section .rodata"
#define SYMBOL(name) name
#endif
"""
_INCLUDE = (
    '__asm__(SECTION "\\n.balign 16\\n.globl " SYMBOL("{name}") "\\n" SYMBOL("{name}") ":\\n"\n'
    '        ".incbin \\"{path}\\"\\n.text\\n");\n'
)


def binary_weights(source: Path, scratch: Path) -> Path:
    """A C file that defines the tables of `source` by files of bytes, all in `scratch`.

    `source` itself where it is short, or says anything but tables of integers that fit their types: that is
    for the compiler to judge.
    """
    if source.stat().st_size < LARGE_BYTES:
        return source
    parts = [_ASSEMBLY]
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for number, head in enumerate(_HEAD.finditer(text)):
            ctype, name, count = (word.decode("ascii") for word in head.groups())
            end = text.find(b"\n};", head.end())
            values = _integers(text[head.end() : end], np.dtype(ctype.removesuffix("_t")), int(count))
            if values is None:
                return source
            path = scratch / f"{number}.bin"
            path.write_bytes(values.tobytes())
            parts.append(_INCLUDE.format(name=name, path=path.as_posix()))
        tables = sum(1 for _ in re.finditer(rb"DFQ_ALIGNED\(", text))
    if len(parts) == 1 or tables != len(parts) - 1:
        return source
    binary = scratch / "weights.c"
    binary.write_text("".join(parts), encoding="utf-8")
    return binary


def _integers(text: bytes, dtype: np.dtype[np.integer], count: int) -> np.ndarray | None:
    """`count` integers separated by commas; None where the text is anything else."""
    if re.search(rb"[^-0-9,\s]", text):
        return None
    values = np.array(np.fromstring(text, np.int64, sep=","))
    limits = np.iinfo(dtype)
    fits = values.size == count and count > 0 and values.min() >= limits.min and values.max() <= limits.max
    return values.astype(dtype) if fits else None
