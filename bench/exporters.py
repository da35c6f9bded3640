"""Which architectures compile, as PyTorch, scikit-learn and Keras export them: accepted, or why not.

    python bench/exporters.py [--only NAME[,NAME...]] [--keras PYTHON] [--write docs/models.md]

With onnxscript, PyTorch's newer exporter has a column; PYTHON has tensorflow and tf2onnx (keras_models.py).
A part that cannot run stays in the page as it was. Modules have random weights after a few steps of batch
statistics; SQNR is of the first output on random inputs against onnxruntime, with int8 activations and the
input's range stated.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
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
DYNAMO_OPSET = 18
"""The oldest that PyTorch's newer exporter writes."""
EXPORTERS = ("tracing", "dynamo") if importlib.util.find_spec("onnxscript") else ("tracing",)
WARM_UP_STEPS = 20


def export(architecture: Architecture, path: Path, exporter: str) -> None:
    """The module with normalization as after training, as an ONNX file."""
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
        dynamo = exporter == "dynamo"
        opset = DYNAMO_OPSET if dynamo else OPSET
        torch.onnx.export(module, example, str(path), opset_version=opset, dynamo=dynamo, verbose=False)


def result(path: Path, bounds: tuple[float, float] = (-3.0, 3.0), data: Path | None = None) -> str:
    """The SQNR in dB of the first output, and the agreement of its largest, or the reason of the refusal."""
    try:
        compiled = compile_model(path, make_recipe(input_range=bounds, activations="int8"))
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
    decibels = "exact" if np.isinf(first_output.sqnr_db) else f"{first_output.sqnr_db:.1f} dB"
    return decibels + agrees


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


def architecture_row(name: str, folder: Path) -> list[str]:
    """Of one architecture, by each exporter."""
    cells = []
    for exporter in EXPORTERS:
        path = folder / f"{exporter}.onnx"
        try:
            export(ARCHITECTURES[name], path, exporter)
        except torch.onnx.OnnxExporterError as error:
            cells.append(f"not exported: {str(error).splitlines()[0]}")
            continue
        cells.append(result(path))
    return cells


def keras_rows(python: Path) -> dict[str, list[str]]:
    """Of every family of Keras layers, in the order of their names."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).parent / "keras_models.py"
        subprocess.run([python, script, folder], check=True, capture_output=True)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.stem.lower()):
            if path.suffix == ".onnx":
                rows[path.stem] = [result(path)]
            elif not path.with_suffix(".onnx").exists():
                rows[path.stem] = [f"not exported: {path.read_text().splitlines()[0]}"]
            print(f"{path.stem:32} {rows[path.stem][0]}", flush=True)
    return rows


def table(what: str, rows: Mapping[str, Sequence[str]], columns: Sequence[str] = ("against float",)) -> str:
    """How many were accepted by each column, and a line each."""
    lines = []
    for i, column in enumerate(columns):
        accepted = sum(not row[i].startswith(("refused", "not exported")) for row in rows.values())
        by = f" as the {column} exporter writes them" if len(columns) > 1 else ""
        lines.append(f"{accepted} of {len(rows)} {what} compile{by}.")
    lines += ["", f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--keras", type=Path, metavar="PYTHON")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    names = [name for name in arguments.only.split(",") if name] or list(ARCHITECTURES)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            rows[name] = architecture_row(name, Path(folder))
            print(f"{name:32} {', '.join(rows[name])}", flush=True)
    keras = keras_rows(arguments.keras) if arguments.keras else {}
    if arguments.write is not None:
        replace_table(arguments.write, table("architectures", rows, EXPORTERS), "architectures")
        pipelines_found = {name: [row] for name, row in pipeline_rows().items()}
        replace_table(arguments.write, table("pipelines", pipelines_found), "pipelines")
        if keras:
            replace_table(arguments.write, table("families of layers", keras), "keras")


if __name__ == "__main__":
    main()
