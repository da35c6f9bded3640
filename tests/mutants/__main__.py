"""`make mutants`: all of them, a table, and 1 where one survives. Words select mutants by name."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.check import copy_project, run_mutants
from tests.mutants.proof import survivors


def main(words: list[str]) -> int:
    """The number of survivors, at most 1."""
    failed = 0
    if not words:
        names, count = survivors()
        failed += len(names)
        print(f"| the proof, {count} mutants | {count - len(names)} killed |")
        for name in names:
            print(f"| {name} | survived |")
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        for mutant, verdict in run_mutants(chosen, copy_project(Path(folder))):
            failed += verdict != "killed"
            seconds = time.monotonic() - started
            print(f"| {mutant.name} | `{mutant.tests}` | {verdict} | {seconds:.0f} s |", flush=True)
            started = time.monotonic()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
