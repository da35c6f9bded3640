"""What the commands do, as functions: build, verify, run, inspect, targets. Results are plain facts."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import dfqgen
from dfqgen import evaluation
from dfqgen.compilation import (
    Compiled,
    CompileOptions,
    Progress,
    compile_model,
    file_hash,
    load_graph,
    options_from_provenance,
    provenance,
    silent,
)
from dfqgen.emit.package import MANIFEST, Files, check_folder, emit, write_folder
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.estimate import estimate_facts
from dfqgen.files import check_regular
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.text import program_text
from dfqgen.graph.ir import Graph
from dfqgen.graph.text import graph_text
from dfqgen.kernels.base import Plan
from dfqgen.measure import (
    changed_files,
    check_on_host,
    code_bytes,
    compare_layers_with_float,
    compare_with_float,
    write_files,
)
from dfqgen.plan import plan_program
from dfqgen.plan.budget import check_budget, layer_costs
from dfqgen.report import facts as report
from dfqgen.report.facts import Facts
from dfqgen.report.html import render_report
from dfqgen.targets import list_aliases, list_targets, load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.host import read_manifest, read_program

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Everything `build` can be told beside the model and the folder.

    Budgets are the target's where None. `data` is an .npz file to compare on (see `load_samples`).
    """

    compile: CompileOptions = field(default_factory=CompileOptions)
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    force: bool = False
    data: Path | None = None
    per_layer: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BuildResult:
    """A finished build: the folder, the program in it, and the facts of the report."""

    folder: Path
    program: Program
    plan: Plan
    facts: Facts


def default_output(model: Path) -> Path:
    """Where a build goes when nobody says."""
    return Path("out") / model.stem


def quantize(model: str | Path, options: CompileOptions | None = None) -> Program:
    """The fixed-point program of an ONNX model, in one call."""
    return compile_model(Path(model), options or CompileOptions()).program


def build(
    model: str | Path, folder: str | Path, options: BuildOptions | None = None, progress: Progress = silent
) -> BuildResult:
    """Compile a model to a folder of C, check it bit for bit, compare it with the float network.

    The folder appears only when everything is well. Raises UserError (a BudgetExceeded among them) and
    VerificationFailed.
    """
    model, folder, options = Path(model), Path(folder), options or BuildOptions()
    check_folder(folder, force=options.force)
    if options.data is not None:
        check_regular(options.data)
    compiled = compile_model(model, options.compile, progress)
    program, target = compiled.program, compiled.target
    progress("planning memory")
    plan = plan_program(program, target, optimize=options.compile.optimize)
    _check_budget(compiled, plan, None, options)
    progress("writing C")
    files = emit(
        program,
        plan,
        target,
        optimize=options.compile.optimize,
        provenance=provenance(model, options.compile, compiled),
    )
    manifest = json.loads(files[MANIFEST])
    progress(f"measuring code size for {target.name}")
    code = code_bytes(files, manifest["network"], target, options.compile.optimize)
    _check_budget(compiled, plan, code, options)
    facts = _measure(compiled, plan, files, model, options, progress)
    facts = {
        "dfqgen": dfqgen.__version__,
        "network": manifest["network"],
        "model": manifest["provenance"]["model"],
        "provenance": manifest["provenance"],
        "target": report.target_facts(target, *_budgets(compiled, options)),
        "sizes": report.size_facts(program, plan, code),
        **facts,
        **report.port_facts(program),
        "steps": report.note_facts(compiled.prepared.notes),
        "memory": report.memory_facts(program, plan),
    }
    # Not in the manifest: what was measured may differ on another machine, what was generated may not.
    everything = {**files, REPORT: render_report(facts).encode("utf-8")}
    progress("moving into place")
    write_folder(everything, folder, force=options.force)
    return BuildResult(folder, program, plan, {"folder": str(folder), **facts})


def _measure(
    compiled: Compiled, plan: Plan, files: Files, model: Path, options: BuildOptions, progress: Progress
) -> Facts:
    """The part of the facts that comes from running the network."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        write_files(files, Path(scratch))
        check = check_on_host(compiled.program, Path(scratch), progress)
    progress("comparing with the float network")
    comparison = compare_with_float(compiled, model, check.network, options.data)
    layers = compare_layers_with_float(compiled, options.data) if options.per_layer else ()
    return {
        "verification": check.facts,
        "comparison": comparison,
        "layers": report.layer_facts(compiled.program, plan, layers),
        "warnings": [*compiled.warnings, *([check.warning] if check.warning else [])],
    }


def _budgets(compiled: Compiled, options: BuildOptions) -> tuple[int | None, int | None]:
    target = compiled.target
    flash = target.flash_bytes if options.flash_bytes is None else options.flash_bytes
    ram = target.ram_bytes if options.ram_bytes is None else options.ram_bytes
    return flash, ram


def _check_budget(compiled: Compiled, plan: Plan, code: int | None, options: BuildOptions) -> None:
    sizes = report.size_facts(compiled.program, plan, code)
    check_budget(
        sizes["flash_bytes"],
        sizes["arena_bytes"],
        compiled.target,
        layer_costs(compiled.program, plan),
        flash_limit_bytes=options.flash_bytes,
        ram_limit_bytes=options.ram_bytes,
    )


def verify(
    folder: str | Path,
    *,
    model: str | Path | None = None,
    data: Path | None = None,
    per_layer: bool = False,
    progress: Progress = silent,
) -> Facts:
    """Check a folder's C against its program again; with the model, compare with the float network too.

    Raises VerificationFailed where a bit differs.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if model is None and (data is not None or per_layer):
        raise UserError("comparing with the float network needs the model", "Give it with --model.")
    program = read_program(folder)
    check = check_on_host(program, folder, progress)
    if check.network is None:
        raise UserError(check.warning or "there is no C compiler")
    facts: Facts = {
        "folder": str(folder),
        "network": manifest["network"],
        "verification": check.facts,
        "comparison": None,
        "layers": [],
        "warnings": [f"{name} is not what the build wrote" for name in changed_files(folder, manifest)],
    }
    if model is None:
        return facts
    model = Path(model)
    record = manifest["provenance"]
    if file_hash_of(model) != record["model"]["sha256"]:
        raise UserError(f"{model} is not the file that {folder} was built from ({record['model']['file']})")
    progress("comparing with the float network")
    # The folder's own program: calibration data may not be at hand to make it again.
    options = options_from_provenance(record, manifest["target"])
    compiled = replace(compile_model(model, options, progress), program=program)
    facts["comparison"] = compare_with_float(compiled, model, check.network, data)
    if per_layer:
        plan = plan_program(program, compiled.target, optimize=manifest["optimize"])
        layers = compare_layers_with_float(compiled, data)
        facts["layers"] = report.layer_facts(program, plan, layers)
    return facts


