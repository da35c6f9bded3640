"""Instructions of a plan before anything is built, from the target's cost table."""

from __future__ import annotations

from dataclasses import dataclass

from dfqgen.fixedpoint.program import QOp
from dfqgen.kernels.base import Plan
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
    short with slow loads, too long on cores that issue two at once. Waits of the flash count where known.
    """
    return instructions / per_second(target)


def per_second(target: Target) -> float:
    """Instructions in a second, likewise."""
    waits = target.wait_cycles_per_instruction or 0.0
    return target.clock_hz / ((target.cycles_per_instruction or 1.0) + waits)


def estimate(plan: Plan) -> list[LayerEstimate]:
    """Every step of a plan; what a segment takes beside its kernels is that of its first step."""
    layers = []
    turns = {segment.begin: segment.instructions for segment in plan.segments}
    for index, step in enumerate(plan.steps):
        assert step.selection is not None, "planned steps say why they have their kernel"
        more = 0.0 if step.shared is None else step.shared.instructions
        own = round(step.selection.instructions + more + turns.get(index, 0.0))
        macs, measured = step.op.macs(step.output), step.selection.measured
        layers.append(LayerEstimate(step.op, step.kernel.function, macs, own, measured))
    return layers
