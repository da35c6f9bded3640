"""Mutants of the specification and of the kernels, by hand: what a slip of the pen would look like.

The files beside this one hold them: a text that occurs once in the files it names, another for it, and the
quickest tests that must fail.
"""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TextMutant:
    """`old` occurs exactly once in the files `where`, a glob from the project's root.

    `tests` are arguments of pytest; `quick` mutants are checked in every run of the tests.
    """

    name: str
    where: str
    old: str
    new: str
    tests: str
    quick: bool = False

    @property
    def test_arguments(self) -> list[str]:
        return shlex.split(self.tests)

    def place(self, root: Path) -> Path:
        """The file. ValueError when the text is not there once: the mutant is out of date."""
        found = [path for path in sorted(root.glob(self.where)) if self.old in path.read_text("utf-8")]
        if len(found) != 1 or found[0].read_text("utf-8").count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} is not once in {self.where}")
        return found[0]

    def change(self, text: str) -> str:
        """The file's text with the mutant in it."""
        return text.replace(self.old, self.new)


def load_mutants() -> tuple[TextMutant, ...]:
    """All of them, in the order of the files."""
    folder = Path(__file__).parent
    tables = [tomllib.loads((folder / f"{name}.toml").read_text("utf-8")) for name in FILES]
    return tuple(TextMutant(**entry) for table in tables for entry in table["mutant"])


FILES = ("specification", "portable", "simd")
MUTANTS = load_mutants()
