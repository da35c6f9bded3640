"""Program, plan and target -> a folder of C."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfqgen import resources
from dfqgen.emit.api import api_files, serial_files
from dfqgen.emit.context import NetworkContext, layer_symbols, network_context, number_table
from dfqgen.emit.packages import package_files
from dfqgen.emit.provenance import Provenance
from dfqgen.emit.render import render
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.fixedpoint.serialize import program_to_json
from dfqgen.fixedpoint.vectors import GoldenVector, golden_vectors
from dfqgen.kernels.base import Plan
from dfqgen.plan.workload import band_offset
from dfqgen.recipe.records import Optimize
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import Target

Files = dict[str, bytes]

MANIFEST = "manifest.json"
PROGRAM = "program.json"

LICENSE = "MIT-0"
STATUS_HEADER = "portable/dfq_status.h"  # NAME.h includes it, kernels do not
"""Of everything in the folder, as SPDX names it; templates and kernels say it in their first lines."""

_INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def emit(
    program: Program,
    plan: Plan,
    target: Target,
    *,
    optimize: Optimize = "speed",
    golden: Sequence[GoldenVector] | None = None,
    provenance: Provenance | None = None,
    packages: Sequence[str] = (),
    meanings: Mapping[str, InputMeaning] | None = None,
) -> Files:
    """Every file of the generated folder, by relative path. The same arguments give the same bytes.

    `golden` defaults to two random vectors; `packages`, which need some, get their own folders. `provenance`
    goes into the header and the manifest; `meanings` of the inputs by name tell which take pixels.
    Add a report with `with_files`.
    """
    net = network_context(program, plan, target=target.name, optimize=optimize, provenance=provenance)
    vectors = golden_vectors(program) if golden is None else golden
    files: Files = {
        f"{net.name}.h": render("network.h.j2", net=net),
        f"{net.name}.c": render("network.c.j2", net=net),
        f"{net.name}_weights.h": render("weights.h.j2", net=net),
        f"{net.name}_weights.c": render("weights.c.j2", net=net),
        f"{net.name}.mk": render("network.mk.j2", net=net),
        "CMakeLists.txt": render("CMakeLists.txt.j2", net=net),
        PROGRAM: program_to_json(program).encode("utf-8"),
    }
    if vectors:
        tables = [_golden_tables(program, vector) for vector in vectors]
        files[f"{net.name}_golden.h"] = render("golden.h.j2", net=net, golden=tables)
        files[f"{net.name}_golden.c"] = render("golden.c.j2", net=net, golden=tables)
        files[f"{net.name}_selftest.c"] = render("selftest.c.j2", net=net)
    for header in runtime_headers((*net.headers, STATUS_HEADER)):
        files[f"runtime_c/{header}"] = (resources.runtime_dir() / header).read_bytes()
    files |= api_files(net, program, meanings or {}) | serial_files(net, files[PROGRAM])
    files |= package_files(packages, net, files)
    manifest = _manifest(program, plan, target, net, optimize, provenance)
    return with_files({**files, MANIFEST: _json(manifest)}, {})


def with_files(files: Mapping[str, bytes], more: Mapping[str, bytes]) -> Files:
    """`files` and `more`, with the hash of every one in the manifest, and the manifest's own."""
    everything = {**files, **more}
    manifest = json.loads(everything.pop(MANIFEST))
    manifest["files"] = {path: hashlib.sha256(everything[path]).hexdigest() for path in sorted(everything)}
    manifest["checksum"] = manifest_checksum(manifest)
    return {**everything, MANIFEST: _json(manifest)}


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own checksum."""
    return hashlib.sha256(_json({k: v for k, v in manifest.items() if k != "checksum"})).hexdigest()


def runtime_headers(headers: Sequence[str]) -> list[str]:
    """These headers of runtime_c/ and all they include, as relative paths, each after what it includes."""
    root = resources.runtime_dir().resolve()
    found: dict[str, None] = {}

    def visit(header: str) -> None:
        if header in found:
            return
        for name in _INCLUDE.findall((root / header).read_bytes()):
            path = (root / header).parent / name.decode("ascii")
            visit(path.resolve().relative_to(root).as_posix())
        found[header] = None

    for header in sorted(headers):
        visit(header)
    return list(found)


def write_folder(files: Mapping[str, bytes], folder: Path, *, force: bool = False) -> None:
    """Write all files or none: into a temporary folder beside `folder`, which then takes its place.

    An existing folder must be empty, or, with `force`, is replaced. Raises UserError otherwise.
    """
    folder = folder.absolute()
    check_folder(folder, force=force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(f"cannot write to {folder.parent}: {error.strerror}") from error
    fresh, old = staging / "new", staging / "old"
    try:
        write_files(files, fresh)
        check_folder(folder, force=force)  # again: another build may have been quicker
        if force and folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)  # over nothing, or an empty folder
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(staging, ignore_errors=True)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Files by relative path, into an existing folder."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Raise UserError unless `folder` may be written: absent, empty, or to be replaced."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder", "Choose another output folder.")
    entries = {entry.name for entry in folder.iterdir()}
    if not entries:
        return
    if not force:
        raise UserError(f"{folder} is not empty", "Choose another output folder, or replace it with --force.")
    if MANIFEST not in entries:
        raise UserError(
            f"{folder} was not written by dfqgen, so --force will not replace it",
            "Choose another output folder, or empty this one yourself.",
        )


def _golden_tables(program: Program, vector: GoldenVector) -> dict[str, list[str]]:
    return {
        "inputs": [number_table(vector.inputs[port.tensor]) for port in program.inputs],
        "outputs": [number_table(vector.outputs[port.tensor]) for port in program.outputs],
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def _manifest(
    program: Program,
    plan: Plan,
    target: Target,
    net: NetworkContext,
    optimize: Optimize,
    provenance: Provenance | None,
) -> dict[str, Any]:
    layers = []
    for symbol, step in zip(layer_symbols(plan), plan.steps, strict=True):
        code = step.code
        layers.append(
            {
                "name": step.op.name,
                "symbol": symbol,
                "operator": type(step.op).__name__,
                "kernel": code.function,
                "title": code.title,
                "inputs": list(step.op.inputs),
                "output": step.op.output,
                "output_shape": list(step.output.shape),
                "output_type": str(step.output.qtype.dtype),
                "macs": step.op.macs(step.output),
                "constant_bytes": code.array_bytes,
                "input_offsets": list(step.input_offsets),
                "output_offset": step.output_offset,
                "scratch_offset": step.scratch_offset,
                "scratch_bytes": step.scratch_bytes,
            }
        )
    return {
        "dfqgen": net.version,
        "license": LICENSE,
        "network": net.name,
        "name": program.name,
        "target": target.name,
        "optimize": optimize,
        "provenance": {} if provenance is None else provenance.to_json(),
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": plan.lower_bound_bytes,
        "constant_bytes": net.constant_bytes,
        "macs": program.macs,
        "rows": _rows(plan) if plan.segments else None,
        "inputs": [_port(program, plan, port) for port in program.inputs],
        "outputs": [_port(program, plan, port) for port in program.outputs],
        "states": [
            _port(program, plan, QPort(state.name, state.input)) | {"after": plan.offsets[state.output]}
            for state in program.states
        ],
        "layers": layers,
    }


def _rows(plan: Plan) -> dict[str, Any]:
    """`turns`: the layers in the order in which they are called, those with whole tensors too; before those
    of each segment comes its beginning, which counts for its first. `bands`: of its source and its layers.
    `input`: whose rows may come one by one; they must where it is `fed`.
    """
    rows_in = plan.rows_in
    turns = list(range(len(plan.steps)))
    for segment in reversed(plan.segments):
        turns[segment.begin : segment.end] = [segment.begin, *(segment.begin + t for t in segment.turns)]
    return {
        "input": None if rows_in is None else rows_in.source,
        "fed": rows_in is not None and rows_in.fed,
        "turns": turns,
        "segments": [
            {
                "begin": segment.begin,
                "layers": len(segment),
                "source": segment.source,
                "fed": segment.fed,
                "counters_offset": plan.offsets[segment.counters],
                "bands": [
                    {
                        "tensor": name,
                        "offset": band_offset(plan, segment, name),
                        "row_bytes": band.row_bytes,
                        "capacity": band.capacity,
                        "whole": band.whole,
                    }
                    for name, band in segment.bands.items()
                ],
            }
            for segment in plan.segments
        ],
    }


def _port(program: Program, plan: Plan, port: QPort) -> dict[str, Any]:
    tensor = program.tensors[port.tensor]
    return {
        "name": port.name,
        "tensor": port.tensor,
        "shape": list(tensor.shape),
        "type": str(tensor.qtype.dtype),
        "scale": tensor.qtype.scale,
        "zero_point": tensor.qtype.zero_point,
        "offset": plan.offsets[port.tensor],
        "size_bytes": tensor.size_bytes,
    }
