"""Operators and kernels that only have sizes, for testing the planner, and an independent judge of plans."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.kernels.base import Kernel, LayerCode, Plan, Registry
from dfqgen.ops.concat import QConcat
from dfqgen.ops.movement import QReshape
from dfqgen.ops.take import QTake
from dfqgen.plan import plan_program
from dfqgen.targets import load_target

BYTE = QType(IntType.INT8, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class FakeOp(QOp):
    """Reads and writes so many bytes; `leads_bytes` one an input."""

    name: str
    inputs: tuple[str, ...]
    output: str
    leads_bytes: tuple[int | None, ...]
    scratch_bytes: int = 0

    def evaluate(self, *inputs: Array) -> Array:
        raise NotImplementedError

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        raise NotImplementedError


del QOp.registry["FakeOp"]  # the text forms need not know it


class FakeKernel(Kernel[FakeOp]):
    """Does what its operator says."""

    op = FakeOp
    function = "fake"
    header = "fake.h"

    def supports(self, op: FakeOp, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return True

    def code(self, op: FakeOp, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(self.function, "fake", "fake", ())

    def scratch_bytes(self, op: FakeOp, inputs: Sequence[QTensor], output: QTensor) -> int:
        return op.scratch_bytes

    def overlap_lead_bytes(
        self, op: FakeOp, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        return op.leads_bytes[index]


class Copy(Kernel[QOp]):
    """Moves bytes; its output is apart from all inputs."""

    function = "copy"
    header = "fake.h"

    def supports(self, op: QOp, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return True

    def code(self, op: QOp, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        return LayerCode(self.function, "copy", "copy", ())


class FakeConcatKernel(Copy):
    op = QConcat


class FakeTakeKernel(Copy):
    op = QTake


REGISTRY = Registry([FakeKernel(), FakeConcatKernel(), FakeTakeKernel()])


def tensor(name: str, size_bytes: int) -> QTensor:
    return QTensor(name, (1, size_bytes), BYTE)


def program(
    sizes_bytes: dict[str, int], inputs: Sequence[str], outputs: Sequence[str], ops: Sequence[QOp]
) -> Program:
    return Program(
        "fake",
        tuple(QPort(name, name) for name in inputs),
        tuple(QPort(name, name) for name in outputs),
        {name: tensor(name, size) for name, size in sizes_bytes.items()},
        tuple(ops),
    )


def chain(sizes_bytes: Sequence[int], leads_bytes: Sequence[int | None], scratch_bytes: int = 0) -> Program:
    """t0 -> t1 -> ... , each step with its lead."""
    sizes = {f"t{i}": size for i, size in enumerate(sizes_bytes)}
    ops = [
        FakeOp(f"op{i}", (f"t{i}",), f"t{i + 1}", (lead,), scratch_bytes)
        for i, lead in enumerate(leads_bytes)
    ]
    return program(sizes, ["t0"], [f"t{len(leads_bytes)}"], ops)


def plan(fake: Program) -> Plan:
    return plan_program(fake, load_target("cortex-m4"), registry=REGISTRY)


def simulate(fake: Program, plan: Plan) -> None:
    """Run a plan on a memory of labelled bytes, every kernel as badly behaved as its lead allows."""
    memory: list[object] = [None] * plan.arena_bytes
    held = {port.tensor: own_bytes(fake.tensors[port.tensor]) for port in fake.inputs}
    for op in fake.ops:
        held[op.output] = own_bytes(fake.tensors[op.output])
        if isinstance(op, QReshape | QConcat):
            held[op.output] = [byte for name in op.inputs for byte in held[name]]
        elif isinstance(op, QTake):
            held[op.output] = [held[op.inputs[0]][index] for index in op.indices[1] or ()]

    def write(name: str, index: int, what: object) -> None:
        memory[plan.offsets[name] + index] = what

    def expect(name: str, index: int) -> None:
        found = memory[plan.offsets[name] + index]
        assert found == held[name][index], f"{name}[{index}] was overwritten by {found}"

    for port in fake.inputs:
        for index in range(fake.tensors[port.tensor].size_bytes):
            write(port.tensor, index, (port.tensor, index))
    for step in plan.steps:
        leads = step.op.leads_bytes if isinstance(step.op, FakeOp) else (None,) * len(step.inputs)
        assert step.output_offset == plan.offsets[step.output.name]
        # The scratch is filled before, between and after.
        for index in range(step.scratch_bytes):
            memory[step.scratch_offset + index] = "scratch"
        reads: list[tuple[int, str, int]] = []  # (after how many output bytes, input, index)
        for tensor_in, offset, lead in zip(step.inputs, step.input_offsets, leads, strict=True):
            assert offset == plan.offsets[tensor_in.name]
            for index in range(tensor_in.size_bytes):
                late = step.output.size_bytes if lead is None else index + lead
                reads.append((min(max(late, 0), step.output.size_bytes), tensor_in.name, index))
        reads.sort()
        written = 0
        for after, name, index in reads:
            while written < after:
                write(step.output.name, written, held[step.output.name][written])
                written += 1
            expect(name, index)
        while written < step.output.size_bytes:
            write(step.output.name, written, held[step.output.name][written])
            written += 1
        for index in range(step.scratch_bytes):
            memory[step.scratch_offset + index] = "scratch"
    for port in fake.outputs:
        for index in range(fake.tensors[port.tensor].size_bytes):
            expect(port.tensor, index)


def own_bytes(tensor: QTensor) -> list[tuple[str, int]]:
    """What a tensor holds that nothing else does."""
    return [(tensor.name, index) for index in range(tensor.size_bytes)]


def topological_orders(fake: Program) -> list[tuple[int, ...]]:
    """All of them; tiny programs only."""
    producer = {op.output: index for index, op in enumerate(fake.ops)}
    orders = []
    for order in itertools.permutations(range(len(fake.ops))):
        place = {index: position for position, index in enumerate(order)}
        if all(
            place[producer[name]] < place[index]
            for index, op in enumerate(fake.ops)
            for name in op.inputs
            if name in producer
        ):
            orders.append(order)
    return orders


def true_minimum_bytes(fake: Program) -> int:
    """The smallest arena over all orders and all aligned placements, by exhaustion."""
    best = sum(-(-t.size_bytes // 16) * 16 for t in fake.tensors.values())
    best += sum(-(-op.scratch_bytes // 16) * 16 for op in fake.ops if isinstance(op, FakeOp))
    for order in topological_orders(fake):
        while (smaller := best - 16) > 0 and _fits(fake, order, smaller):
            best = smaller
    return best


def _fits(fake: Program, order: Sequence[int], arena_bytes: int) -> bool:
    ops = [fake.ops[index] for index in order]
    steps = len(ops)
    born = {port.tensor: -1 for port in fake.inputs} | {op.output: i for i, op in enumerate(ops)}
    dies = dict(born)
    for i, op in enumerate(ops):
        dies.update((name, i) for name in op.inputs)
    dies.update((port.tensor, steps) for port in fake.outputs)
    items = [(born[n], dies[n], n, fake.tensors[n].size_bytes) for n in born]
    for i, op in enumerate(ops):
        assert isinstance(op, FakeOp)
        if op.scratch_bytes:
            items.append((i, i, f"scratch {i}", op.scratch_bytes))
    at: dict[str, int] = {}

    def legal(a: tuple[int, int, str, int], b: tuple[int, int, str, int]) -> bool:
        if a[1] < b[0] or b[1] < a[0]:
            return True
        if at[a[2]] + a[3] <= at[b[2]] or at[b[2]] + b[3] <= at[a[2]]:
            return True
        for out, source in ((a, b), (b, a)):
            if out[0] >= 0 and source[1] == out[0] and source[0] < out[0] and out[2] == ops[out[0]].output:
                op = ops[out[0]]
                assert isinstance(op, FakeOp)
                pairs = zip(op.inputs, op.leads_bytes, strict=True)
                leads = [lead for name, lead in pairs if name == source[2]]
                distance = at[source[2]] - at[out[2]]
                if leads and all(lead is not None and distance >= lead for lead in leads):
                    return True
        return False

    def search(index: int) -> bool:
        if index == len(items):
            return True
        item = items[index]
        for offset in range(0, arena_bytes - item[3] + 1, 16):
            at[item[2]] = offset
            if all(legal(item, other) for other in items[:index]) and search(index + 1):
                return True
        return False

    return search(0)
