"""Which layers share one copy of their kernel's code, for `--optimize balanced`.

A kernel is inlined into each layer that calls it, so that shapes are constants: fast, and as many copies as
there are layers. A copy for several layers has as constants what is the same in all of them. Layers that
differ in addresses alone, such as those of repeated blocks, lose nothing but a call by sharing one. Others do
where the bytes that it saves are worth the instructions, by what `bench/cost_table.py` measured of each
kernel on the core.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import count

from dfqgen.kernels.base import Field, LayerCode, Plan, SharedCode, Step
from dfqgen.plan.estimate import estimate
from dfqgen.targets import Target

WORTH = 4.0
"""A percent of the instructions is given away for so many percent of the flash, no fewer. Chosen on the
DenseNet of bench/densenet.py (depth 100, growth 8)."""

CALL_BYTES = 24
"""About what a layer takes that calls a shared copy."""


def share_code(plan: Plan, target: Target) -> Plan:
    """The plan with the layers marked that share code."""
    numbers = count(1)
    shared: dict[int, SharedCode] = {}
    worth = _bytes_per_instruction(plan, target)
    for group in _groups(plan):
        joined = _joined(plan, group, target, worth)
        number = next(numbers)
        shared |= {index: SharedCode(number, _more(plan.steps[index], target)) for index in joined}
        for twins in group:
            if len(twins) > 1 and twins[0] not in shared:
                shared |= dict.fromkeys(twins, SharedCode(next(numbers), 0.0))
    steps = tuple(replace(step, shared=shared.get(index)) for index, step in enumerate(plan.steps))
    return replace(plan, steps=steps)


def _bytes_per_instruction(plan: Plan, target: Target) -> float:
    """Of flash, that an instruction is worth."""
    own = sum(target.costs.copy_bytes.get(step.kernel.function, {}).get("own", 0.0) for step in plan.steps)
    instructions = sum(layer.instructions for layer in estimate(plan))
    return WORTH * (plan.array_bytes + own) / max(1, instructions)


def _joined(plan: Plan, group: Sequence[Sequence[int]], target: Target, worth: float) -> list[int]:
    """The steps of a group for which one copy is worth its slowdown; none where they are too few."""
    size_bytes = target.costs.copy_bytes.get(plan.steps[group[0][0]].kernel.function)
    if size_bytes is None:
        return []
    joined: list[Sequence[int]] = []
    saved = -size_bytes["shared"]
    for twins in group:
        calls = CALL_BYTES if len(twins) == 1 else 0  # twins have them anyway
        more = sum(_more(plan.steps[index], target) for index in twins)
        gain = size_bytes["own"] - calls - worth * more
        if gain > 0.0:
            joined.append(twins)
            saved += gain
    return [index for twins in joined for index in twins] if saved > 0.0 and len(joined) > 1 else []


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
