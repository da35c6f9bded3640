"""docs/mutants.md: every mutant and the tests that kill it."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.catalogue import TextMutant

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mutants.md"

HEAD = """\
# What the mutation check kills

Written by `make mutants` when nothing survived. [proof.md](proof.md) says what this is for.

* **The proof:** {proof} mutants generated from every `verify` and the checks it calls (a statement removed, a
  comparison or a constant moved by one), all killed by `tests/fixedpoint/test_proof.py`.
* **Specification and kernels:** {text} slips of the pen, below, each killed by the tests beside it.

| slip | in | killed by |
|---|---|---|
"""


def write_page(proof: int, mutants: list[TextMutant]) -> None:
    """The page for `proof` generated mutants and these; all were killed."""
    rows = [
        f"| {mutant.name} | `{mutant.where}` | `{mutant.tests.replace('|', ' or ')}` |\n"
        for mutant in mutants
    ]
    PAGE.write_text(HEAD.format(proof=proof, text=len(mutants)) + "".join(rows), "utf-8")
