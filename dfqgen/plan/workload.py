"""What the memory planner needs to know of a program: who reads and writes which buffer, of what size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.kernels.base import Kernel, Plan
from dfqgen.kernels.rows import Band, Segment
from dfqgen.ops.movement import QReshape
from dfqgen.plan.views import Parts, Views, views_of

ALIGNMENT_BYTES = 16


def align(size_bytes: int) -> int:
    """Up to the next multiple of the alignment of every buffer."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One operator that runs code.

    `inputs` have the names of their buffers where they are the whole of one, `reads` and `writes` are
    buffers. `leads_bytes` gives, for each buffer the output may overwrite if it dies here, how far below it
    the output must start (`Kernel.overlap_lead_bytes`).
    """

    op: QOp
    kernel: Kernel[Any]
    inputs: tuple[QTensor, ...]
    output: QTensor
    reads: tuple[str, ...]
    writes: str
    scratch_bytes: int
    leads_bytes: Mapping[str, int]

    @classmethod
    def of(
        cls,
        op: QOp,
        kernel: Kernel[Any],
        inputs: tuple[QTensor, ...],
        output: QTensor,
        parts: Mapping[str, Parts],
        buffer_of: Mapping[str, str],
    ) -> Work:
        """An operator's with a kernel; where tensors lie is as in Workload."""
        return cls(
            op=op,
            kernel=kernel,
            inputs=tuple(replace(x, name=buffer_of.get(x.name, x.name)) for x in inputs),
            output=output,
            reads=tuple(dict.fromkeys(buffer for name in op.inputs for buffer, _ in parts[name])),
            writes=op.output,
            scratch_bytes=align(kernel.scratch_bytes(op, inputs, output)),
            leads_bytes=_leads(op, kernel, inputs, output, parts),
        )


COUNTER_BYTES = 8
"""Of a band: the first row in memory, and the row after the last."""


def band_lead_bytes(band: Band) -> int:
    """From the start of a band's buffer to row 0, where the tensor stays; rows of padding end there."""
    return align(band.above * band.row_bytes) if band.whole else 0


