"""What an operator needs before it is one: the list that `test_completeness` goes through."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import dfqgen
from dfqgen.fixedpoint.program import QOp
from dfqgen.graph.ir import Op
from dfqgen.kernels import REGISTRY
from dfqgen.ops.movement import QReshape
from tests.ops.examples import EXAMPLES
from tests.tools import IN_CI

MAKERS = ("frontend", "passes", "quantization")
NO_CODE = (QReshape,)
"""Another name for the same bytes needs no kernel."""


def missing_from(kind: type[Op]) -> list[str]:
    """What a float operator lacks, each as the method's name or as what to write where."""
    missing = sorted(kind.__abstractmethods__)
    if not (text := kind.__dict__.get("__doc__")) or text.startswith(f"{kind.__name__}("):
        missing.append("a docstring that says what it computes")
    if kind.__name__ not in names_used():
        missing.append("an importer in dfqgen/frontend/importers (or a pass) that makes it")
    if not any(type(op) is kind for op, _ in EXAMPLES):
        missing.append("an example in tests/ops/examples.py")
    if not _has_torch_function(kind):
        missing.append("a torch function in dfqgen/synthesis/torch_graph.py")
    return missing


def missing_from_integer(kind: type[QOp]) -> list[str]:
    """What an integer operator lacks."""
    missing = sorted(kind.__abstractmethods__)
    if not (text := kind.__dict__.get("__doc__")) or text.startswith(f"{kind.__name__}("):
        missing.append("a docstring that says its exact integer meaning")
    if not issubclass(kind, NO_CODE) and not any(kernel.op is kind for kernel in REGISTRY.kernels):
        missing.append("a kernel in dfqgen/kernels")
    return missing


def complaint(kind: type, missing: Iterable[str]) -> str:
    """What the test says."""
    return f"{kind.__name__} lacks {', '.join(missing)}"


@cache
def names_used() -> frozenset[str]:
    """Every name that the frontend, the passes and quantization use."""
    root = Path(dfqgen.__file__).parent
    return frozenset(
        node.id
        for folder in MAKERS
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name)
    )


def _has_torch_function(kind: type[Op]) -> bool:
    if not IN_CI and importlib.util.find_spec("torch") is None:
        return True  # PyTorch is an optional extra
    from dfqgen.synthesis.torch_graph import torch_function

    return torch_function.dispatch(kind) is not torch_function.dispatch(Op)
