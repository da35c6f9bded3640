"""The choice of a kernel for every operator of a program on a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfqgen.errors import Problem, UnsupportedModel
from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.kernels.base import Kernel, Registry, Selection
from dfqgen.plan.workload import needs_code
from dfqgen.recipe.records import Winograd
from dfqgen.targets import Isa, Target, load_target

SIZE_SLOWDOWN = 1.25
"""What `--optimize size` may cost in instructions, against the fastest kernels compiled for size."""

SAME_SPEED = 1.05
"""Estimates closer than this say nothing about which kernel is faster."""

CODE_BYTES = 1024
"""Room left for the code of each layer before flash is spent on constants: more than the mean of any network
of docs/speed.md on any core."""

REFERENCE = {Isa.PORTABLE: "cortex-m55", Isa.DSP: "cortex-m4", Isa.MVE: "cortex-m55"}
"""Whose prices stand in for a kernel that a target's own table lacks. The host has no table, since its
instructions are not counted: its compiler vectorizes portable C, as does the M55's, no other target's."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One operator's kernel, with what it takes on the target. `measured`: from the target's cost table.
    `selection` is set for the one that won. `flash_bytes` is about what constants take, `constant_bytes`
    exactly; only `--optimize size` asks for that.
    """

    op: QOp
    kernel: Kernel[Any]
    instructions: float
    flash_bytes: int = 0
    constant_bytes: int = 0
    scratch_bytes: int = 0
    measured: bool = True
    selection: Selection | None = None


def choose_kernels(
    program: Program, target: Target, registry: Registry, optimize: str = "speed"
) -> list[Kernel[Any] | None]:
    """The best kernel the target can run, for each operator; None where no code is needed.

    For "speed" and "balanced" the one with the fewest instructions, of equally fast ones that with the least
    scratch. For "size" the set that takes the least flash and scratch, code that layers share counted once,
    and not more than SIZE_SLOWDOWN times the instructions of the fastest.
    Raises UnsupportedModel that lists every operator without one.
    """
    chosen = choices(program, target, registry, optimize)
    return [None if choice is None else choice.kernel for choice in chosen]


def choices(
    program: Program,
    target: Target,
    registry: Registry,
    optimize: str = "speed",
    *,
    winograd: Winograd = "auto",
    flash_bytes: int | None = None,
    slowdown: float = SAME_SPEED,
) -> list[Choice | None]:
    """As `choose_kernels`, with the numbers that decided. Of the kernels that take up to `slowdown` times the
    instructions of the fastest, that with the least scratch is taken.

    Kernels that spend flash for speed, Winograd's, are taken where `winograd` allows it and they were
    measured, none for size; by "auto" while flash has room, which is `flash_bytes` or the target's.
    """
    able: list[list[Choice]] = []
    problems: list[Problem] = []
    for op in program.ops:
        if not needs_code(op):
            able.append([])
            continue
        inputs, output = program.tensors_of(op)
        spend = may_spend(op.name, optimize, winograd)
        candidates = ranked(op, inputs, output, target, registry, optimize, spend=spend)
        able.append(best_first(candidates, slowdown))
        if not candidates:
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
            problems.append(
                Problem(type(op).__name__, op.name, f"no kernel for input {shapes}; cut the graph before it")
            )
    if problems:
        count = "1 operator" if len(problems) == 1 else f"{len(problems)} operators"
        verb = "has" if len(problems) == 1 else "have"
        raise UnsupportedModel(f"{count} of this network {verb} no kernel for {target.name}", tuple(problems))
    if winograd == "auto":
        able = _within_flash(able, target.flash_bytes if flash_bytes is None else flash_bytes)
    contests = [(len(group), group[0].instructions if group else 0.0) for group in map(_by_speed, able)]
    if optimize == "size":
        share_functions(able, target)
    winners = [group[0] if group else None for group in able]
    return [
        None if choice is None else selected(choice, *contest)
        for choice, contest in zip(winners, contests, strict=True)
    ]


def may_spend(layer: str, optimize: str, winograd: Winograd) -> bool:
    """Whether a layer's kernel may spend flash for speed."""
    return optimize != "size" and (layer in winograd if isinstance(winograd, tuple) else winograd == "auto")


def ranked(
    op: QOp,
    inputs: Sequence[QTensor],
    output: QTensor,
    target: Target,
    registry: Registry,
    optimize: str = "speed",
    *,
    spend: bool = True,
) -> list[Choice]:
    """The kernels of one operator, the best first; those that spend flash where they may `spend` it."""
    candidates = [
        _choice(kernel, op, inputs, output, target, optimize)
        for kernel in registry.candidates(op, inputs, output, target.isas)
    ]
    return best_first([c for c in candidates if not c.kernel.spends_flash or (spend and c.measured)])


def _by_speed(candidates: list[Choice]) -> list[Choice]:
    return sorted(candidates, key=lambda choice: choice.instructions)


def selected(choice: Choice, candidates: int, fastest: float) -> Choice:
    selection = Selection(candidates, choice.instructions, fastest, choice.measured)
    return replace(choice, selection=selection)


