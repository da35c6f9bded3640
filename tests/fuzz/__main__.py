"""`make fuzz`: a campaign that goes on where it stopped; `--case N` shows one case, `--file` one model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.campaign import State, run
from tests.fuzz.cases import case
from tests.fuzz.oracle import examine
from tests.fuzz.seeds import write_corpus


def main() -> int:
    """1 where a finding was made."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--cases", type=int, help="stop after so many")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--case", type=int, help="examine one case and write it to the folder")
    parser.add_argument("--file", type=Path, help="examine one file")
    parser.add_argument("--corpus", action="store_true", help="make the corpus of small models again")
    arguments = parser.parse_args()
    if arguments.corpus:
        write_corpus()
        return 0
    if arguments.case is not None or arguments.file is not None:
        data = arguments.file.read_bytes() if arguments.file else case(arguments.case)
        if arguments.case is not None:
            arguments.folder.mkdir(parents=True, exist_ok=True)
            (arguments.folder / f"case{arguments.case}.onnx").write_bytes(data)
        outcome = examine(data)
        print(f"{outcome.verdict.value} {outcome.place}\n{outcome.detail}")
        return int(outcome.verdict.is_finding)
    state = run(arguments.folder, 3600 * arguments.hours, arguments.workers, arguments.cases)
    show(state)
    return int(bool(state.findings))


def show(state: State) -> None:
    print(f"| cases | {sum(state.counts.values()):,} |")
    for verdict, count in sorted(state.counts.items()):
        print(f"| {verdict} | {count:,} |")
    print(f"| slowest | {state.slowest_seconds:.1f} s, case {state.slowest_case} |")
    for kind, count in state.findings.most_common():
        print(f"  {count:6,}  {kind}")


if __name__ == "__main__":
    sys.exit(main())
