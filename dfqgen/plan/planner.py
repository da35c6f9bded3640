"""Program -> Plan: choose kernels, order the operators, place every buffer in one arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfqgen import kernels
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan, Registry, Step
from dfqgen.plan.arena import Placement, place
from dfqgen.plan.budget import TARGETS_OWN, Budget
from dfqgen.plan.check import check_plan
from dfqgen.plan.kernels import Choice, choices
from dfqgen.plan.lifetimes import bytes_by_step, lifetimes, overlaps, scratch_name
from dfqgen.plan.schedule import best_order, peak_bytes
from dfqgen.plan.sharing import share_code
from dfqgen.plan.streaming import SPARING, TRIED, Line, Streamed, streamed
from dfqgen.plan.views import free_outputs
from dfqgen.plan.workload import Workload, band_lead_bytes
from dfqgen.recipe.records import CodeRecipe, Stream, Winograd
from dfqgen.targets import Target


def plan_program(
    program: Program,
    target: Target,
    *,
    optimize: str = "speed",
    winograd: Winograd = "auto",
    stream: Stream = "auto",
    input_rows: bool = False,
    budget: Budget = TARGETS_OWN,
    registry: Registry | None = None,
) -> Plan:
    """Kernels, order and memory of a program on a target. Equal arguments give equal plans.

    `optimize` is "speed", "balanced" or "size". `winograd` allows Winograd's algorithm, which spends flash
    and some RAM for speed, while the budget has both, or for the layers that it names, while there is RAM.
    The first layers run row by row with `stream` "on", where that takes less RAM, and with "auto" where whole
    layers exceed the budget's; with `input_rows` always. `registry` defaults to the kernels of dfqgen. Raises
    UserError where the input cannot come in rows, and where there is no layer of a name.
    """
    unknown = set(winograd) - {op.name for op in program.ops} if isinstance(winograd, tuple) else ()
    if unknown:
        names = ", ".join(map(repr, sorted(unknown)))
        raise UserError(f"--winograd: there is no layer {names}", "See dfqgen inspect --ir.")
    limit = budget.on(target)
    registry = kernels.REGISTRY if registry is None else registry
    chosen = choices(program, target, registry, optimize, winograd=winograd, flash_bytes=limit.flash_bytes)
    plan = _best_plan(program, chosen)
    spends = any(step.kernel.spends_flash for step in plan.steps)
    too_large = limit.ram_bytes is not None and plan.arena_bytes > limit.ram_bytes
    by_rows = input_rows or stream == "on" or (stream == "auto" and too_large)
    if spends and too_large:
        chosen = choices(program, target, registry, optimize, winograd="off")
        plan = _best_plan(program, chosen)
        by_rows = by_rows and not (stream == "auto" and _fits(plan, limit) and not input_rows)
    if by_rows:
        plan = _plan_by_rows(program, target, registry, optimize, chosen, None if input_rows else plan)
    if optimize == "balanced":
        plan = share_code(plan, target)
    check_plan(program, plan)
    return plan


def plan_for(program: Program, code: CodeRecipe, target: Target, budget: Budget = TARGETS_OWN) -> Plan:
    """The plan that a recipe asks for, within a budget; what that leaves open is the recipe's."""
    limits = Budget(
        code.flash_bytes if budget.flash_bytes is None else budget.flash_bytes,
        code.ram_bytes if budget.ram_bytes is None else budget.ram_bytes,
    )
    return plan_program(
        program,
        target,
        optimize=code.made_for,
        winograd=code.winograd,
        stream=code.stream,
        input_rows=code.input_rows,
        budget=limits,
    )


def _fits(plan: Plan, limit: Budget) -> bool:
    return limit.ram_bytes is None or plan.arena_bytes <= limit.ram_bytes


def _best_plan(program: Program, chosen: Sequence[Choice | None]) -> Plan:
    """Order and memory for these kernels."""
    plans = []
    for kernels_of in _with_and_without_copies(program, chosen):
        workload, own = _workload(program, kernels_of)
        orders = tuple(dict.fromkeys((tuple(range(len(own))), best_order(workload))))
        plans += [place_steps(workload, own, order, peak_bytes(workload, order)) for order in orders]
    return min(plans, key=lambda plan: plan.arena_bytes)  # the program's own order where it is as good