def best_first(candidates: list[Choice], slowdown: float = SAME_SPEED) -> list[Choice]:
    """By instructions; first that with the least scratch of those nearly as fast as the fastest."""
    ordered = _by_speed(candidates)
    fastest = [c for c in ordered if c.instructions <= slowdown * ordered[0].instructions]
    best = min(fastest, key=lambda choice: choice.scratch_bytes, default=None)
    return [] if best is None else [best, *(choice for choice in ordered if choice is not best)]


def _choice(
    kernel: Kernel[Any],
    op: QOp,
    inputs: Sequence[QTensor],
    output: QTensor,
    target: Target,
    optimize: str,
) -> Choice:
    instructions, measured = price(kernel, op, inputs, output, target, optimize)
    constants = 0
    if optimize == "size":
        constants = kernel.code(op, inputs, output).constant_bytes
    scratch = kernel.scratch_bytes(op, inputs, output)
    flash = kernel.flash_bytes(op, inputs, output)
    return Choice(op, kernel, instructions, flash, constants, scratch, measured)


def price(
    kernel: Kernel[Any],
    op: QOp,
    inputs: Sequence[QTensor],
    output: QTensor,
    target: Target,
    optimize: str = "speed",
) -> tuple[float, bool]:
    """Instructions of a call, and whether they were measured on this very target.

    Where its own table lacks the function, the core in REFERENCE stands in. A function that no table knows,
    as one that is being written, counts an instruction for each multiplication, or each output without any.
    """
    prices = target.costs.prices(kernel.function, optimize)
    measured = prices is not None
    if prices is None:
        prices = load_target(REFERENCE[kernel.isa]).costs.prices(kernel.function, optimize)
    if prices is None:
        return float(max(op.macs(output), output.elements)), False
    work = kernel.work(op, inputs, output)
    return sum(each * work.get(count, 0.0) for count, each in prices.items()), measured


def _within_flash(able: list[list[Choice]], limit_bytes: int | None) -> list[list[Choice]]:
    """The candidates of each operator, best first, less those whose constants flash has no room for.

    The first to go are those that save the fewest instructions for a byte. What is left may still be too
    much: that is for the budget to say.
    """
    groups = list(able)
    used = sum(group[0].flash_bytes + CODE_BYTES for group in groups if group)
    while limit_bytes is not None and used > limit_bytes:
        spent = [(worth, i) for i, group in enumerate(groups) if (worth := _worth(group)) is not None]
        if not spent:
            break
        _, index = min(spent)
        used -= groups[index][0].flash_bytes
        groups[index] = [choice for choice in groups[index] if not choice.kernel.spends_flash]
        used += groups[index][0].flash_bytes
    return groups


def _worth(group: list[Choice]) -> float | None:
    """Instructions that the best candidate saves for each byte it spends; None where it spends nothing."""
    rest = [choice for choice in group if not choice.kernel.spends_flash]
    if not rest or rest[0] is group[0]:
        return None
    saved = rest[0].instructions - group[0].instructions
    return saved / max(1, group[0].flash_bytes - rest[0].flash_bytes)


def share_functions(able: list[list[Choice]], target: Target) -> None:
    """Put each operator's choice for size first in its list.

    From the fastest kernels, takes away one C function after another, always the one that saves the most
    bytes, while the layers that used it have another kernel and the whole stays fast enough.
    """
    if not all(choice.kernel.function in target.costs.code_bytes for group in able for choice in group):
        return  # sizes are known of all kernels in question, or nothing can be said
    limit = SIZE_SLOWDOWN * sum(group[0].instructions for group in able if group)
    banned: set[str] = set()
    best_bytes = _bytes(able, target)
    while True:
        best: list[list[Choice]] | None = None
        for function in sorted({group[0].kernel.function for group in able if group}):
            trial = _without(able, banned | {function})
            if trial is None or sum(group[0].instructions for group in trial if group) > limit:
                continue
            size = _bytes(trial, target)
            if size < best_bytes:
                best, best_bytes, worst = trial, size, function
        if best is None:
            return
        banned.add(worst)
        able[:] = best


def _without(able: list[list[Choice]], banned: set[str]) -> list[list[Choice]] | None:
    """The same without some functions; None where a layer would have no kernel left."""
    rest = [[choice for choice in group if choice.kernel.function not in banned] for group in able]
    return None if any(group and not left for group, left in zip(able, rest, strict=True)) else rest


def _bytes(able: list[list[Choice]], target: Target) -> int:
    """Constants and code of the first choices, and the largest scratch: RAM is no cheaper than flash."""
    chosen = [group[0] for group in able if group]
    code: dict[str, int] = {}
    for choice in chosen:
        for function, size in target.costs.code_bytes[choice.kernel.function].items():
            code[function] = max(size, code.get(function, 0))
    constants = sum(choice.constant_bytes for choice in chosen)
    return constants + sum(code.values()) + max((choice.scratch_bytes for choice in chosen), default=0)
