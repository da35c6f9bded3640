"""Which architectures compile, as PyTorch exports them: accepted, or why not, and how close to float.

    python bench/exporters.py [--only NAME[,NAME...]] [--write docs/models.md]

Every module has random weights after a few steps of batch statistics; SQNR is of the first output on random
inputs against onnxruntime, with default options and the input's range stated.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import torch
from architectures import ARCHITECTURES, Architecture
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


def result(path: Path) -> str:
    """The SQNR in dB, or the first reason of the refusal."""
    try:
        compiled = compile_model(path, make_recipe(input_range=(-3.0, 3.0)))
        outputs = compare_with_float(compiled.network, compiled.program, None, None).outputs
    except UnsupportedModel as error:
        first = error.problems[0] if error.problems else None
        return f"refused: {first.operator} {first.advice}" if first else f"refused: {error.message}"
    except DfqgenError as error:
        return f"refused: {str(error).splitlines()[0]}"
    return f"{outputs[0].sqnr_db:.1f} dB"


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
    accepted = sum(not row.startswith("refused") for row in rows.values())
    lines = [f"{accepted} of {len(rows)} architectures compile.", ""]
    lines += ["| architecture | against float |", "|---|---|"]
    lines += [f"| {name} | {row.replace('|', '/')} |" for name, row in rows.items()]
    if arguments.write is not None:
        replace_table(arguments.write, "\n".join(lines), "architectures")


if __name__ == "__main__":
    main()
