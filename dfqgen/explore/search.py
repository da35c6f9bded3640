"""The whole search: jobs, those already done, the rest in parallel, the front, and what is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfqgen.errors import UserError
from dfqgen.explore.front import mark_front, measure_of
from dfqgen.explore.job import Files, Job, Place
from dfqgen.explore.parcel import pack
from dfqgen.explore.space import variations
from dfqgen.explore.workers import Results, here, on_cluster
from dfqgen.files import read_regular
from dfqgen.progress import Part, Progress, silent
from dfqgen.recipe.choices import Choices, make_recipe
from dfqgen.recipe.records import Optimize
from dfqgen.report.facts import Facts
from dfqgen.targets import load_target
from dfqgen.version import __version__

DONE = "points.jsonl"
"""Results as they came, one line a job: what makes a search resumable."""


@dataclass(frozen=True, slots=True)
class Search:
    """`points` are about how many are wanted over all models and places; `processes` and `scheduler` say
    where they are measured.
    """

    targets: tuple[str, ...]
    optimize: tuple[Optimize, ...] = ("balanced",)
    points: int = 40
    processes: int = -1
    scheduler: str | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(load_target(target).name, way) for target in self.targets for way in self.optimize)


def explore(
    models: Sequence[Path],
    folder: Path,
    search: Search,
    base: Choices,
    data: Path | None = None,
    progress: Progress = silent,
) -> Facts:
    """Measure what the search asks for and has not been measured in `folder` yet; the facts of all of it.

    Deterministic: the same models, data and choices give the same facts in the same order, whoever measured.
    Raises UserError.
    """
    make_recipe(**base)  # contradictions are told before anything is measured
    jobs, files = plan_jobs(models, search, base, data)
    if search.scheduler is not None and any(isinstance(choice, Path) for choice in base.values()):
        raise UserError("a cluster's workers have no files but models and --data", "Leave --scheduler out.")
    done = Done(folder)
    missing = [job for job in jobs if job.key not in done.points]
    progress(f"{len(jobs) - len(missing)} of {len(jobs)} quantizations are there already")
    for index, (job, points) in enumerate(_measured(missing, files, search), 1):
        done.add(job, points)
        text = f"{index} of {len(missing)} quantizations"
        progress(Part("measuring", index, len(missing), text))
    points = [point for job in jobs for point in done.points[job.key]]
    good = [point for point in points if "error" not in point]
    if not good:
        raise UserError(f"no point could be measured: {points[0]['error']}")
    return {
        "models": [path.stem for path in models],
        "measure": measure_of(good),
        "points": mark_front(good),
        "failed": [point for point in points if "error" in point],
        "folder": str(folder),
    }


def plan_jobs(
    models: Sequence[Path], search: Search, base: Choices, data: Path | None
) -> tuple[list[Job], Files]:
    """The jobs in order, and the files they need by hash. Raises UserError for models of one name."""
    stems = [path.stem for path in models]
    if len(set(stems)) < len(stems):
        raise UserError("two models have one name", "Give files of different names.")
    files: dict[str, bytes] = {}
    share = max(1, round(search.points / (len(models) * len(search.places))))
    jobs = []
    for path in models:
        model = _keep(read_regular(path), files)
        samples = None if data is None else _keep(pack(data, path, make_recipe(**base)), files)
        jobs += [
            Job(path.stem, model, samples, choices, search.places) for choices in variations(base, share)
        ]
    return jobs, files


def _keep(content: bytes, files: dict[str, bytes]) -> str:
    """Its hash, by which `files` has it from now on."""
    name = hashlib.sha256(content).hexdigest()
    files[name] = content
    return name


def _measured(jobs: Sequence[Job], files: Files, search: Search) -> Results:
    if not jobs:
        return iter(())
    if search.scheduler is not None:
        return on_cluster(jobs, files, search.scheduler)
    return here(jobs, files, search.processes)


class Done:
    """The file of results in a folder; what another dfqgen measured does not count.

    Raises UserError where the folder holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / DONE
        self.points: dict[str, list[Facts]] = {}
        if folder.exists() and not self.path.is_file() and any(folder.iterdir()):
            raise UserError(f"{folder} holds something else than a search", "Name another with --output.")
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            self.points = dict(_read(read_regular(self.path).decode("utf-8", "replace").splitlines()))

    def add(self, job: Job, points: list[Facts]) -> None:
        """Keep a job's points, on the disk too."""
        self.points[job.key] = points
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"dfqgen": __version__, "key": job.key, "points": points}) + "\n")


def _read(lines: Iterable[str]) -> Iterable[tuple[str, list[Facts]]]:
    """A last line cut short by a crash is no result."""
    for line in lines:
        try:
            entry: Any = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and entry.get("dfqgen") == __version__:
            yield entry["key"], entry["points"]
