"""Program -> Plan: choose kernels, order the operators, place every buffer in one arena."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen import kernels
from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan, Registry, Step
from dfqgen.plan.arena import Placement, place
from dfqgen.plan.budget import TARGETS_OWN, Budget
from dfqgen.plan.kernels import Choice, choices
from dfqgen.plan.lifetimes import bytes_by_step, lifetimes, overlaps, scratch_name
from dfqgen.plan.schedule import best_order, peak_bytes
from dfqgen.plan.workload import ALIGNMENT_BYTES, Workload, buffers_of, needs_code, wanted
from dfqgen.targets import Target


def plan_program(
    program: Program,
    target: Target,
    *,
    optimize: str = "speed",
    winograd: bool = True,
    budget: Budget = TARGETS_OWN,
    registry: Registry | None = None,
) -> Plan:
    """Kernels, order and memory of a program on a target. The same arguments always give the same plan.

    `optimize` is "speed" or "size". `winograd` allows Winograd's algorithm, which spends flash and some RAM
    for speed, while the budget has both. `registry` defaults to the kernels of dfqgen.
    """
    limit = budget.on(target)
    registry = kernels.REGISTRY if registry is None else registry
    chosen = choices(program, target, registry, optimize, winograd=winograd, flash_bytes=limit.flash_bytes)
    plan = _best_plan(program, chosen)
    spends = any(step.kernel.spends_flash for step in plan.steps)
    if spends and limit.ram_bytes is not None and plan.arena_bytes > limit.ram_bytes:
        plan = _best_plan(program, choices(program, target, registry, optimize, winograd=False))
    return plan


def _best_plan(program: Program, chosen: Sequence[Choice | None]) -> Plan:
    """Order and memory for these kernels."""
    workload = Workload.of(program, [None if choice is None else choice.kernel for choice in chosen])
    own = tuple(range(len(workload.works)))
    plans = [_plan(workload, chosen, order) for order in dict.fromkeys((own, best_order(workload)))]
    plan = min(plans, key=lambda plan: plan.arena_bytes)  # the program's own order where it is as good
    check_plan(program, plan)
    return plan


def _plan(workload: Workload, chosen: Sequence[Choice | None], order: Sequence[int]) -> Plan:
    alive = lifetimes(workload, order)
    placement = place(alive, overlaps(workload, order, alive), peak_bytes(workload, order))
    return Plan(
        steps=_steps(workload, chosen, order, placement),
        offsets={tensor: placement.offsets[buffer] for tensor, buffer in workload.buffer_of.items()},
        arena_bytes=placement.size_bytes,
        lower_bound_bytes=max(bytes_by_step(alive, len(order))),
    )


def _steps(
    workload: Workload, chosen: Sequence[Choice | None], order: Sequence[int], placement: Placement
) -> tuple[Step, ...]:
    selections = [choice.selection for choice in chosen if choice is not None]

    def offset(tensor: str) -> int:
        return placement.offsets[workload.buffer_of[tensor]]

    steps = []
    for position, index in enumerate(order):
        work = workload.works[index]
        steps.append(
            Step(
                op=work.op,
                kernel=work.kernel,
                inputs=work.inputs,
                output=work.output,
                input_offsets=tuple(offset(tensor.name) for tensor in work.inputs),
                output_offset=offset(work.output.name),
                scratch_offset=placement.offsets[scratch_name(position)] if work.scratch_bytes else 0,
                scratch_bytes=work.scratch_bytes,
                selection=selections[index],
            )
        )
    return tuple(steps)


def check_plan(program: Program, plan: Plan) -> None:
    """Walk the schedule and see that no step destroys bytes that are still wanted.

    Knows nothing of how the plan was made. Raises ProgramError, which means a bug in dfqgen.
    """
    root = buffers_of(program)
    for tensor, buffer in root.items():
        if plan.offsets[tensor] != plan.offsets[buffer]:
            raise ProgramError(f"reshape {tensor!r} is not where {buffer!r} is")
        _check_place(plan, tensor, plan.offsets[tensor], program.tensors[tensor].size_bytes)
    if sorted(id(step.op) for step in plan.steps) != sorted(id(op) for op in program.ops if needs_code(op)):
        raise ProgramError("the schedule does not run every operator once")

    wanted_until: dict[str, int] = {}
    for position, step in enumerate(plan.steps):
        wanted_until.update((root[tensor.name], position) for tensor in step.inputs)
    wanted_until.update((root[name], len(plan.steps)) for name in wanted(program))

    present = list(dict.fromkeys(root[name] for name in program.sources))
    for i, first in enumerate(present):
        for second in present[i + 1 :]:
            _check_apart(program, plan, "the start", first, second)
    for position, step in enumerate(plan.steps):
        where = f"step {position} ({step.op.name})"
        missing = [tensor.name for tensor in step.inputs if root[tensor.name] not in present]
        if missing:
            raise ProgramError(f"{where} reads {missing[0]!r}, which is not there")
        _check_place(plan, where, step.scratch_offset, step.scratch_bytes)
        output = (plan.offsets[step.output.name], step.output.size_bytes)
        scratch = (step.scratch_offset, step.scratch_bytes)
        if _collide(output, scratch):
            raise ProgramError(f"{where}: output and scratch share bytes")
        kept = [name for name in present if wanted_until.get(name, -1) >= position]
        for name in kept:
            bytes_at = (plan.offsets[name], program.tensors[name].size_bytes)
            if _collide(bytes_at, scratch):
                raise ProgramError(f"{where}: scratch overwrites {name!r}")
            if _collide(bytes_at, output) and not (
                wanted_until[name] == position and _may_overwrite(step, name, root, bytes_at[0] - output[0])
            ):
                raise ProgramError(f"{where}: the output overwrites {name!r}")
        present = [name for name in kept if wanted_until[name] > position]
        present.append(root[step.output.name])
    for port in program.outputs:
        if root[port.tensor] not in present:
            raise ProgramError(f"output {port.name!r} is not there at the end")
    for state in program.states:
        if root[state.output] in map(root.get, program.sources) or root[state.output] not in present:
            raise ProgramError(f"the new state {state.name!r} is not there at the end, in a place of its own")


def _may_overwrite(step: Step, name: str, root: dict[str, str], distance_bytes: int) -> bool:
    for index, tensor in enumerate(step.inputs):
        if root[tensor.name] == name:
            lead = step.kernel.overlap_lead_bytes(step.op, step.inputs, step.output, index)
            if lead is None or distance_bytes < lead:
                return False
    return True


def _check_place(plan: Plan, what: str, offset: int, size_bytes: int) -> None:
    if offset < 0 or offset % ALIGNMENT_BYTES or offset + size_bytes > plan.arena_bytes:
        raise ProgramError(f"{what}: bytes {offset}..{offset + size_bytes} are misplaced in the arena")


def _check_apart(program: Program, plan: Plan, where: str, first: str, second: str) -> None:
    a = (plan.offsets[first], program.tensors[first].size_bytes)
    b = (plan.offsets[second], program.tensors[second].size_bytes)
    if _collide(a, b):
        raise ProgramError(f"{where}: {first!r} and {second!r} share bytes")


def _collide(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two (offset, size) ranges share a byte."""
    return a[1] > 0 and b[1] > 0 and a[0] < b[0] + b[1] and b[0] < a[0] + a[1]
