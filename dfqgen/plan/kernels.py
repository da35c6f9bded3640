"""The choice of a kernel for every operator of a program on a target."""

from __future__ import annotations

from typing import Any

from dfqgen.errors import Problem, UnsupportedModel
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Kernel, Registry
from dfqgen.plan.workload import needs_code
from dfqgen.targets import Target


def choose_kernels(program: Program, target: Target, registry: Registry) -> list[Kernel[Any] | None]:
    """The cheapest kernel the target can run, for each operator; None where no code is needed.

    Raises UnsupportedModel that lists every operator without one.
    """
    chosen: list[Kernel[Any] | None] = []
    problems: list[Problem] = []
    for op in program.ops:
        if not needs_code(op):
            chosen.append(None)
            continue
        inputs, output = program.tensors_of(op)
        candidates = registry.candidates(op, inputs, output, target.isas)
        if candidates:
            chosen.append(candidates[0])
        else:
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
            problems.append(
                Problem(type(op).__name__, op.name, f"no kernel for input {shapes}; cut the graph before it")
            )
    if problems:
        count = "1 operator" if len(problems) == 1 else f"{len(problems)} operators"
        verb = "has" if len(problems) == 1 else "have"
        raise UnsupportedModel(f"{count} of this network {verb} no kernel for {target.name}", tuple(problems))
    return chosen
