"""A folder's C is checked against its program again."""

from __future__ import annotations

from pathlib import Path

from dfqgen.commands.advice import require_sqnr
from dfqgen.compile import read_network, rewritten_graph
from dfqgen.errors import UserError
from dfqgen.plan.planner import plan_for
from dfqgen.progress import Progress, silent
from dfqgen.recipe.manifest import file_hash, recipe_from_json
from dfqgen.report import facts as report
from dfqgen.report.facts import Facts
from dfqgen.report.layers import layer_facts
from dfqgen.targets import load_target
from dfqgen.verify.against_float import compare_layers_with_float, compare_with_float
from dfqgen.verify.check import check_on_host
from dfqgen.verify.folder import changed_files, check_unchanged, read_manifest, read_program


def verify(
    folder: str | Path,
    *,
    model: str | Path | None = None,
    data: Path | None = None,
    per_layer: bool = False,
    min_sqnr: float | None = None,
    edited: bool = False,
    progress: Progress = silent,
) -> Facts:
    """Check a folder's C against its program again; with the model, compare with the float network too.

    Files that changed since the build are refused before anything is compiled; with `edited` they are
    warnings. The recipe in the manifest says how the model was read and rewritten. Raises
    VerificationFailed where a bit differs, and UserError.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if model is None and (data is not None or per_layer or min_sqnr is not None):
        raise UserError("comparing with the float network needs the model", "Give it with --model.")
    if not edited:
        check_unchanged(folder)
    program = read_program(folder)
    check = check_on_host(program, folder, progress)
    if check.network is None:
        raise UserError(check.warning or "there is no C compiler")
    facts: Facts = {
        "folder": str(folder),
        "network": manifest["network"],
        "verification": report.check_facts(check),
        "comparison": None,
        "layers": [],
        "warnings": [f"{name} is not what the build wrote" for name in changed_files(folder, manifest)],
    }
    if model is None:
        return facts
    model = Path(model)
    origin = read_provenance(manifest)
    if file_hash(model) != origin["model"]["sha256"]:
        raise UserError(f"{model} is not the file that {folder} was built from ({origin['model']['file']})")
    recipe = recipe_from_json(origin["recipe"])
    network = read_network(model, recipe.input, recipe.code, progress)
    progress("comparing with the float network")
    comparison = compare_with_float(network, program, check.network, data)
    if min_sqnr is not None:
        require_sqnr(comparison.outputs, min_sqnr)
    facts["comparison"] = report.comparison_facts(comparison)
    facts["warnings"] += comparison.warnings
    if per_layer:
        graph = rewritten_graph(network, recipe)
        layers = compare_layers_with_float(network, graph, program, data)
        plan = plan_for(program, recipe.code, load_target(recipe.code.target))
        facts["layers"] = layer_facts(program, plan, layers)
    return facts


def read_provenance(manifest: Facts) -> Facts:
    """Where the program came from. Raises UserError where the manifest does not tell."""
    origin = manifest.get("provenance")
    model = origin.get("model") if isinstance(origin, dict) else None
    if (
        not isinstance(origin, dict)
        or not isinstance(model, dict)
        or not all(isinstance(model.get(key), str) for key in ("file", "sha256"))
        or "recipe" not in origin
    ):
        raise UserError("the manifest does not say which model it was built from", "Build it again.")
    return origin
