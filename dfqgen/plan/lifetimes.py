"""When each buffer of an ordered workload holds data, and how much that is at each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan
from dfqgen.plan.workload import Work, Workload, band_lead_bytes, planned_workload

BEFORE_FIRST_STEP = -1


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer is alive from step `first` to step `last`, both included."""

    buffer: str
    size_bytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Overlap:
    """`output` may overwrite `input` if it starts at least `lead_bytes` below it."""

    output: str
    input: str
    lead_bytes: int


def scratch_name(step: int) -> str:
    """The name of a step's scratch buffer; the NUL keeps it apart from tensors."""
    return f"\0scratch {step}"


def lifetimes(workload: Workload, order: Sequence[int]) -> tuple[Lifetime, ...]:
    """Of every buffer, scratch included, when the works run in this order.

    Program inputs live from before step 0, program outputs to after the last step. What a segment uses lives
    through all of it, but for scratch.
    """
    first = dict.fromkeys(workload.inputs, BEFORE_FIRST_STEP)
    last = dict(first)
    scratch = []
    for step, index in enumerate(order):
        work = workload.works[index]
        for buffer in work.reads:
            last[buffer] = step
        first[work.writes] = last[work.writes] = step
        if work.scratch_bytes:
            scratch.append(Lifetime(scratch_name(step), work.scratch_bytes, step, step))
    for buffer in workload.outputs:
        last[buffer] = len(order)
    for segment in workload.segments:
        begin, end = segment.begin, segment.end
        first = {name: begin if begin <= step < end else step for name, step in first.items()}
        last = {name: end - 1 if begin <= step < end else step for name, step in last.items()}
        own = {segment.buffer(name) for name in segment.bands} | {segment.counters}
        for name in own - first.keys():
            first[name], last[name] = begin, end - 1
        for name in segment.bands.keys() - own - {segment.source}:
            del first[name], last[name]  # it lies over another one
    buffers = [Lifetime(name, workload.sizes_bytes[name], first[name], last[name]) for name in first]
    return (*buffers, *scratch)


def overlaps(workload: Workload, order: Sequence[int], alive: Sequence[Lifetime]) -> tuple[Overlap, ...]:
    """The outputs that may overwrite an input: those whose input is read for the last time."""
    last = {lifetime.buffer: lifetime.last for lifetime in alive}
    found = [
        Overlap(work.writes, buffer, lead)
        for step, work in enumerate(workload.works[index] for index in order)
        for buffer, lead in work.leads_bytes.items()
        if last[buffer] == step
    ]
    for segment in workload.segments:
        leads: dict[tuple[str, str], int] = {}
        for (output, tensor), lead in segment.leads_bytes.items():
            pair = output, workload.buffer_of[tensor]
            leads[pair] = max(lead, leads.get(pair, 0))
        found += [Overlap(*pair, lead) for pair, lead in leads.items() if last[pair[1]] == segment.end - 1]
    return tuple(found)


def bytes_by_step(alive: Sequence[Lifetime], steps: int) -> list[int]:
    """Sum of the bytes alive at each step, counted without any overlap."""
    change = [0] * (steps + 3)
    for lifetime in alive:
        change[lifetime.first + 1] += lifetime.size_bytes
        change[lifetime.last + 2] -= lifetime.size_bytes
    totals, running = [], 0
    for delta in change[: steps + 2]:
        running += delta
        totals.append(running)
    return totals  # [before the first step, each step ..., after the last step]


def bytes_between(workload: Workload, order: Sequence[int]) -> list[int]:
    """Bytes that hold data before each step and are wanted from there on."""
    alive = lifetimes(workload, order)
    return [
        sum(each.size_bytes for each in alive if each.first < step <= each.last) for step in range(len(order))
    ]


def overlap_gain_bytes(work: Work, dying: Iterable[str], sizes_bytes: Mapping[str, int]) -> int:
    """The most that letting the output overwrite the `dying` inputs can save at this step."""
    output = sizes_bytes[work.writes]
    gain = 0
    for buffer in dying:
        lead = work.leads_bytes.get(buffer)
        if lead is not None:
            gain += output + sizes_bytes[buffer] - span_bytes(output, sizes_bytes[buffer], lead)
    return min(gain, output)


def span_bytes(output_bytes: int, input_bytes: int, lead_bytes: int) -> int:
    """The fewest bytes that hold an output and the input it may overwrite."""
    return min(output_bytes + input_bytes, max(output_bytes, input_bytes, lead_bytes + input_bytes))


def placed_buffers(program: Program, plan: Plan) -> Iterator[tuple[Lifetime, int]]:
    """Every buffer of a plan, scratch included, and where it starts."""
    workload, order = planned_workload(program, plan)
    scratch = {scratch_name(index): step.scratch_offset for index, step in enumerate(plan.steps)}
    bands = workload.bands
    for life in lifetimes(workload, order):
        if life.buffer in scratch:
            yield life, scratch[life.buffer]
        else:
            lead = band_lead_bytes(bands[life.buffer]) if life.buffer in bands else 0
            yield life, plan.offsets[life.buffer] - lead
