"""One quantization of one network, measured on samples and planned for several targets.

A job is plain data and so are its results, so that both go to other processes and machines and into a file.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from math import inf, isnan
from pathlib import Path
from typing import Any

from dfqgen.compile import Compiled
from dfqgen.emit.package import emit
from dfqgen.errors import UserError
from dfqgen.explore.beginning import BEGINNINGS
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.recipe.choices import Choices, make_recipe
from dfqgen.recipe.command import build_command
from dfqgen.recipe.records import Optimize
from dfqgen.report.facts import Facts, rounded, size_facts, time_facts
from dfqgen.samples.sources import content_hash
from dfqgen.targets import Target, load_target
from dfqgen.verify.against_float import compare_with_float
from dfqgen.verify.code_size import measure_code


@dataclass(frozen=True, slots=True)
class Place:
    """A target and what the C is made for, "speed" or "size"."""

    target: str
    optimize: Optimize


@dataclass(frozen=True, slots=True)
class Job:
    """`model` and `data` are hashes of files that every worker has, an ONNX file and an .npz.

    `choices` are those of a recipe.
    """

    name: str
    model: str
    data: str | None
    choices: Choices
    places: tuple[Place, ...]

    @property
    def key(self) -> str:
        """The same for the same question."""
        text = json.dumps(asdict(self), sort_keys=True, default=_for_key)
        return hashlib.sha256(text.encode()).hexdigest()


def _for_key(value: Any) -> Any:
    if isinstance(value, Path):
        return content_hash(value)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


Files = Mapping[str, bytes]
"""Contents by hash."""


def measure(job: Job, files: Files) -> list[Facts]:
    """A point for every place; one with "error" where the choices are not possible."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-explore-") as scratch:
        model = _lay_down(files[job.model], Path(scratch) / f"{job.name}.onnx")
        data = None if job.data is None else _lay_down(files[job.data], Path(scratch) / "data.npz")
        try:
            return _points(job, model, data)
        except UserError as error:
            return [{"model": job.name, "error": error.message}]


def _lay_down(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path


def _points(job: Job, model: Path, data: Path | None) -> list[Facts]:
    by_scales: dict[str, tuple[Compiled, Facts]] = {}
    points = []
    for place in job.places:
        target = load_target(place.target)
        recipe = make_recipe(**(job.choices | Choices(target=place.target, optimize=place.optimize)))
        if recipe.weights.scales not in by_scales:
            compiled = BEGINNINGS.compile(job.model, model, recipe)
            by_scales[recipe.weights.scales] = (compiled, quality(compiled, data))
        compiled, measured = by_scales[recipe.weights.scales]
        costs = cost(compiled, target, place.optimize)
        command = build_command(model.name, recipe)
        points.append(
            {
                "model": job.name,
                "target": place.target,
                "optimize": place.optimize,
                "choice": choice_text(job.choices),
                "command": command,
                **measured,
                **costs,
            }
        )
    return points


def choice_text(choices: Choices) -> str:
    """What the search chose, in a few words."""
    flash, types = choices.get("flash_budget", "8 bits"), choices.get("activations", "")
    return f"{flash}, {types}".removesuffix(", ")


def quality(compiled: Compiled, data: Path | None) -> Facts:
    """How close to float, on the data or on random inputs: the worst output's figures."""
    comparison = compare_with_float(compiled.network, compiled.program, None, data)
    worst = min(comparison.outputs, key=lambda output: inf if isnan(output.sqnr_db) else output.sqnr_db)
    agreement = worst.equal if worst.top1_agreement is None else worst.top1_agreement
    return {
        "sqnr_db": rounded(worst.sqnr_db, 2),
        "agreement": rounded(agreement, 4),
        "accuracy": rounded(worst.accuracy, 4),
        "float_accuracy": rounded(worst.float_accuracy, 4),
        "samples": comparison.source,
    }


def cost(compiled: Compiled, target: Target, optimize: Optimize) -> Facts:
    """Flash with the code that the target's compiler makes, arena, and time by measured prices."""
    program = compiled.program
    plan = plan_program(program, target, optimize=optimize)
    files = emit(program, plan, target, optimize=optimize)
    sizes = size_facts(program, plan, measure_code(files, target, optimize))
    time = time_facts(estimate(plan), target)
    return {
        "flash_bytes": sizes["flash_bytes"],
        "code_bytes": sizes["code_bytes"],
        "arena_bytes": sizes["arena_bytes"],
        "instructions": None if time is None else time["instructions"],
        "seconds": None if time is None else time["seconds"],
    }