def _with_and_without_copies(
    program: Program, chosen: Sequence[Choice | None]
) -> tuple[Sequence[Choice | None], ...]:
    """The choices less those of operators that only move bytes and need not, and all of them where that is
    different: what is not copied must lie side by side, and lives as long as any name of it.
    """
    free = free_outputs(program)
    fewest = [None if op.output in free else choice for op, choice in zip(program.ops, chosen, strict=True)]
    return (fewest,) if fewest == list(chosen) else (fewest, chosen)


def _workload(program: Program, chosen: Sequence[Choice | None]) -> tuple[Workload, list[Choice]]:
    workload = Workload.of(program, [None if choice is None else choice.kernel for choice in chosen])
    return workload, [choice for choice in chosen if choice is not None]


def _plan_by_rows(
    program: Program,
    target: Target,
    registry: Registry,
    optimize: str,
    chosen: Sequence[Choice | None],
    whole: Plan | None,
) -> Plan:
    """The smallest plan whose first layers run row by row, or `whole` where that is as small.

    Where `whole` is None the input's rows come one by one, so there must be one. The other layers may get
    kernels with less scratch.
    """
    best = whole
    fastest = sum(choice.instructions for choice in chosen if choice is not None)
    sparing = choices(program, target, registry, optimize, winograd="off", slowdown=SPARING)
    found: list[tuple[Streamed, Line]] = []
    same = all(a is b or (a and b and a.kernel is b.kernel) for a, b in zip(chosen, sparing, strict=True))
    for kernels_of in (
        each
        for able in ((chosen,) if same else (chosen, sparing))
        for each in _with_and_without_copies(program, able)
    ):
        workload, own = _workload(program, kernels_of)
        for order in dict.fromkeys((tuple(range(len(own))), best_order(workload))):
            line = Line.of(workload, order, own, target, registry, optimize)
            found += [(each, line) for each in streamed(line, fed=whole is None, fastest=fastest)]
    for each, line in sorted(found, key=lambda entry: entry[0].least_bytes)[:TRIED]:
        if best is None or each.least_bytes < best.arena_bytes:
            plan = place_steps(each.workload, each.chosen, line.order, each.least_bytes)
            best = plan if best is None or plan.arena_bytes < best.arena_bytes else best
    if best is None:
        raise UserError(
            f"the input of {program.name} cannot come in rows: its first layers need all of it",
            "Leave out --input-rows.",
        )
    return best


def place_steps(workload: Workload, chosen: Sequence[Choice], order: Sequence[int], least_bytes: int) -> Plan:
    """The works in an order, placed; `chosen` are theirs. The search ends early at `least_bytes`."""
    alive = lifetimes(workload, order)
    placement = place(alive, overlaps(workload, order, alive), workload.views.ties, least_bytes)
    at = dict(placement.offsets)
    for buffer, band in workload.bands.items():
        at[buffer] += band_lead_bytes(band)
    for segment in workload.segments:
        over = [name for name, band in segment.bands.items() if band.over is not None]
        at |= {name: at[segment.buffer(name)] for name in over}
    offsets = {tensor: at[parts[0][0]] - parts[0][1] for tensor, parts in workload.views.parts.items()}
    offsets |= {name: offset for name, offset in at.items() if name in workload.row_buffers}
    return Plan(
        steps=_steps(workload, chosen, order, placement, offsets),
        offsets=offsets,
        arena_bytes=placement.size_bytes,
        lower_bound_bytes=max(bytes_by_step(alive, len(order))),
        segments=workload.segments,
        feeds=_feeds(workload, order),
    )


def _feeds(workload: Workload, order: Sequence[int]) -> bool:
    first = workload.segments[0] if workload.segments else None
    if first is None or first.begin or first.source is None or first.source in workload.outputs:
        return False
    return not any(first.source in workload.works[index].reads for index in order[first.end :])


def _steps(
    workload: Workload,
    chosen: Sequence[Choice],
    order: Sequence[int],
    placement: Placement,
    offsets: Mapping[str, int],
) -> tuple[Step, ...]:
    blocks = {s.begin + i: block for s in workload.segments for i, block in enumerate(s.blocks)}
    steps = []
    for position, index in enumerate(order):
        work, choice = workload.works[index], chosen[index]
        steps.append(
            Step(
                op=work.op,
                kernel=choice.kernel,
                inputs=work.inputs,
                output=work.output,
                input_offsets=tuple(offsets[tensor.name] for tensor in work.inputs),
                output_offset=offsets[work.output.name],
                scratch_offset=placement.offsets[scratch_name(position)] if work.scratch_bytes else 0,
                scratch_bytes=work.scratch_bytes,
                selection=choice.selection,
                block=blocks.get(position),
            )
        )
    return tuple(steps)
