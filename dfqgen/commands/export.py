"""A build's program as a model for other tools, and what onnxruntime makes of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from dfqgen.errors import UserError
from dfqgen.export import compare_with_onnxruntime, qdq_model
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import make_inputs
from dfqgen.progress import Progress, silent
from dfqgen.report.facts import Facts
from dfqgen.verify.folder import read_manifest, read_program

SAMPLES = 8
MOST_MACS = 500_000_000
"""Of all samples together: the comparison runs the interpreter and onnxruntime, layer by layer."""


def export(folder: str | Path, output: str | Path, progress: Progress = silent) -> Facts:
    """Write the program of a build as ONNX with QuantizeLinear and DequantizeLinear; compare the two.

    Raises UserError: for a layer without such a form, a file that cannot be written.
    """
    folder, output = Path(folder), Path(output)
    if output.suffix != ".onnx":
        raise UserError(f"{output} does not end in .onnx", "Only ONNX is written.")
    manifest, program = read_manifest(folder), read_program(folder)
    content, facts = exported(program, progress)
    _write(output, content)
    return {
        "folder": str(folder),
        "network": manifest["network"],
        "file": str(output),
        "warnings": [],
        **facts,
    }


def exported(program: Program, progress: Progress = silent) -> tuple[bytes, Facts]:
    """The file, and how onnxruntime's integers compare with the program's, layer by layer."""
    progress("writing QDQ ONNX")
    content = qdq_model(program).SerializeToString(deterministic=True)
    progress("comparing with onnxruntime")
    count = max(1, min(SAMPLES, MOST_MACS // max(program.macs, 1)))
    samples = [make_inputs(program, "random", seed) for seed in range(count)]
    inputs = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
    layers = [
        {
            "layer": found.layer,
            "operator": found.operator,
            "values": found.values,
            "differ": found.differ,
            "largest_steps": found.largest,
        }
        for found in compare_with_onnxruntime(program, inputs)
    ]
    return content, {"samples": count, "layers": layers}


def _write(path: Path, content: bytes) -> None:
    """The file appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".dfqgen-", dir=path.parent) as scratch:
            fresh = Path(scratch) / path.name
            fresh.write_bytes(content)
            os.replace(fresh, path)
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
