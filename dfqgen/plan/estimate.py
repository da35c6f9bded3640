"""Instructions of a program before anything is built, from the target's cost table."""

from __future__ import annotations

from dataclasses import dataclass

from dfqgen import kernels
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.plan.kernels import choices
from dfqgen.targets import Target


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """A layer's kernel and its instructions; `measured` False: the cost table lacks the kernel, and
    another core's price stands in.
    """

    op: QOp
    kernel: str
    macs: int
    instructions: int
    measured: bool


def estimate(program: Program, target: Target, optimize: str = "speed") -> list[LayerEstimate]:
    """Every layer that runs, with the kernel the planner would choose. Raises UnsupportedModel."""
    return [
        LayerEstimate(
            choice.op,
            choice.kernel.function,
            choice.op.macs(program.tensors[choice.op.output]),
            round(choice.instructions),
            choice.measured,
        )
        for choice in choices(program, target, kernels.REGISTRY, optimize)
        if choice is not None
    ]
