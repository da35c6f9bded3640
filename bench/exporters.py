"""Which architectures compile, as PyTorch exports them: accepted, or why not, and how close to float.

    python bench/exporters.py [--only NAME[,NAME...]] [--write docs/models.md]

Every module has random weights after a few steps of batch statistics; SQNR is of the first output on random
inputs against onnxruntime, with default options and the input's range stated.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from architectures import ARCHITECTURES, Architecture
from pipelines import pipelines
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from subjects import replace_table

from dfqgen.compile import compile_model
from dfqgen.errors import DfqgenError, UnsupportedModel
from dfqgen.recipe import make_recipe
from dfqgen.verify.against_float import compare_with_float

OPSET = 17
WARM_UP_STEPS = 20


def export(architecture: Architecture, path: Path) -> None:
    """The module with normalization as after training, as an ONNX file by the tracing exporter."""
    torch.manual_seed(0)
    module = architecture.make()
    module.train()
    with torch.no_grad():
        for _ in range(WARM_UP_STEPS):
            module(torch.randn(8, *architecture.shape[1:]))
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.randn(architecture.shape),)
        torch.onnx.export(module, example, str(path), opset_version=OPSET, dynamo=False)


def result(path: Path, bounds: tuple[float, float] = (-3.0, 3.0), data: Path | None = None) -> str:
    """The SQNR in dB of the first output, and the agreement of its largest, or the reason of the refusal."""
    try:
        compiled = compile_model(path, make_recipe(input_range=bounds))
        outputs = compare_with_float(compiled.network, compiled.program, None, data).outputs
    except UnsupportedModel as error:
        first = error.problems[0] if error.problems else None
        return f"refused: {first.operator} {first.advice}" if first else f"refused: {error.message}"
    except DfqgenError as error:
        return f"refused: {str(error).splitlines()[0]}"
    first_output = outputs[0]
    if first_output.equal is not None:
        return f"{100 * first_output.equal:.1f} % of the indices are equal"
    agreement = first_output.top1_agreement if data is not None else None
    agrees = "" if agreement is None else f", {100 * agreement:.1f} % of the largest agree"
    return f"{first_output.sqnr_db:.1f} dB{agrees}"


def pipeline_rows() -> dict[str, str]:
    """Of every scikit-learn model the SQNR of its scores, on its data, and how often the largest agrees."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for name, pipeline in pipelines().items():
            path.write_bytes(to_onnx(pipeline.model, pipeline.x[:1]).SerializeToString())
            bounds = (float(pipeline.x.min()), float(pipeline.x.max()))
            data = Path(folder) / "data.npz"
            np.savez(data, x=pipeline.x)
            rows[name] = result(path, bounds, data)
            print(f"{name:32} {rows[name]}", flush=True)
    return rows


def table(what: str, rows: Mapping[str, str]) -> str:
    """How many were accepted, and a line each."""
    accepted = sum(not row.startswith("refused") for row in rows.values())
    lines = [f"{accepted} of {len(rows)} {what}s compile.", ""]
    lines += [f"| {what} | against float |", "|---|---|"]
    return "\n".join((*lines, *(f"| {name} | {row.replace('|', '/')} |" for name, row in rows.items())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name] or list(ARCHITECTURES)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / "model.onnx"
            export(ARCHITECTURES[name], path)
            rows[name] = result(path)
            print(f"{name:32} {rows[name]}", flush=True)
    if arguments.write is not None:
        replace_table(arguments.write, table("architecture", rows), "architectures")
        replace_table(arguments.write, table("pipeline", pipeline_rows()), "pipelines")


if __name__ == "__main__":
    main()
