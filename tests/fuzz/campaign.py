"""A campaign: cases in worker processes with a bound of time and memory, counted, kept up in a file.

The folder holds `state.json`, from which the next run goes on, and at most KEPT models of each finding.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.cases import case
from tests.fuzz.oracle import Outcome, Verdict, examine

SECONDS = 60.0
"""Of processor time for one case; networks at the limits of frontend/limits.py may take longer by right."""
STUCK = 10
"""Times as long on the clock, and a case that computes nothing hangs too."""
MEMORY_BYTES = 6 << 30
"""Of address space for a worker, libraries and all."""
BATCH = 50
KEPT = 2
COMPILED = 8
"""One case in so many that is taken goes the whole way to C, which takes twenty times as long as reading."""


@dataclass
class State:
    """What was done so far."""

    following: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    slowest_case: int = 0

    @classmethod
    def read(cls, folder: Path) -> State:
        path = folder / "state.json"
        if not path.is_file():
            return cls()
        data = json.loads(path.read_text("utf-8"))
        return cls(
            data["following"],
            Counter(data["counts"]),
            Counter(data["findings"]),
            data["slowest_seconds"],
            data["slowest_case"],
        )

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.__dict__, indent=2, sort_keys=True)
        fresh = folder / "state.json.new"
        fresh.write_text(text + "\n", "utf-8")
        fresh.replace(folder / "state.json")

    def add(self, number: int, outcome: Outcome, seconds: float, folder: Path) -> None:
        self.counts[outcome.verdict.value] += 1
        if seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest_case = seconds, number
        if not outcome.verdict.is_finding:
            return
        kind = f"{outcome.verdict.value} {outcome.place}".strip()
        self.findings[kind] += 1
        if self.findings[kind] <= KEPT:
            data = case(number)
            name = re.sub(r"[^A-Za-z0-9.]+", "_", kind)[:80]
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}__{hashlib.sha256(data).hexdigest()[:8]}.onnx"
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(f"case {number}\n{outcome.detail}\n", "utf-8")


def _work(pipe: Connection) -> None:
    """Examine the numbers that come; answers go back one by one."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(EOFError):
        while True:
            number = pipe.recv()
            started = time.process_time()
            outcome = examine(case(number), whole=number % COMPILED == 0)
            pipe.send((number, outcome, time.process_time() - started))


class Worker:
    """A process that examines one case at a time, and is replaced when it hangs or dies."""

    def __init__(self) -> None:
        self.number = -1
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, number: int) -> None:
        self.number, self.since, self._before = number, time.monotonic(), self._seconds()
        self.pipe.send(number)

    def outcome(self) -> tuple[Outcome, float] | None:
        """Of the case it was given, once there is one."""
        waited = time.monotonic() - self.since
        if self.pipe.poll():
            try:
                _, outcome, seconds = self.pipe.recv()
            except EOFError:
                self._process.join()
                code = self._process.exitcode
                self._start()
                return Outcome(Verdict.CRASH, f"exit code {code}"), waited
            return outcome, seconds
        if waited < SECONDS or (self._seconds() - self._before < SECONDS and waited < STUCK * SECONDS):
            return None
        self.stop()
        self._start()
        return Outcome(Verdict.HANG), waited

    def _seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def run(folder: Path, seconds: float, workers: int, most_cases: int | None = None) -> State:
    """Go on with the campaign in `folder` for so long, or so many cases."""
    state = State.read(folder)
    end = time.monotonic() + seconds
    last = None if most_cases is None else state.following + most_cases
    crew = [Worker() for _ in range(workers)]
    idle, busy = list(crew), []
    try:
        while True:
            while idle and time.monotonic() < end and (last is None or state.following < last):
                worker = idle.pop()
                worker.give(state.following)
                busy.append(worker)
                state.following += 1
            if not busy:
                return state
            multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in list(busy):
                found = worker.outcome()
                if found is not None:
                    state.add(worker.number, *found, folder)
                    busy.remove(worker)
                    idle.append(worker)
                    if sum(state.counts.values()) % BATCH == 0:
                        state.write(folder)
    finally:
        for worker in crew:
            worker.stop()
        state.write(folder)
