"""Whether a network fits its target, and if not, which layers are to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfqgen.errors import BudgetExceeded
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan
from dfqgen.plan.lifetimes import Lifetime
from dfqgen.plan.workload import buffers_of, wanted
from dfqgen.targets import Target, list_parts

WORST_LAYERS = 3
NAMED_PARTS = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory that a build may take; None is the target's own."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None

    def on(self, target: Target) -> Budget:
        """The limits in force. None is left where a target has no limit (the host)."""
        return Budget(
            target.flash_bytes if self.flash_bytes is None else self.flash_bytes,
            target.ram_bytes if self.ram_bytes is None else self.ram_bytes,
        )


TARGETS_OWN = Budget()


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Flash of a layer's constants, and RAM in use while it runs (buffers of other layers included)."""

    name: str
    title: str
    flash_bytes: int
    ram_bytes: int


def layer_costs(program: Program, plan: Plan) -> list[LayerCost]:
    """What each step of a plan costs; RAM is the part of the arena that holds data at that step."""
    alive = _alive(program, plan)
    costs = []
    for position, step in enumerate(plan.steps):
        code = step.code
        ranges = [
            (plan.offsets[life.buffer], life.size_bytes)
            for life in alive
            if life.first <= position <= life.last
        ]
        ranges.append((step.scratch_offset, step.scratch_bytes))
        flash = sum(array.size_bytes for array in code.arrays)
        costs.append(LayerCost(step.op.name, code.title, flash, _union_bytes(ranges)))
    return costs


def check_budget(
    flash_bytes: int,
    ram_bytes: int,
    target: Target,
    layers: Sequence[LayerCost],
    budget: Budget = TARGETS_OWN,
) -> None:
    """Raise BudgetExceeded when code and constants, or the arena, are larger than the target's memory.

    The budget overrides the target's own; a target without one (the host) takes anything.
    """
    limit = budget.on(target)
    flash_limit, ram_limit = limit.flash_bytes, limit.ram_bytes
    complaints = []
    if flash_limit is not None and flash_bytes > flash_limit:
        worst = sorted(layers, key=lambda layer: -layer.flash_bytes)[:WORST_LAYERS]
        complaints += [
            _overrun("flash", flash_bytes, flash_limit),
            *(f"  {layer.name}: {layer.flash_bytes:,} bytes ({layer.title})" for layer in worst),
        ]
    if ram_limit is not None and ram_bytes > ram_limit:
        worst = sorted(layers, key=lambda layer: -layer.ram_bytes)[:WORST_LAYERS]
        complaints += [
            _overrun("RAM", ram_bytes, ram_limit),
            *(f"  {layer.name}: {layer.ram_bytes:,} bytes in use ({layer.title})" for layer in worst),
        ]
    if complaints:
        raise BudgetExceeded(
            "\n".join([f"the network does not fit {target.name} ({target.description})", *complaints]),
            _advice(flash_bytes, ram_bytes, target),
        )


def _advice(flash_bytes: int, ram_bytes: int, target: Target) -> str:
    enough = [
        other
        for other in list_parts()
        if other.core == target.core
        and (other.flash_bytes is None or other.flash_bytes >= flash_bytes)
        and (other.ram_bytes is None or other.ram_bytes >= ram_bytes)
    ]
    smallest = sorted(enough, key=lambda other: (other.flash_bytes or 0) + (other.ram_bytes or 0))[
        :NAMED_PARTS
    ]
    names = ", ".join(other.name for other in smallest)
    own = "If your part has more, say so with --flash and --ram, for example --flash 4M --ram 1M."
    return f"{own}\nParts of this core that have enough: {names}." if names else own


def _overrun(memory: str, needed_bytes: int, limit_bytes: int) -> str:
    over = needed_bytes - limit_bytes
    return (
        f"{memory}: {needed_bytes:,} bytes needed, {limit_bytes:,} available, {over:,} too many;"
        " the layers that take most:"
    )


def _alive(program: Program, plan: Plan) -> list[Lifetime]:
    buffer_of = buffers_of(program)
    first = {buffer_of[name]: -1 for name in program.sources}
    last = dict(first)
    for position, step in enumerate(plan.steps):
        last.update((buffer_of[tensor.name], position) for tensor in step.inputs)
        first[step.output.name] = last[step.output.name] = position
    last.update((buffer_of[name], len(plan.steps)) for name in wanted(program))
    return [
        Lifetime(buffer, program.tensors[buffer].size_bytes, first[buffer], last[buffer]) for buffer in first
    ]


def _union_bytes(ranges: Sequence[tuple[int, int]]) -> int:
    """Bytes covered by (offset, size) ranges."""
    covered = end = 0
    for offset, size in sorted(ranges):
        covered += max(0, offset + size - max(end, offset))
        end = max(end, offset + size)
    return covered
