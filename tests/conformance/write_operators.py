"""Writes docs/operators.md from a run of the ONNX node tests: python -m tests.conformance.write_operators."""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path

import onnx

from dfqgen.frontend import supported_operators
from tests.conformance.runner import Loaded, all_cases, float_error, load_case
from tests.conformance.test_onnx_nodes import DIFFERENT

HEAD = """# Operators

Written by `python -m tests.conformance.write_operators`; do not edit.

Every ONNX operator that dfqgen imports, with what the ONNX project's own node tests say of it: each test
whose activations are float32 becomes a network of one node, its parameters constants, its activations one
sample. *Passed* tests give the expected output in the float graph; the same tests, quantized with the ranges
of their inputs, stay within the error that their scales allow, and the C equals the integers on every bit
(`tests/conformance`). A refusal is an error message of the compiler, before anything is written.

General limits: shapes fixed when compiling, one sample at a time, float32 (or half and double precision,
which are read as float32); images have one or two spatial axes. Any axis may come first: a layer on several
samples, such as after a reshape that puts time there, is repeated up to 16 times. Parameters (weights, axes,
shapes, indices, bounds) must be constants or computed from constants and shapes.

| operator | tests passed | attributes and inputs seen in them | refused |
|---|---|---|---|
"""


def attributes(loaded: Loaded) -> set[str]:
    """Names of the attributes of the test's node."""
    (node,) = loaded.case.model.graph.node
    return {attribute.name for attribute in node.attribute}


def table() -> str:
    """The whole page."""
    passed: dict[str, list[Loaded]] = collections.defaultdict(list)
    refused: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        for case in all_cases():
            loaded = load_case(case, Path(folder))
            if case.name in DIFFERENT:
                refused[case.operator]["a result of fractional length (onnxruntime rounds it down too)"] += 1
            elif loaded.graph is None:
                refused[case.operator][loaded.refusal] += 1
            elif float_error(loaded) < 1e-4:
                passed[case.operator].append(loaded)
    lines = []
    for operator in supported_operators():
        names = sorted(set().union(*(attributes(item) for item in passed[operator])))
        reasons = "; ".join(
            f"{reason} ({count})" if count > 1 else reason
            for reason, count in sorted(refused[operator].items())
        )
        count = str(len(passed[operator])) if passed[operator] else "other tests"
        shown = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {operator} | {count} | {shown} | {reasons.replace('|', '/')} |")
    return HEAD + "\n".join(lines) + f"\n\nONNX {onnx.__version__}.\n"


if __name__ == "__main__":
    Path("docs").mkdir(exist_ok=True)
    Path("docs/operators.md").write_text(table())
