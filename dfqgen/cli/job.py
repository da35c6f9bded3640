"""What is around every command: its progress, its errors as one paragraph and an exit code, Ctrl-C."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from dfqgen.cli import output as show
from dfqgen.cli.failures import reporting
from dfqgen.progress import Part, Progress

WIDTH = 110  # columns where there is no terminal
QUIET_SECONDS = 10.0
"""Into a log, a line at most this often says what is being done."""


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def stdout() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


@dataclass(slots=True)
class Clock:
    """Stages as lines with the time since the start, and the time left of those known in part."""

    now: Callable[[], float] = time.monotonic
    stage: str = "starting"
    started: float = field(init=False)
    _task: str = ""
    _task_started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def elapsed(self) -> float:
        return self.now() - self.started

    def enter(self, stage: str) -> str:
        """Note a stage; the text to show for it."""
        self.stage = stage
        task = stage.task if isinstance(stage, Part) else stage
        if task != self._task:
            self._task, self._task_started = task, self.now()
        left = self._seconds_left(stage)
        return f"{stage}, about {duration(left)} left" if left is not None else str(stage)

    def _seconds_left(self, stage: str) -> float | None:
        if not isinstance(stage, Part) or not 0.0 < stage.share < 1.0:
            return None
        spent = self.now() - self._task_started
        return spent * (1.0 - stage.share) / stage.share if spent > 1.0 else None


def duration(seconds: float) -> str:
    """For people: 8 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def job(as_json: bool, verbose: bool = False, *, left: str = "nothing was written") -> Iterator[Progress]:
    """Progress for a command; errors raised on purpose, and Ctrl-C, become one paragraph and an exit code.

    `left` says what an interrupted command leaves behind.
    """
    clock = Clock()
    with (
        reporting(as_json, lambda: f"interrupted while {clock.stage}; {left}"),
        _shown(clock, verbose) as progress,
    ):
        yield progress
    if verbose:
        _log(clock, "done", stderr())


@contextlib.contextmanager
def _shown(clock: Clock, verbose: bool) -> Iterator[Progress]:
    console = stderr()
    if verbose or not console.is_terminal:
        yield _logged(clock, console, 0.0 if verbose else QUIET_SECONDS)
        return
    with console.status("starting") as status:
        yield lambda stage: status.update(show.status_text(clock.enter(stage)))


def _logged(clock: Clock, console: Console, quiet_seconds: float) -> Progress:
    printed = clock.now()

    def progress(stage: str) -> None:
        nonlocal printed
        text = clock.enter(stage)
        if clock.now() - printed >= quiet_seconds:
            printed = clock.now()
            _log(clock, text, console)

    return progress


def _log(clock: Clock, text: str, console: Console) -> None:
    console.print(show.status_text(f"{clock.elapsed:7.1f} s  {text}"), soft_wrap=True)


@contextlib.contextmanager
def bar(progress: Progress) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal's standard error for (done, total, stage); `progress` elsewhere."""
    console = stderr()
    if not console.is_terminal:
        yield lambda done, total, stage: progress(Part(stage.split(",")[0], done, total, stage))
        return
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with RichProgress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("")
        yield lambda done, total, stage: shown.update(
            task, completed=done, total=total, description=show.printable(stage)
        )


def finish(facts: dict[str, Any], as_json: bool, printer: Callable[[dict[str, Any], Console], None]) -> None:
    """Warnings on standard error, then the facts as tables or as one JSON object."""
    show.print_warnings(facts.get("warnings", ()), stderr())
    if as_json:
        show.print_json(facts)
    else:
        printer(facts, stdout())
