"""Instructions of a program before anything is built, from the target's cost table."""

from __future__ import annotations

from dfqgen import kernels
from dfqgen.fixedpoint.program import Program
from dfqgen.plan.kernels import choices
from dfqgen.report.facts import Facts
from dfqgen.targets import Target


def estimate_facts(program: Program, target: Target, optimize: str = "speed") -> Facts:
    """Estimated instructions per layer and in total, with the kernels the planner would choose.

    `measured` is False where the cost table lacks a kernel and its author's rough formula stands in.
    Raises UnsupportedModel.
    """
    layers = [
        {
            "layer": choice.op.name,
            "operator": type(choice.op).__name__.removeprefix("Q"),
            "kernel": choice.kernel.function,
            "macs": choice.op.macs(program.tensors[choice.op.output]),
            "instructions": round(choice.instructions),
            "measured": choice.measured,
        }
        for choice in choices(program, target, kernels.REGISTRY, optimize)
        if choice is not None
    ]
    return {
        "target": target.name,
        "optimize": optimize,
        "macs": program.macs,
        "instructions": sum(layer["instructions"] for layer in layers),
        "layers": layers,
    }
