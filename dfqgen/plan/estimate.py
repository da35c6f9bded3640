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


def seconds(instructions: float, target: Target) -> float:
    """How long so many instructions take at the target's clock; one cycle each where nobody knows better: too
    short with wait states or slow loads, too long on cores that issue two at once.
    """
    return instructions * (target.cycles_per_instruction or 1.0) / target.clock_hz


def estimate(
    program: Program, target: Target, optimize: str = "speed", *, winograd: bool = True
) -> list[LayerEstimate]:
    """Every layer that runs, with the kernel the planner would choose. Raises UnsupportedModel."""
    return [
        LayerEstimate(
            choice.op,
            choice.kernel.function,
            choice.op.macs(program.tensors[choice.op.output]),
            round(choice.instructions),
            choice.measured,
        )
        for choice in choices(program, target, kernels.REGISTRY, optimize, winograd=winograd)
        if choice is not None
    ]
