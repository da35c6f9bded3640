"""A sample of all the mutants that tokens give: one operator, comparison or number of a source file changed.

Nobody chose them, so the share that is killed says how much the tests see. A mutant that computes the same (a
price that ties, a bound that is never met) counts as survived: the share is a lower bound.
"""

from __future__ import annotations

import io
import random
import re
import shlex
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SWAPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+": "-", "-": "+", "//": "*",
    "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=", "and": "or", "or": "and", "&&": "||", "||": "&&",
    "min": "max", "max": "min",
}  # fmt: skip
NUMBER = re.compile(r"0|[1-9][0-9]*")
_C_TOKEN = re.compile(
    r"[A-Za-z_]\w*|0[xX][0-9a-fA-F]+\w*|[0-9][\w.]*|<<=|>>=|->|[-+*/%&|^<>=!]=|<<|>>|&&|\|\||\+\+|--|\S"
)
_C_SKIPPED = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|^[ \t]*#(?:\\\n|[^\n])*|DFQ_UNROLL\(\d+\)",
    re.DOTALL | re.MULTILINE,
)
"""Comments, texts, lines of the preprocessor, and how often a loop is unrolled, which changes no result."""
_OPERAND = re.compile(r"[\w)\]]+")
_NO_OPERAND = {"return", "in", "and", "or", "not", "if", "else", "case", "is", "lambda", "yield", "assert"}


@dataclass(frozen=True)
class Area:
    """Source files, globs from the project's root, and the tests that speak for them, quickest first."""

    name: str
    files: tuple[str, ...]
    tests: str


AREAS = (
    Area(
        "ops",
        ("dfqgen/ops/*.py",),
        "tests/ops tests/fixedpoint tests/kernels/test_portable.py tests/kernels/test_portable_more.py "
        "tests/kernels/test_attention.py tests/kernels/test_recurrent.py tests/kernels/test_trees.py "
        "tests/kernels/test_wide_elementwise.py tests/kernels/test_embedding.py tests/conformance tests/plan",
    ),
    Area(
        "portable kernels",
        ("runtime_c/portable/*.h",),
        "tests/kernels/test_portable.py tests/kernels/test_portable_more.py tests/kernels/test_attention.py "
        "tests/kernels/test_recurrent.py tests/kernels/test_trees.py tests/kernels/test_wide_elementwise.py "
        "tests/kernels/test_embedding.py tests/kernels/test_winograd.py tests/emit/test_misuse.py "
        "tests/kernels/test_sanitizers.py",
    ),
    Area(
        "DSP kernels",
        ("runtime_c/dsp/*.h",),
        "tests/kernels/test_dsp.py tests/kernels/test_winograd.py tests/kernels/test_sanitizers.py "
        "tests/kernels/test_dsp_qemu.py",
    ),
    Area("plan", ("dfqgen/plan/*.py",), "tests/plan tests/emit tests/goals"),
)  # fmt: skip


@dataclass(frozen=True)
class TokenMutant:
    """`old` at offset `start` of `path` (from the project's root) becomes `new`."""

    path: str
    line: int
    start: int
    old: str
    new: str
    tests: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line} `{self.old}` → `{self.new}`"

    @property
    def test_arguments(self) -> list[str]:
        return shlex.split(self.tests)

    def place(self, root: Path) -> Path:
        return root / self.path

    def change(self, text: str) -> str:
        """The file's text with the mutant in it."""
        assert text.startswith(self.old, self.start)
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


def sample(area: Area, root: Path, count: int, seed: int) -> list[TokenMutant]:
    """`count` of the area's mutants, each as likely as any other."""
    paths = sorted({path for pattern in area.files for path in root.glob(pattern)})
    every = [mutant for path in paths for mutant in mutants_of(path, root, area.tests)]
    return random.Random(seed).sample(every, min(count, len(every)))


def mutants_of(path: Path, root: Path, tests: str) -> Iterator[TokenMutant]:
    """All mutants of one file, in its order."""
    text = path.read_text("utf-8")
    before = ""
    for start, token in _python_tokens(text) if path.suffix == ".py" else _c_tokens(text):
        new = _changed(token, before)
        if new is not None:
            line = text.count("\n", 0, start) + 1
            yield TokenMutant(path.relative_to(root).as_posix(), line, start, token, new, tests)
        before = token


def _changed(token: str, before: str) -> str | None:
    if NUMBER.fullmatch(token):
        return str(int(token) + 1)
    if token in ("+", "-") and (not _OPERAND.fullmatch(before[-1:]) or before in _NO_OPERAND):
        return None  # a sign
    return SWAPS.get(token)


def _python_tokens(text: str) -> Iterator[tuple[int, str]]:
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
            yield lines[token.start[0] - 1] + token.start[1], token.string


def _c_tokens(text: str) -> Iterator[tuple[int, str]]:
    blank = _C_SKIPPED.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    for token in _C_TOKEN.finditer(blank):
        yield token.start(), token.group()