def band_bytes(band: Band) -> int:
    """Of the buffer of a band that has one."""
    if band.whole:
        return band_lead_bytes(band) + align((band.capacity - band.above) * band.row_bytes)
    return align(band.capacity * band.row_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """A program's operators in its own order, and its buffers.

    Tensors that are reshapes of each other share one buffer, named after the first of them: `buffer_of` maps
    every tensor that is the whole of a buffer to it. `inputs` hold data before the first operator, `outputs`
    after the last, states both. Sizes are rounded up to the alignment, but for those of tied buffers. The
    works of each of the `segments` take turns, so that all its buffers are alive together; their sizes are
    those of its bands.
    """

    works: tuple[Work, ...]
    sizes_bytes: Mapping[str, int]
    buffer_of: Mapping[str, str]
    views: Views
    inputs: tuple[str, ...]
    outputs: frozenset[str]
    segments: tuple[Segment, ...] = ()

    @property
    def bands(self) -> dict[str, Band]:
        """All bands by their buffers, but for those that lie over others."""
        found = ((s.buffer(name), band) for s in self.segments for name, band in s.bands.items())
        return {buffer: band for buffer, band in found if band.over is None}

    @property
    def row_buffers(self) -> set[str]:
        """Those that segments have beside tensors."""
        own = {segment.buffer(name) for segment in self.segments for name in segment.bands}
        return own.difference(self.buffer_of) | {segment.counters for segment in self.segments}

    def with_segment(self, segment: Segment, order: Sequence[int], scratch_bytes: Sequence[int]) -> Workload:
        """The same with more steps of an order run row by row, each with that much scratch."""
        works = list(self.works)
        for index, scratch in zip(order[segment.begin : segment.end], scratch_bytes, strict=True):
            works[index] = replace(works[index], scratch_bytes=align(scratch), leads_bytes={})
        sizes, tied = dict(self.sizes_bytes), self.views.tied
        for name, band in segment.bands.items():
            if band.over is None and segment.buffer(name) not in tied:
                sizes[segment.buffer(name)] = band_bytes(band)
        sizes[segment.counters] = align(COUNTER_BYTES * len(segment.bands))
        return replace(self, works=tuple(works), sizes_bytes=sizes, segments=(*self.segments, segment))

    @classmethod
    def of(cls, program: Program, kernels: Sequence[Kernel[Any] | None]) -> Workload:
        """The workload of `program` with one kernel an operator; None where no code runs (`needs_code`)."""
        free = {op.output for op, kernel in zip(program.ops, kernels, strict=True) if kernel is None}
        views = views_of(program, free)
        buffer_of = {
            name: parts[0][0] for name, parts in views.parts.items() if _is_whole(name, parts, program)
        }
        works = [
            Work.of(op, kernel, *program.tensors_of(op), views.parts, buffer_of)
            for op, kernel in zip(program.ops, kernels, strict=True)
            if kernel is not None
        ]
        sizes = {name: program.tensors[name].size_bytes for name in buffer_of.values()}
        return cls(
            works=tuple(works),
            sizes_bytes={name: size if name in views.tied else align(size) for name, size in sizes.items()},
            buffer_of=buffer_of,
            views=views,
            inputs=tuple(dict.fromkeys(program.sources)),
            outputs=frozenset(buffer for name in wanted(program) for buffer, _ in views.parts[name]),
        )


def _is_whole(name: str, parts: Parts, program: Program) -> bool:
    """Whether a tensor is all of a buffer."""
    ((buffer, begin), *more) = parts
    return not more and begin == 0 and program.tensors[name].size_bytes == program.tensors[buffer].size_bytes


def whole_workload(program: Program, plan: Plan) -> tuple[Workload, list[int]]:
    """The kernels and the order that the planner chose, with every layer run as a whole."""
    kernels = {step.op.output: step.kernel for step in plan.steps}
    workload = Workload.of(program, [kernels.get(op.output) for op in program.ops])
    position = {work.writes: index for index, work in enumerate(workload.works)}
    return workload, [position[step.op.output] for step in plan.steps]


def planned_workload(program: Program, plan: Plan) -> tuple[Workload, list[int]]:
    """What the planner worked from, and the order it chose."""
    workload, order = whole_workload(program, plan)
    for segment in plan.segments:
        scratch = [step.scratch_bytes for step in plan.steps[segment.begin : segment.end]]
        workload = workload.with_segment(segment, order, scratch)
    return workload, order


def wanted(program: Program) -> tuple[str, ...]:
    """The tensors whose bytes nothing else may use to the end: a state's place waits for the new one."""
    return (*program.results, *(state.input for state in program.states))


def band_offset(plan: Plan, segment: Segment, tensor: str) -> int:
    """Where the first row of a band lies when nothing has been dropped yet: padding, if there is any."""
    band = segment.bands[tensor]
    return plan.offsets[segment.buffer(tensor)] - (band.above * band.row_bytes if band.whole else 0)


def needs_code(op: QOp) -> bool:
    """Whether an operator does anything at run time; a reshape is only another name."""
    return not isinstance(op, QReshape)


def _leads(
    op: QOp,
    kernel: Kernel[Any],
    inputs: tuple[QTensor, ...],
    output: QTensor,
    parts: Mapping[str, Parts],
) -> dict[str, int]:
    leads: dict[str, int | None] = {}
    for index, name in enumerate(op.inputs):
        lead = kernel.overlap_lead_bytes(op, inputs, output, index)
        for buffer, begin in parts[name]:
            here = None if lead is None else max(0, lead + begin)
            if buffer in leads:  # the same bytes read through two operands
                other = leads[buffer]
                here = None if here is None or other is None else max(here, other)
            leads[buffer] = here
    return {buffer: align(lead) for buffer, lead in leads.items() if lead is not None}
