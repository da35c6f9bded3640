"""What the memory planner needs to know of a program: who reads and writes which buffer, of what size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.kernels.base import Kernel, Plan
from dfqgen.ops.movement import QReshape

ALIGNMENT_BYTES = 16


def align(size_bytes: int) -> int:
    """Up to the next multiple of the alignment of every buffer."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One operator that runs code.

    `reads` and `writes` are buffers. `leads_bytes` gives, for each buffer the output may overwrite
    if it dies here, how far below it the output must start (`Kernel.overlap_lead_bytes`).
    """

    op: QOp
    kernel: Kernel[Any]
    inputs: tuple[QTensor, ...]
    output: QTensor
    reads: tuple[str, ...]
    writes: str
    scratch_bytes: int
    leads_bytes: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """A program's operators in its own order, and its buffers.

    Tensors that are reshapes of each other share one buffer, named after the first of them:
    `buffer_of` maps every tensor to its buffer. `inputs` hold data before the first operator,
    `outputs` after the last, states both. Sizes are rounded up to the alignment.
    """

    works: tuple[Work, ...]
    sizes_bytes: Mapping[str, int]
    buffer_of: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: frozenset[str]

    @classmethod
    def of(cls, program: Program, kernels: Sequence[Kernel[Any] | None]) -> Workload:
        """The workload of `program` with one kernel an operator; None where no code runs (`needs_code`)."""
        buffer_of = buffers_of(program)
        works: list[Work] = []
        for op, kernel in zip(program.ops, kernels, strict=True):
            if kernel is None:
                continue
            inputs, output = program.tensors_of(op)
            works.append(
                Work(
                    op=op,
                    kernel=kernel,
                    inputs=inputs,
                    output=output,
                    reads=tuple(dict.fromkeys(buffer_of[name] for name in op.inputs)),
                    writes=op.output,
                    scratch_bytes=align(kernel.scratch_bytes(op, inputs, output)),
                    leads_bytes=_leads(op, kernel, inputs, output, buffer_of),
                )
            )
        return cls(
            works=tuple(works),
            sizes_bytes={name: align(program.tensors[name].size_bytes) for name in buffer_of.values()},
            buffer_of=buffer_of,
            inputs=tuple(dict.fromkeys(buffer_of[name] for name in program.sources)),
            outputs=frozenset(buffer_of[name] for name in wanted(program)),
        )


def planned_workload(program: Program, plan: Plan) -> tuple[Workload, list[int]]:
    """What the planner worked from, and the order it chose."""
    kernels = {step.op.output: step.kernel for step in plan.steps}
    workload = Workload.of(program, [kernels.get(op.output) for op in program.ops])
    position = {work.writes: index for index, work in enumerate(workload.works)}
    return workload, [position[step.op.output] for step in plan.steps]


def buffers_of(program: Program) -> dict[str, str]:
    """The buffer of every tensor: itself, or what it is a reshape of."""
    buffers = {name: name for name in program.sources}
    for op in program.ops:
        buffers[op.output] = op.output if needs_code(op) else buffers[op.inputs[0]]
    return buffers


def wanted(program: Program) -> tuple[str, ...]:
    """The tensors whose bytes nothing else may use to the end: a state's place waits for the new one."""
    return (*program.results, *(state.input for state in program.states))


def needs_code(op: QOp) -> bool:
    """Whether an operator does anything at run time; a reshape is only another name."""
    return not isinstance(op, QReshape)


def _leads(
    op: QOp,
    kernel: Kernel[Any],
    inputs: tuple[QTensor, ...],
    output: QTensor,
    buffer_of: Mapping[str, str],
) -> dict[str, int]:
    leads: dict[str, int | None] = {}
    for index, name in enumerate(op.inputs):
        lead = kernel.overlap_lead_bytes(op, inputs, output, index)
        buffer = buffer_of[name]
        if buffer in leads:  # the same bytes read through two operands
            other = leads[buffer]
            lead = None if lead is None or other is None else max(lead, other)
        leads[buffer] = lead
    return {buffer: align(lead) for buffer, lead in leads.items() if lead is not None}