def file_hash_of(model: Path) -> str:
    """The hash of a file that may not be there."""
    try:
        return file_hash(model)
    except OSError as error:
        raise UserError(f"cannot read {model}: {error.strerror}") from None


def evaluate(
    model: str | Path,
    data: Path,
    options: CompileOptions,
    *,
    limit: int | None = None,
    decoder: Path | None = None,
    progress: Progress = silent,
) -> Facts:
    """Accuracy on samples of the float network and of the generated C; see `dfqgen.evaluation`."""
    decode = None if decoder is None else evaluation.load_decoder(decoder)
    result = evaluation.evaluate(model, data, options, limit=limit, progress=progress)
    return {
        "model": Path(model).name,
        **evaluation.facts(result, decode),
        "steps": report.note_facts(result.compiled.prepared.notes),
        "warnings": list(result.compiled.warnings),
    }


def inspect(
    model: str | Path, options: CompileOptions, *, ir: bool = False, progress: Progress = silent
) -> Facts:
    """The float graph of a model, or with `ir` the fixed-point program, as text and facts.

    For a target with an emulator there is an `estimate` of its instructions; where the model cannot be
    compiled for it, a warning says why.
    """
    if ir:
        compiled = compile_model(Path(model), options, progress)
        return {
            "text": program_text(compiled.program),
            "estimate": _estimate(compiled, options),
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
    graph = load_graph(Path(model), options, progress)
    facts = {"text": graph_text(graph), **graph_facts(graph), "estimate": None, "warnings": []}
    if load_target(options.target).emulator is None:
        return facts
    # Instructions do not depend on what the weights are.
    options = replace(options, quantize=options.quantize.without_samples())
    try:
        compiled = compile_model(Path(model), options, progress)
        estimate = _estimate(compiled, options)
    except UserError as error:
        return {**facts, "warnings": [f"no estimate of instructions: {error}"]}
    return {**facts, "estimate": estimate, "warnings": list(compiled.warnings)}


def _estimate(compiled: Compiled, options: CompileOptions) -> Facts | None:
    if compiled.target.emulator is None:
        return None
    return estimate_facts(compiled.program, compiled.target, options.optimize)


def graph_facts(graph: Graph) -> Facts:
    """Ports and nodes of a float graph."""

    def port(name: str, tensor: str) -> Facts:
        return {"name": name, "tensor": tensor, "shape": list(graph.shapes[tensor])}

    return {
        "name": graph.name,
        "inputs": [port(p.name, p.tensor) for p in graph.inputs],
        "outputs": [port(p.name, p.tensor) for p in graph.outputs],
        "nodes": [
            {
                "name": node.name,
                "operator": type(node.op).__name__,
                "inputs": list(node.inputs),
                "output": node.output,
                "shape": list(graph.shapes[node.output]),
            }
            for node in graph.nodes
        ],
    }


def targets() -> Facts:
    """Every target and alias."""
    return {
        "targets": [
            {
                "name": target.name,
                "description": target.description,
                "core": target.core,
                "isa": [isa.value for isa in target.isas],
                "scales": target.scales,
                "flash_bytes": target.flash_bytes,
                "ram_bytes": target.ram_bytes,
                "compiler": target.compiler.command,
                "emulator": None if target.emulator is None else target.emulator.machine,
            }
            for target in list_targets()
        ],
        "aliases": list_aliases(),
    }


def run(folder: str | Path, on: str, progress: Progress = silent) -> Facts:
    """Build the self-test firmware of a folder for a target and run it on the emulated board.

    Raises VerificationFailed where an output is wrong.
    """
    progress(f"building and running the firmware for {on}")
    result = run_firmware(Path(folder), load_target(on))
    if not result.passed:
        raise VerificationFailed(
            f"{result.wrong_values} output values of the golden vectors are wrong on {result.target} "
            f"({result.machine} in QEMU)"
        )
    return {
        "folder": str(folder),
        "target": result.target,
        "machine": result.machine,
        "bit_exact": True,
        "wrong_values": result.wrong_values,
        "instructions": result.instructions,
        "macs": sum(layer.macs for layer in result.layers),
        "layers": [
            {
                "layer": layer.name,
                "title": layer.title,
                "macs": layer.macs,
                "instructions": layer.instructions,
            }
            for layer in result.layers
        ],
        "text_bytes": result.text_bytes,
        "rodata_bytes": result.rodata_bytes,
        "data_bytes": result.data_bytes,
        "flash_bytes": result.flash_bytes,
        "arena_bytes": result.arena_bytes,
        "stack_bytes": result.stack_bytes,
    }
