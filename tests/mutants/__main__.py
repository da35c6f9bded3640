"""`make mutants`: all of them, a table, docs/mutants.md, and 1 where one survives.

Words select mutants by name; the page is then left as it is. `sample COUNT [SEED [AREA ...]]` tries so
many of what tokens give in each area (all, or those whose names begin so) instead, and prints the share that
is killed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, TextMutant
from tests.mutants.check import ROOT, copy_project, run_mutants
from tests.mutants.proof import survivors
from tests.mutants.report import write_page
from tests.mutants.sample import AREAS, sample


def main(words: list[str]) -> int:
    """1 when a mutant survived or could not be tried, else 0."""
    if words and words[0] == "sample":
        drawn, seed, *areas = *words[1:], *("0",) * (3 - len(words))
        try_sample(int(drawn), int(seed), tuple(areas))
        return 0
    if words:
        chosen = [mutant for mutant in MUTANTS if any(word in mutant.name for word in words)]
        return int(not all_killed(chosen))
    names, count = survivors()
    print(f"| the proof, {count} mutants | {count - len(names)} killed |")
    for name in names:
        print(f"| {name} | survived |")
    clean = all_killed(list(MUTANTS)) and not names
    if clean:
        write_page(count, list(MUTANTS))
    return int(not clean)


def all_killed(mutants: list[TextMutant]) -> bool:
    """Try each, and print its row."""
    clean = True
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        for mutant, verdict in run_mutants(mutants, copy_project(Path(folder))):
            clean = clean and verdict == "killed"
            seconds = time.monotonic() - started
            print(f"| {mutant.name} | `{mutant.tests}` | {verdict} | {seconds:.0f} s |", flush=True)
            started = time.monotonic()
    return clean


def try_sample(count: int, seed: int = 0, areas: tuple[str, ...] = ()) -> None:
    """Try `count` mutants of each area; print those that survive, and the shares."""
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_project(Path(folder))
        for area in AREAS:
            if areas and not area.name.startswith(areas):
                continue
            verdicts = Counter[str]()
            for mutant, verdict in run_mutants(sample(area, ROOT, count, seed), copy):
                verdicts[verdict] += 1
                print(f"{verdict}: {mutant.name}", flush=True)
            judged = verdicts["killed"] + verdicts["survived"]
            print(f"| {area.name} | {verdicts['killed']} of {judged} killed |", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
