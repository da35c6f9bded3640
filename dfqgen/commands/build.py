"""A model file becomes a folder of C."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from dfqgen.commands.advice import quality_warnings, require_sqnr
from dfqgen.commands.export import exported
from dfqgen.compile import Compiled
from dfqgen.emit.package import MANIFEST, check_folder, write_folder
from dfqgen.explore.known import known_points
from dfqgen.fixedpoint.program import Program
from dfqgen.goals import compile_to_fit
from dfqgen.kernels.base import Plan
from dfqgen.notebook import html_table
from dfqgen.plan.budget import TARGETS_OWN, Budget
from dfqgen.plan.estimate import estimate
from dfqgen.plan.planner import plan_for
from dfqgen.progress import Progress, silent
from dfqgen.recipe.records import Recipe
from dfqgen.report import facts as report
from dfqgen.report.facts import Facts
from dfqgen.report.html import REPORT, render_report
from dfqgen.report.layers import add_times, add_weights, layer_facts, mark_worst
from dfqgen.report.verdict import verdict_facts
from dfqgen.samples.sources import source_of
from dfqgen.targets import load_target
from dfqgen.verify.against_float import compare_layers_with_float, compare_with_float, layers_are_cheap
from dfqgen.verify.compare import LayerComparison


@dataclass(frozen=True, slots=True, eq=False)
class BuildResult:
    """A finished build: the folder, the program in it, and the facts of the report."""

    folder: Path
    program: Program
    plan: Plan
    facts: Facts

    def __repr__(self) -> str:
        return f"<BuildResult {self.folder}: {self.facts['verdict']['text']}>"

    def _repr_html_(self) -> str:
        verdict = self.facts["verdict"]
        rows = [(point["level"], point["text"]) for point in verdict["points"]]
        return html_table(f"{self.folder}: {verdict['text']}", ("", "why"), rows)


def default_output(model: Path) -> Path:
    """Where a build goes when nobody says."""
    return Path("out") / model.stem


def build(
    model: str | Path,
    folder: str | Path,
    recipe: Recipe | None = None,
    *,
    budget: Budget = TARGETS_OWN,
    force: bool = False,
    data: str | Path | None = None,
    per_layer: bool = False,
    min_sqnr: float | None = None,
    qdq: bool = False,
    explored: str | Path | None = None,
    progress: Progress = silent,
) -> BuildResult:
    """Compile a model to a folder of C, check it bit for bit, compare it with the float network.

    Where it does not fit `budget`, what the recipe leaves open is chosen so that it fits (`dfqgen.goals`).
    `data` is a file of samples to compare on (see `load_samples`), else inputs are random; `per_layer`
    compares every layer, which is done anyway where it is cheap. `min_sqnr` is the least SQNR of every
    output, in dB. With `qdq` the folder also gets the program as ONNX; the report shows this build among
    those of the folder `explored`. All appears only when everything is well; `force` replaces an earlier
    build. Raises UserError (a BudgetExceeded among them) and VerificationFailed.
    """
    model, folder = Path(model), Path(folder)
    check_folder(folder, force=force)
    data = None if data is None else Path(data)
    if data is not None:
        source_of(data)
    known = None
    if explored is not None:
        known = known_points(Path(explored), model.stem, load_target((recipe or Recipe()).code.target).name)
    fitted = compile_to_fit(model, _within(recipe or Recipe(), budget), budget, progress)
    compiled, built = fitted.compiled, fitted.built
    network, program = compiled.network, compiled.program
    progress("comparing with the float network")
    comparison = compare_with_float(network, program, built.check.network, data)
    if min_sqnr is not None:
        require_sqnr(comparison.outputs, min_sqnr)
    layers: tuple[LayerComparison, ...] = ()
    graph = compiled.quantized.prepared.graph
    if per_layer or layers_are_cheap(program):
        layers = compare_layers_with_float(network, graph, program, data)
    checked = [built.check.warning] if built.check.warning else []
    warnings = [*compiled.warnings, *fitted.sacrifices, *checked, *comparison.warnings]
    if compiled.recipe.code.stream == "on" and not built.plan.segments:
        warnings.append("--stream on has no effect: no layers take less memory row by row")
    warnings += quality_warnings(compiled, comparison, layers, data, progress)
    warnings = list(dict.fromkeys(warnings))
    manifest = json.loads(built.files[MANIFEST])
    target = report.target_facts(compiled.target, budget)
    sizes = report.size_facts(program, built.plan, built.code)
    estimates = estimate(built.plan)
    rows = layer_facts(program, built.plan, layers)
    add_times(rows, estimates, compiled.target)
    add_weights(rows, program, graph)
    mark_worst(rows, program)
    facts = {
        "dfqgen": manifest["dfqgen"],
        "network": manifest["network"],
        "model": manifest["provenance"]["model"],
        "provenance": manifest["provenance"],
        "verdict": verdict_facts(built.check, sizes, target, comparison, warnings),
        "target": target,
        "sizes": sizes,
        "time": report.time_facts(estimates, compiled.target),
        "verification": report.check_facts(built.check),
        "comparison": report.comparison_facts(comparison),
        "predicted_db": {name: round(value, 2) for name, value in compiled.quantized.predicted_db.items()},
        "layers": rows,
        "per_layer": per_layer,
        "explored": known,
        "warnings": warnings,
        "meanings": report.meaning_facts(
            {port.name: network.meanings[port.name] for port in network.graph.fed}
        ),
        **report.port_facts(program),
        "steps": report.note_facts(compiled.quantized.notes),
        "memory": report.memory_facts(program, built.plan),
        "whole_layers": _whole_layers(compiled) if built.plan.segments else None,
    }
    # Not in the manifest: what was measured may differ on another machine, what was generated may not.
    everything = {**built.files, REPORT: render_report(facts).encode("utf-8")}
    if qdq:
        everything[f"{program.name}.qdq.onnx"], facts["qdq"] = exported(program, progress)
    progress("moving into place")
    write_folder(everything, folder, force=force)
    return BuildResult(folder, program, built.plan, {"folder": str(folder), **facts})


def _whole_layers(compiled: Compiled) -> Facts:
    """The memory map that the network would have without layers row by row."""
    program, target = compiled.program, compiled.target
    code = replace(compiled.recipe.code, stream="off", input_rows=False)
    plan = plan_for(program, code, target)
    rows = layer_facts(program, plan, ())
    add_times(rows, estimate(plan), target)
    return {
        "layers": rows,
        "memory": report.memory_facts(program, plan),
        "arena_bytes": plan.arena_bytes,
    }


def _within(recipe: Recipe, budget: Budget) -> Recipe:
    """The budget is part of what decides the bytes: kernels spend flash and RAM that is there."""
    code = recipe.code
    flash_bytes = code.flash_bytes if budget.flash_bytes is None else budget.flash_bytes
    ram_bytes = code.ram_bytes if budget.ram_bytes is None else budget.ram_bytes
    return replace(recipe, code=replace(code, flash_bytes=flash_bytes, ram_bytes=ram_bytes))
