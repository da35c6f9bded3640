"""The arena as a table of named offsets, which stands at the top of net.c; calls use the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dfqgen.emit.describe import shape_text
from dfqgen.emit.names import numbered
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan
from dfqgen.kernels.rows import Segment
from dfqgen.plan.lifetimes import Lifetime, lifetimes, scratch_name
from dfqgen.plan.workload import planned_workload


@dataclass(frozen=True, slots=True)
class ArenaTable:
    """`lines` are `#define`s; `buffers`, `tensors` and `scratch` (by step) give what each is called."""

    lines: tuple[str, ...]
    buffers: Mapping[str, str]
    tensors: Mapping[str, str]
    scratch: Mapping[int, str]


def arena_table(
    program: Program, plan: Plan, network: str, symbols: Sequence[str], inputs: Mapping[str, str]
) -> ArenaTable:
    """Names and rows of every buffer, in the order in which they come alive.

    A buffer is named after the layer that writes it (`symbols`, one a step), `inputs` (tensor -> word) gives
    the rest. A reshape has the name of what it reshapes.
    """
    workload, order = planned_workload(program, plan)
    words = {step.output.name: symbol for step, symbol in zip(plan.steps, symbols, strict=True)}
    words.update(inputs)
    for index, symbol in enumerate(symbols):
        words[scratch_name(index)] = f"{symbol}_scratch"
    for segment in plan.segments:
        words[segment.counters] = "row_counters"
        if segment.source is not None and not segment.fed:
            words[segment.buffer(segment.source)] = f"{words[workload.buffer_of[segment.source]]}_rows"
    alive = lifetimes(workload, order)
    found = {life.buffer for life in alive}
    names = [name for name in words if name in found]
    unique = numbered(words[name] for name in names)
    macros = {name: f"{network}_AT_{word.upper()}" for name, word in zip(names, unique, strict=True)}
    for segment in plan.segments:
        macros |= {name: macros[segment.buffer(name)] for name in segment.bands if name not in macros}
    return ArenaTable(
        lines=_lines(program, plan, alive, macros),
        buffers=macros,
        tensors={
            name: _place(macros[parts[0][0]], -parts[0][1]) for name, parts in workload.views.parts.items()
        },
        scratch={i: macros[scratch_name(i)] for i, step in enumerate(plan.steps) if step.scratch_bytes},
    )


def _place(macro: str, distance: int) -> str:
    return f"{macro} + {distance}" if distance else macro


def _lines(
    program: Program, plan: Plan, alive: Sequence[Lifetime], macros: Mapping[str, str]
) -> tuple[str, ...]:
    scratch = {scratch_name(index): step for index, step in enumerate(plan.steps)}
    bands = kept_rows(plan.segments)
    rows = []
    for life in alive:
        if life.buffer in scratch:
            offset, size_bytes, holds = scratch[life.buffer].scratch_offset, life.size_bytes, "scratch"
        elif life.buffer in bands:
            offset, size_bytes, holds = plan.offsets[life.buffer], life.size_bytes, bands[life.buffer]
        else:
            tensor = program.tensors[life.buffer]
            offset, size_bytes = plan.offsets[life.buffer], tensor.size_bytes
            holds = f"{shape_text(tensor.shape)} {tensor.qtype.dtype}"
        rows.append((life, macros[life.buffer], offset, size_bytes, holds))
    rows.sort(key=lambda row: (row[0].first, row[2]))
    name = max((len(row[1]) for row in rows), default=0)
    digits = len(str(plan.arena_bytes))
    last = len(plan.steps)
    step = max(3, len(str(last)))
    return tuple(
        f"#define {macro:<{name}} {offset:>{digits}} /* {size_bytes:>{digits}} bytes, layers "
        f"{_layer(life.first, last):>{step}}..{_layer(life.last, last):<{step}} {holds} */"
        for life, macro, offset, size_bytes, holds in rows
    )


def kept_rows(segments: Iterable[Segment]) -> dict[str, str]:
    """What the buffers of segments hold that are not tensors."""
    texts = {}
    for segment in segments:
        texts[segment.counters] = f"counters of {len(segment.bands)} bands"
        for name, band in segment.bands.items():
            if not band.whole and band.over is None:
                rows = "1 row" if band.capacity == 1 else f"{band.capacity} rows"
                texts[segment.buffer(name)] = (
                    f"{rows} of {shape_text(band.tensor.shape)} {band.tensor.qtype.dtype}"
                )
    return texts


def _layer(step: int, count: int) -> str:
    if step < 0:
        return "in"
    return "out" if step == count else str(step)
