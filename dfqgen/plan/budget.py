"""Whether a network fits its target, and if not, which layers are to blame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dfqgen.errors import BudgetExceeded
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan
from dfqgen.plan.lifetimes import placed_buffers
from dfqgen.targets import Target, list_parts
from dfqgen.units import duration_text

WORST_LAYERS = 3
NAMED_PARTS = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory and time that a build may take; None is the target's own, of time none."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    seconds: float | None = None

    def on(self, target: Target) -> Budget:
        """The limits in force. None is left where a target has no limit (the host)."""
        return Budget(
            target.flash_bytes if self.flash_bytes is None else self.flash_bytes,
            target.ram_bytes if self.ram_bytes is None else self.ram_bytes,
            self.seconds,
        )


TARGETS_OWN = Budget()


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Flash of a layer's constants, RAM in use while it runs (buffers of other layers included), its time."""

    name: str
    title: str
    flash_bytes: int
    ram_bytes: int
    seconds: float = 0.0


def layer_costs(program: Program, plan: Plan, times: Mapping[str, float] | None = None) -> list[LayerCost]:
    """What each step of a plan costs; RAM is the part of the arena that holds data at that step. `times` are
    seconds by operator name, of nothing where nobody asks for time.
    """
    alive = list(placed_buffers(program, plan))
    costs = []
    for position, step in enumerate(plan.steps):
        code = step.code
        ranges = [(offset, life.size_bytes) for life, offset in alive if life.first <= position <= life.last]
        flash = code.array_bytes
        seconds = (times or {}).get(step.op.name, 0.0)
        costs.append(LayerCost(step.op.name, code.title, flash, _union_bytes(ranges), seconds))
    return costs


def check_budget(
    flash_bytes: int,
    ram_bytes: int,
    target: Target,
    layers: Sequence[LayerCost],
    budget: Budget = TARGETS_OWN,
) -> None:
    """Raise BudgetExceeded when code and constants, the arena, or all layers' time are more than allowed.

    The budget overrides the target's own; a target without one (the host) takes anything.
    """
    limit = budget.on(target)
    seconds = sum(layer.seconds for layer in layers)
    complaints, excess = list[str](), dict[str, float]()
    if limit.flash_bytes is not None and flash_bytes > limit.flash_bytes:
        excess["flash"] = flash_bytes - limit.flash_bytes
        complaints += [
            _overrun("flash", flash_bytes, limit.flash_bytes),
            *(
                f"  {layer.name}: {layer.flash_bytes:,} bytes ({layer.title})"
                for layer in _worst(layers, lambda layer: layer.flash_bytes)
            ),
        ]
    if limit.ram_bytes is not None and ram_bytes > limit.ram_bytes:
        excess["ram"] = ram_bytes - limit.ram_bytes
        complaints += [
            _overrun("RAM", ram_bytes, limit.ram_bytes),
            *(
                f"  {layer.name}: {layer.ram_bytes:,} bytes in use ({layer.title})"
                for layer in _worst(layers, lambda layer: layer.ram_bytes)
            ),
        ]
    if limit.seconds is not None and seconds > limit.seconds:
        excess["time"] = seconds - limit.seconds
        complaints += [
            f"time: {duration_text(seconds)} estimated at {target.clock_hz / 1e6:g} MHz,"
            f" {duration_text(limit.seconds)} allowed; the layers that take longest:",
            *(
                f"  {layer.name}: {duration_text(layer.seconds)} ({layer.title})"
                for layer in _worst(layers, lambda layer: layer.seconds)
            ),
        ]
    if complaints:
        raise BudgetExceeded(
            "\n".join([f"the network does not fit {target.name} ({target.description})", *complaints]),
            _advice(flash_bytes, ram_bytes, seconds, target, limit),
            excess,
        )


def _worst(layers: Sequence[LayerCost], cost: Callable[[LayerCost], float]) -> list[LayerCost]:
    return sorted(layers, key=cost, reverse=True)[:WORST_LAYERS]


def _advice(flash_bytes: int, ram_bytes: int, seconds: float, target: Target, limit: Budget) -> str:
    lines = []
    if limit.seconds is not None and seconds > limit.seconds:
        lines.append("A smaller input or a faster part takes less time.")
    else:
        lines.append("If your part has more, say so with --flash and --ram, for example --flash 4M --ram 1M.")
    if limit.ram_bytes is not None and ram_bytes > limit.ram_bytes:
        lines.append(
            "A smaller input takes less RAM, and so does an image that comes in rows (--input-rows)."
        )
    names = ", ".join(_parts_with_enough(flash_bytes, ram_bytes, seconds, target, limit))
    if names:
        lines.append(f"Parts of this core that have enough: {names}.")
    return "\n".join(lines)


def _parts_with_enough(
    flash_bytes: int, ram_bytes: int, seconds: float, target: Target, limit: Budget
) -> list[str]:
    """The smallest of the target's core; times go by the clock alone."""
    needed_hz = 0.0 if limit.seconds is None else target.clock_hz * seconds / limit.seconds
    enough = [
        other
        for other in list_parts()
        if other.core == target.core
        and (other.flash_bytes is None or other.flash_bytes >= flash_bytes)
        and (other.ram_bytes is None or other.ram_bytes >= ram_bytes)
        and other.clock_hz >= needed_hz
    ]
    enough.sort(key=lambda other: (other.flash_bytes or 0) + (other.ram_bytes or 0))
    return [other.name for other in enough[:NAMED_PARTS]]


def _overrun(memory: str, needed_bytes: int, limit_bytes: int) -> str:
    over = needed_bytes - limit_bytes
    return (
        f"{memory}: {needed_bytes:,} bytes needed, {limit_bytes:,} available, {over:,} too many;"
        " the layers that take most:"
    )


def _union_bytes(ranges: Sequence[tuple[int, int]]) -> int:
    """Bytes covered by (offset, size) ranges."""
    covered = end = 0
    for offset, size in sorted(ranges):
        covered += max(0, offset + size - max(end, offset))
        end = max(end, offset + size)
    return covered
