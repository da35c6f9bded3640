"""Which layers share one copy of their kernel's code, for `--optimize balanced`.

A kernel is inlined into each layer that calls it, so that shapes are constants: fast, and as many copies as
there are layers. A copy for several layers has as constants what is the same in all of them; least is lost by
layers that differ in addresses alone, such as those of repeated blocks. Layers share where the bytes that it
saves are worth the instructions, by what `bench/cost_table.py` measured of each kernel on the core, and none
whose kernel was not measured.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from dfqgen.kernels.base import Field, LayerCode, Plan, SharedCode, Step
from dfqgen.plan.estimate import estimate
from dfqgen.targets import Target

WORTH = 4.0
"""A percent of the instructions is given away for so many percent of the flash, no fewer. A round number set
before anything was measured; what it gives on seven networks is in docs/kernels.md."""

CALL_BYTES = 24
"""About what a layer takes that calls a shared copy."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Layers that differ in addresses alone, by their places in the plan, and what they take in bytes of
    flash, instructions counted by what they are worth: each with its own code, sharing it, and calling a copy
    for layers of all kinds. What they would take more sharing theirs was not measured: at most as much.
    """

    places: tuple[int, ...]
    alone: float
    together: float
    calling: float

    @property
    def least(self) -> float:
        return min(self.alone, self.together)


def share_code(plan: Plan, target: Target) -> Plan:
    """The plan with the layers marked that share code."""
    numbers = count(1)
    shared: dict[int, SharedCode] = {}
    worth = _bytes_per_instruction(plan, target)
    for group in _groups(plan):
        size_bytes = target.costs.copy_bytes.get(plan.steps[group[0][0]].kernel.function)
        if size_bytes is None:
            continue
        every = [_weighed(plan, places, target, size_bytes["own"], worth) for places in group]
        joining = [twins for twins in every if twins.calling < twins.least]
        saved = sum(twins.least - twins.calling for twins in joining)
        joined = [twins for twins in joining if saved > size_bytes["shared"] and len(joining) > 1]
        copies = [[index for twins in joined for index in twins.places]]
        copies += [list(t.places) for t in every if t not in joined and t.together < t.alone]
        for copy in filter(None, copies):
            number = next(numbers)
            shared |= {index: SharedCode(number, _more(plan.steps[index], target)) for index in copy}
    steps = tuple(replace(step, shared=shared.get(index)) for index, step in enumerate(plan.steps))
    return replace(plan, steps=steps)


def _weighed(plan: Plan, places: Sequence[int], target: Target, own_bytes: float, worth: float) -> Twins:
    calling = sum(CALL_BYTES + worth * _more(plan.steps[index], target) for index in places)
    return Twins(tuple(places), len(places) * own_bytes, own_bytes + calling, calling)


def _bytes_per_instruction(plan: Plan, target: Target) -> float:
    """Of flash, that an instruction is worth."""
    own = sum(target.costs.copy_bytes.get(step.kernel.function, {}).get("own", 0.0) for step in plan.steps)
    instructions = sum(layer.instructions for layer in estimate(plan))
    return WORTH * (plan.array_bytes + own) / max(1, instructions)


def _more(step: Step, target: Target) -> float:
    """The instructions that a layer takes more with a copy for layers of all kinds."""
    work = step.kernel.work(step.op, step.inputs, step.output)
    prices = target.costs.shared.get(step.kernel.function, {})
    return sum(price * work.get(name, 0.0) for name, price in prices.items())


def _groups(plan: Plan) -> list[list[list[int]]]:
    """The steps by what a call of their kernel looks like in C, and then by all that is not an address."""
    groups: dict[Hashable, dict[Hashable, list[int]]] = {}
    for index, step in enumerate(plan.steps):
        code = step.code
        call = code.function, code.struct, len(step.inputs), step.scratch_bytes > 0
        groups.setdefault(call, {}).setdefault(_constants(code), []).append(index)
    return [list(twins.values()) for twins in groups.values()]


def _constants(code: LayerCode) -> Hashable:
    return tuple(_constant(item) for item in code.fields)


def _constant(item: Field) -> Hashable:
    """A member without its comment; of an address only that there is one."""
    value = item.value
    if isinstance(value, tuple):
        return item.name, tuple(_constant(part) if isinstance(part, Field) else part for part in value)
    return item.name, value
