"""What dfqgen sees in a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dfqgen.compile import Compiled, compile_model, read_network
from dfqgen.errors import UserError
from dfqgen.fixedpoint.text import program_text
from dfqgen.graph.text import graph_text
from dfqgen.plan.estimate import estimate
from dfqgen.plan.planner import plan_for
from dfqgen.progress import Progress, silent
from dfqgen.recipe.records import Recipe, SamplesRecipe, StatisticsRecipe
from dfqgen.report import facts as report
from dfqgen.report.facts import Facts
from dfqgen.targets import load_target


def inspect(
    model: str | Path, recipe: Recipe | None = None, *, ir: bool = False, progress: Progress = silent
) -> Facts:
    """The float graph of a model, or with `ir` the fixed-point program, as text and facts.

    For a target with an emulator there is an `estimate` of its instructions; where the model cannot be
    compiled for it, a warning says why.
    """
    model, recipe = Path(model), recipe or Recipe()
    if ir:
        compiled = compile_model(model, recipe, progress)
        return {
            "text": program_text(compiled.program),
            "estimate": _estimate(compiled),
            "macs": compiled.program.macs,
            "constant_bytes": compiled.program.weight_bytes,
            **report.port_facts(compiled.program),
            "operators": [
                {"name": op.name, "operator": type(op).__name__, "inputs": list(op.inputs)}
                | {"output": report.tensor_facts(compiled.program.tensors[op.output])}
                for op in compiled.program.ops
            ],
            "warnings": list(compiled.warnings),
        }
    graph = read_network(model, recipe.input, recipe.code, progress).graph
    facts = {"text": graph_text(graph), **report.graph_facts(graph), "estimate": None, "warnings": []}
    if load_target(recipe.code.target).emulator is None:
        return facts
    try:
        compiled = compile_model(model, without_samples(recipe), progress)
        return {**facts, "estimate": _estimate(compiled), "warnings": list(compiled.warnings)}
    except UserError as error:
        return {**facts, "warnings": [f"no estimate of instructions: {error}"]}


def without_samples(recipe: Recipe) -> Recipe:
    """The same network without what takes samples, which instructions do not depend on: other ranges, weights
    and biases.
    """
    method, ranges = recipe.rounding.method, recipe.activations.range_method
    return replace(
        recipe,
        statistics=StatisticsRecipe("analytic" if recipe.statistics.source == "analytic" else "auto"),
        activations=replace(
            recipe.activations, range_method=ranges if ranges in ("sigma", "mse") else "predicted"
        ),
        rounding=replace(
            recipe.rounding,
            method=method if method != "adaround" else "feedback",
            bias="none" if recipe.rounding.bias == "none" else "statistics",
        ),
        samples=SamplesRecipe(),
    )


def _estimate(compiled: Compiled) -> Facts | None:
    target, code = compiled.target, compiled.recipe.code
    if target.emulator is None:
        return None
    plan = plan_for(compiled.program, code, target)
    return report.estimate_facts(estimate(plan), target, code.made_for)
