"""Every small input of the cases: accepted or refused (with the first line of the reason), and how close.

    python bench/cases.py --shared ../shared [--folders reports,exporters] [--only imbalance_dw]

By default options, inputs from -1 to 1 (whole numbers over all of their type), the interpreter against
onnxruntime: SQNR of every output, or the share of equal indices. An error that is not
dfqgen's own is marked as a crash.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dfqgen.compile import compile_model
from dfqgen.errors import DfqgenError
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.against_float import compare_with_float
from dfqgen.verify.compare import OutputComparison

UNIT = InputMeaning(lo=-1.0, hi=1.0)


def result(model: Path) -> str:
    """One cell."""
    try:
        compiled = compile_model(model, make_recipe(meaning=UNIT))
        if any(port.holds is not None for port in compiled.network.graph.inputs):
            compiled = compile_model(model, make_recipe())  # whole numbers: what the model says they are
        found = compare_with_float(compiled.network, compiled.program, None, None)
    except DfqgenError as error:
        return "refused: " + " ".join(str(error).splitlines()[:2])
    except Exception as error:  # a bug, to be shown in the table
        return f"**crash** {type(error).__name__}: {str(error).splitlines()[:1]}"
    return ", ".join(map(text, found.outputs))


def text(output: OutputComparison) -> str:
    if output.equal is not None:
        return f"{100 * output.equal:.1f} % equal"
    return f"{output.sqnr_db:.1f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--folders", default="reports,exporters", help="with commas between")
    parser.add_argument("--only", help="names of cases, with commas between")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(",")) if arguments.only else None
    print("| case | by default options |\n|---|---|")
    for folder in arguments.folders.split(","):
        for model in sorted((Path(arguments.shared) / "cases" / folder).glob("*.onnx")):
            if wanted is None or model.stem in wanted:
                cell = result(model).replace("|", "\\|")
                print(f"| {folder}/{model.stem} | {cell} |", flush=True)


if __name__ == "__main__":
    main()
