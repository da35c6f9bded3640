"""One search on this machine by joblib, and on a Dask cluster of which a worker is killed: times and points.

    python bench/explore.py --shared ../shared [--points 198] [--write docs/explore.md]

ResNet8 on three parts, for speed and for size, on every tenth image of its set. The cluster is a scheduler
and --workers processes of this machine. One of them is killed after a third of the quantizations. CPU time is
of all processes, compilers too. --output must not be there yet. The command fails where the points differ.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from joblib.externals.loky import get_reusable_executor
from subjects import SUBJECTS, replace_table

from dfqgen.commands import explore
from dfqgen.explore import Search
from dfqgen.progress import Part, Progress
from dfqgen.recipe.choices import Choices
from dfqgen.report.facts import Facts

NETWORK = "ic01"
PARTS = ("stm32l4r5", "nrf5340", "stm32h743")
EVERY = 10
"""Of the images."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A search, how long it took, and the CPU time of all its processes."""

    where: str
    facts: Facts
    seconds: float
    cpu_seconds: float
    remark: str = ""

    @property
    def row(self) -> str:
        cells = (self.where, f"{self.seconds / 60:.1f} min", f"{self.cpu_seconds / 60:.1f} min", self.remark)
        return f"| {' | '.join(cells)} |"


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """A scheduler or a worker, one thread for BLAS."""
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{arguments[0]}", *map(str, arguments[1:])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


@contextmanager
def cluster(count: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler's address, and its workers."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        at = ("--scheduler-file", Path(folder) / "scheduler.json", "--no-dashboard")
        running = [start("dask_scheduler", *at, "--port", 0, "--host", "127.0.0.1")]
        settings = ("--nthreads", 1, "--no-nanny", "--local-directory", folder)
        running += [start("dask_worker", *at, *settings) for _ in range(count)]
        try:
            with Client(scheduler_file=str(at[1]), timeout=120) as client:
                client.wait_for_workers(count, timeout=120)
                address = client.scheduler.address
            yield address, running[1:]
        finally:
            for process in running:
                process.terminate()
                process.wait()


def children_seconds() -> float:
    """CPU time of children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def search(where: Search, folder: Path, shared: Path, progress: Progress) -> Facts:
    """The search itself."""
    subject = SUBJECTS[NETWORK]
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        data = Path(scratch) / "images.npz"
        archive = np.load(shared / "data" / str(subject.data))
        np.savez(data, x=archive["x"][::EVERY], y=archive["y"][::EVERY])
        model = shared / "models" / subject.file
        return explore([model], folder, where, Choices(meaning=subject.meaning), data, progress)


def timed(where: str, run: Callable[[], Facts], end: Callable[[], None], remark: Callable[[], str]) -> Timed:
    """`end` ends the processes, so that their time is known."""
    before, started = children_seconds(), time.monotonic()
    facts = run()
    seconds = time.monotonic() - started
    end()
    return Timed(where, facts, seconds, children_seconds() - before, remark())


def on_this_machine(shared: Path, folder: Path, points: int, processes: int) -> Timed:
    where = Search(PARTS, ("speed", "size"), points, processes)
    return timed(
        f"this machine, {processes} processes",
        lambda: search(where, folder, shared, say),
        lambda: get_reusable_executor().shutdown(wait=True),
        lambda: "",
    )


def on_cluster(shared: Path, points: int, workers: int) -> Timed:
    done: list[str] = []
    killed: list[int] = []
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder, cluster(workers) as (address, running):

        def kill_one(stage: str) -> None:
            say(stage)
            if not isinstance(stage, Part):
                return
            done.append(stage)
            if stage.share >= 1 / 3 and running[0].poll() is None:
                running[0].kill()
                killed.append(len(done))

        def end() -> None:
            for process in running:
                process.terminate()
                process.wait()

        where = Search(PARTS, ("speed", "size"), points, scheduler=address)
        return timed(
            f"Dask, {workers} workers",
            lambda: search(where, Path(folder) / "search", shared, kill_one),
            end,
            lambda: f"one killed after {killed[0]} of {len(done)} quantizations",
        )


def say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--points", type=int, default=198)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=Path("out/explore"))
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file, and its picture")
    arguments = parser.parse_args()
    if arguments.output.exists():
        parser.error(f"{arguments.output} is there: a search that goes on says nothing of its time")
    here = on_this_machine(arguments.shared, arguments.output, arguments.points, arguments.processes)
    print(here.row, flush=True)
    there = on_cluster(arguments.shared, arguments.points, arguments.workers)
    print(there.row, flush=True)
    if arguments.write:
        head = ("| where | time | CPU time of all processes | |", "|---|--:|--:|---|")
        replace_table(arguments.write, "\n".join([*head, here.row, there.row]), "search table")
        shutil.copy(arguments.output / "explore.png", arguments.write.with_name("explore.png"))
    same = here.facts["points"] == there.facts["points"]
    print(f"{len(here.facts['points'])} points, {'the same' if same else 'NOT the same'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
