"""Measurements of a compiled network: the C against the reference, integers against the float network."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from dfqgen.compilation import Compiled, Progress
from dfqgen.emit.package import Files
from dfqgen.errors import ToolMissing
from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.reference import Reference
from dfqgen.inputs import Samples, load_samples, random_samples
from dfqgen.report.facts import Facts, output_comparison_facts
from dfqgen.targets import Target
from dfqgen.verify.compare import LayerComparison, Runner, compare_layers, compare_outputs
from dfqgen.verify.host import HostNetwork, verify_on_host
from dfqgen.verify.toolchain import compile_c, host_compiler

# How many multiply-accumulates a comparison may spend; it takes fewer samples of a large network.
C_MACS = 20_000_000_000
INTERPRETER_MACS = 2_000_000_000
RANDOM_SAMPLES = 64
RANDOM_MACS = 2_000_000_000
RANDOM_ELEMENTS = 1 << 28  # of the largest tensor, all samples together
LAYER_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class HostCheck:
    """The generated C compiled for this machine, if it could be, and what the check found."""

    facts: Facts
    network: HostNetwork | None
    warning: str | None = None


def check_on_host(program: Program, folder: Path, progress: Progress) -> HostCheck:
    """Compile the folder's C and compare it with the interpreter bit for bit.

    Raises VerificationFailed where a bit differs. Without a compiler nothing is checked, and it says so.
    """
    progress("compiling the C for this machine")
    try:
        compiler = compiler_name()
        network = HostNetwork(folder)
    except ToolMissing as error:
        facts: Facts = {"bit_exact": None, "inputs": [], "values": 0, "compiler": None}
        facts["summary"] = "not checked: no C compiler"
        return HostCheck(facts, None, str(error))
    progress("checking the C against the reference")
    report = verify_on_host(program, folder, network=network)
    facts = {
        "bit_exact": True,
        "inputs": list(report.inputs),
        "values": report.values,
        "compiler": compiler,
        "summary": f"equal, every bit, on {len(report.inputs)} inputs ({compiler})",
    }
    return HostCheck(facts, network)


def compiler_name() -> str:
    """The host compiler and its version. Raises ToolMissing."""
    command = host_compiler()
    result = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, errors="replace", check=False
    )
    return (result.stdout.splitlines() or [command[0]])[0].strip()


def float_runner(model: Path, graph: Graph) -> Runner:
    """The float network by onnxruntime, between tensors in our axes."""
    reference = Reference(model, [port.name for port in graph.outputs])

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = reference.run({port.name: port.to_model(inputs[port.tensor]) for port in graph.inputs})
        return {port.tensor: port.from_model(found[port.name]) for port in graph.outputs}

    return run


def choose_samples(compiled: Compiled, data: Path | None, most_macs: int) -> tuple[Samples, str]:
    """The user's samples or random ones, as many as `most_macs` allow, and what they are in words."""
    macs = max(compiled.program.macs, 1)
    affordable = max(LAYER_SAMPLES, most_macs // macs)
    if data is None:
        largest = max(prod(shape) for shape in compiled.graph.shapes.values())
        affordable = min(most_macs // macs, RANDOM_MACS // macs, RANDOM_ELEMENTS // largest)
        count = max(LAYER_SAMPLES, min(RANDOM_SAMPLES, affordable))
        samples = random_samples(compiled.graph, compiled.meanings, count)
        return samples, f"{samples.count} random inputs of the stated meaning"
    samples = load_samples(data, compiled.graph)
    if samples.count <= affordable:
        return samples, f"all {samples.count} samples of {data.name}"
    return samples.take(affordable), f"the first {affordable} of {samples.count} samples of {data.name}"


def compare_with_float(
    compiled: Compiled, model: Path, network: HostNetwork | None, data: Path | None
) -> Facts:
    """The whole network, by the generated C where it is compiled, by the interpreter otherwise."""
    samples, source = choose_samples(compiled, data, INTERPRETER_MACS if network is None else C_MACS)
    program = compiled.program
    outputs = compare_outputs(
        program,
        float_runner(model, compiled.graph),
        program.run if network is None else network.run,
        compiled.normalize(samples.raw),
        samples.labels,
    )
    by = "the interpreter" if network is None else "the generated C"
    return {"source": source, "integers_by": by, "outputs": output_comparison_facts(outputs)}


def compare_layers_with_float(compiled: Compiled, data: Path | None) -> tuple[LayerComparison, ...]:
    """Every layer, on a few samples, interpreter against the prepared float graph."""
    samples, _ = choose_samples(compiled, data, 0)
    inputs = compiled.normalize(samples.raw)
    return compare_layers(compiled.program, compiled.prepared.graph, inputs)


def code_bytes(files: Files, network: str, target: Target, optimize: str) -> int | None:
    """Bytes of flash that the target's compiler makes of the network's code, constants not counted.

    None for the host, and where that compiler is not installed.
    """
    if target.is_host:
        return None
    compiler = target.compiler
    size_command = compiler.command.removesuffix("gcc") + "size"
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        folder = Path(scratch)
        write_files(files, folder)
        output = folder / "network.o"
        flags = ["-std=c99", "-c", *compiler.flags_for(optimize)]
        try:
            compile_c([folder / f"{network}.c"], output, flags, (compiler.command,))
            result = subprocess.run([size_command, str(output)], capture_output=True, text=True, check=True)
        except (ToolMissing, OSError):
            return None
    text, data = result.stdout.splitlines()[1].split()[:2]
    return int(text) + int(data)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Files by relative path, into an existing folder."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files that are not what the build wrote."""
    changed = []
    for path, digest in sorted(manifest["files"].items()):
        try:
            content = (folder / path).read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != digest:
            changed.append(str(path))
    return changed
