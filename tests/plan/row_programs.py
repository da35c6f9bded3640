"""Random networks of images, plans that run so many layers row by row, and a machine for such plans."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from dfqgen import kernels
from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.kernels.base import Plan
from dfqgen.kernels.rows import row_bytes
from dfqgen.ops.add import QAdd
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.movement import QPad, QReshape
from dfqgen.ops.pool import AveragePool, QAveragePool, QMaxPool
from dfqgen.ops.windows import NO_PADS, Pads, window_output
from dfqgen.plan.check import check_plan
from dfqgen.plan.kernels import choices
from dfqgen.plan.partition import Part
from dfqgen.plan.planner import place_steps
from dfqgen.plan.streaming import Line, simulated, with_parts
from dfqgen.plan.views import free_outputs
from dfqgen.plan.workload import Workload, band_offset
from dfqgen.targets import Target
from tests.kernels.strategies import requantize

TYPE = QType(IntType.INT8, 0.05, 3)
KERNELS = [(1, 1), (3, 3), (3, 3), (5, 3), (2, 2), (1, 3)]


@dataclass
class Builder:
    """A network that grows by one operator after the other."""

    rng: np.random.Generator
    tensors: dict[str, QTensor]
    ops: list[QOp] = field(default_factory=list)

    def add(self, op: QOp, shape: tuple[int, ...]) -> str:
        self.tensors[op.output] = QTensor(op.output, shape, TYPE)
        self.ops.append(op)
        return op.output

    def window(self, x: str) -> tuple[tuple[int, int], tuple[int, int], Pads, tuple[int, int]] | None:
        """Kernel, stride, pads, output size: what fits a tensor."""
        image = self.tensors[x].shape[1:3]
        kernel = KERNELS[self.rng.integers(len(KERNELS))]
        stride = (1, 1) if self.rng.integers(3) else (int(self.rng.integers(1, 4)), 2)
        pads = NO_PADS
        if self.rng.integers(3):
            pads = Pads(*(int(self.rng.integers(0, k)) for k in (*kernel, *kernel)))
        try:
            return kernel, stride, pads, window_output((image[0], image[1]), kernel, stride, (1, 1), pads)
        except ValueError:
            return None

    def conv(self, x: str, name: str, *, depthwise: bool, same: bool = False) -> str | None:
        found = ((3, 3), (1, 1), Pads(1, 1, 1, 1), self.tensors[x].shape[1:3]) if same else self.window(x)
        if found is None:
            return None
        kernel, stride, pads, size = found
        channels = self.tensors[x].shape[3]
        groups = channels if depthwise else 1
        out = channels if depthwise or same else int(self.rng.integers(1, 9))
        weight = self.rng.integers(-128, 128, (out, *kernel, channels // groups)).astype(np.int8)
        op = QConv2D(
            name=name,
            inputs=(x,),
            output=name,
            weight=weight,
            weight_type=IntType.INT8,
            bias=self.rng.integers(-5000, 5000, out).astype(np.int32),
            stride=stride,
            dilation=(1, 1),
            pads=pads,
            pad_value=TYPE.zero_point,
            groups=groups,
            requantize=requantize(self.rng, out, 73.0 * 73.0 * np.sqrt(weight[0].size)),
        )
        return self.add(op, (1, *size, out))

    def pool(self, x: str, name: str, *, average: bool) -> str | None:
        found = self.window(x)
        if found is None:
            return None
        kernel, stride, pads, size = found
        channels = self.tensors[x].shape[3]
        if not average:
            return self.add(QMaxPool(name, (x,), name, kernel, stride, (1, 1), pads), (1, *size, channels))
        float_op = AveragePool(kernel, stride, pads, count_include_pad=bool(self.rng.integers(2)))
        counts = float_op.counts(self.tensors[x].shape[1:3])
        if (counts == 0).any():
            return None
        bounds = np.full(channels, -128), np.full(channels, 127)
        multiplier = (1 << 31) // np.maximum(counts, 2)
        zero = TYPE.zero_point
        op = QAveragePool(name, (x,), name, kernel, stride, pads, zero, multiplier, 0, 3, *bounds)
        return self.add(op, (1, *size, channels))

    def residual(self, x: str, name: str) -> str:
        y = self.conv(x, f"{name}_body", depthwise=bool(self.rng.integers(2)), same=True)
        assert y is not None
        channels = self.tensors[x].shape[3]
        op = QAdd(name, (x, y), name, (8000, 6000), 9000, 14, np.full(channels, -128), np.full(channels, 127))
        return self.add(op, self.tensors[x].shape)

    def concat(self, x: str, name: str) -> str:
        y = self.conv(x, f"{name}_body", depthwise=False, same=True)
        assert y is not None
        n, h, w, c = self.tensors[x].shape
        return self.add(QConcat(name, (y, x), name, 3), (n, h, w, 2 * c))

    def joined(self, heads: list[str], name: str) -> str:
        """All elements of these one after the other, as the heads of a detector are."""
        sizes = [self.tensors[head].elements for head in heads]
        flat = [
            self.add(QReshape(f"{name}_{head}", (head,), f"{name}_{head}", (1, size)), (1, size))
            for head, size in zip(heads, sizes, strict=True)
        ]
        return self.add(QConcat(name, tuple(flat), name, 1), (1, sum(sizes)))

    def program(self, outputs: list[str]) -> Program:
        """From x to these."""
        ports = tuple(QPort(name, name) for name in outputs)
        program = Program("net", (QPort("x", "x"),), ports, self.tensors, tuple(self.ops))
        program.verify()
        return program

    def pad(self, x: str, name: str) -> str:
        before = (0, *(int(k) for k in self.rng.integers(0, 3, 2)), 0)
        after = (0, *(int(k) for k in self.rng.integers(0, 3, 2)), 0)
        shape = tuple(b + s + a for b, s, a in zip(before, self.tensors[x].shape, after, strict=True))
        return self.add(QPad(name, (x,), name, before, after, int(self.rng.integers(-128, 128))), shape)


@st.composite
def image_programs(draw: st.DrawFn) -> Program:
    """A chain with branches: convolutions of all kinds, pools, pads, sums, concatenations; some are 1-D.

    What ends them may be heads that are joined.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.tuples(st.integers(2, 17), st.integers(2, 9)) | st.tuples(st.just(1), st.integers(2, 40)))
    shape = (1, *size, draw(st.integers(1, 5)))
    builder = Builder(rng, {"x": QTensor("x", shape, TYPE)})
    last, kinds = "x", draw(st.lists(st.integers(0, 7), min_size=1, max_size=6))
    for index, kind in enumerate(kinds):
        name = f"t{index}"
        if kind in (0, 1, 2):
            last = builder.conv(last, name, depthwise=kind == 2) or last
        elif kind in (3, 4):
            last = builder.pool(last, name, average=kind == 4) or last
        else:
            last = (builder.residual, builder.concat, builder.pad)[kind - 5](last, name)
    outputs = [last]
    if len(builder.ops) > 2 and draw(st.booleans()):
        outputs.append(builder.ops[len(builder.ops) // 2].output)
        if last != "x" and draw(st.booleans()):
            outputs = [builder.joined(outputs[::-1], "joined")]
    return builder.program(list(dict.fromkeys(name for name in outputs if name != "x")) or ["x"])


def line_of(program: Program, target: Target) -> Line:
    """In the program's own order, with the fastest kernels."""
    free = free_outputs(program)
    chosen = [c for c in choices(program, target, kernels.REGISTRY) if c and c.op.output not in free]
    given = {choice.op.output: choice.kernel for choice in chosen}
    workload = Workload.of(program, [given.get(op.output) for op in program.ops])
    order = range(len(workload.works))
    return Line.of(workload, order, chosen, target, kernels.REGISTRY, "speed")


def placed(program: Program, line: Line, parts: list[Part]) -> Plan:
    each = with_parts(line, parts)
    plan = place_steps(each.workload, each.chosen, line.order, each.least_bytes)
    check_plan(program, plan)
    return plan


def plans_by_rows(program: Program, target: Target, *, fed: bool) -> list[Plan]:
    """One for each number of first layers that can run row by row."""
    line = line_of(program, target)
    found = [simulated(line, piece, fed=fed) for piece in line.input_pieces(fed=fed)]
    return [placed(program, line, [part]) for part in found if part is not None]


def branching(rng: np.random.Generator) -> Program:
    """Two concatenations and a sum between: conv, join, conv, add, conv, join."""
    builder = Builder(rng, {"x": QTensor("x", (1, 11, 9, 6), TYPE)})
    last = builder.concat(builder.residual(builder.concat("x", "join0"), "sum"), "join1")
    return builder.program([last])


def cut(program: Program, target: Target, spans: list[tuple[int, int]]) -> Plan:
    """These steps row by row."""
    line = line_of(program, target)
    pieces = [line.piece(begin, end) for begin, end in spans]
    parts = [simulated(line, piece, fed=False) for piece in pieces if piece is not None]
    return placed(program, line, [part for part in parts if part is not None])


def scattered_plan(program: Program, target: Target, rng: np.random.Generator, *, fed: bool) -> Plan | None:
    """Segments of random lengths in random places; None without any."""
    line = line_of(program, target)
    parts: list[Part] = []
    step = 0
    if fed:
        firsts = [simulated(line, piece, fed=True) for piece in line.input_pieces(fed=True)]
        known = [part for part in firsts if part is not None]
        if not known:
            return None
        parts.append(known[rng.integers(len(known))])
        step = parts[0].end
    while step < len(line.works):
        end = min(len(line.works), step + int(rng.integers(1, 7)))
        piece = line.piece(step, end) if rng.integers(3) else None
        part = None if piece is None else simulated(line, piece, fed=False)
        if part is not None:
            parts.append(part)
        step = step + 1 if part is None else part.end
    return placed(program, line, parts) if parts else None


class RowMachine:
    """Runs a plan on one arena of bytes, each block by its operator's own integer meaning.

    What a block writes over, as scratch or as a row, is gone: a plan that loses a row gives wrong outputs.
    """

    def __init__(self, program: Program, plan: Plan, inputs: dict[str, Array]) -> None:
        assert plan.segments
        self.program, self.plan, self.segment, self.inputs = program, plan, plan.segments[0], inputs
        self.arena = np.full(plan.arena_bytes, 77, np.int8)
        self.first: dict[str, int] = {}
        self.end: dict[str, int] = {}

    def run(self) -> dict[str, Array]:
        for port in self.program.inputs:
            if port.tensor != self.segment.source or not self.segment.fed:
                self.store(self.plan.offsets[port.tensor], self.inputs[port.tensor])
        begins = {segment.begin: segment for segment in self.plan.segments}
        number = 0
        while number < len(self.plan.steps):
            if number in begins:
                self.segment = begins[number]
                self.run_segment()
                number = self.segment.end
                continue
            step = self.plan.steps[number]
            values = [self.tensor(x) for x in step.inputs]
            self.store(step.scratch_offset, np.full(step.scratch_bytes, 99, np.int8))
            self.store(step.output_offset, step.op.evaluate(*values))
            number += 1
        return {port.tensor: self.tensor(self.program.tensors[port.tensor]) for port in self.program.outputs}

    def run_segment(self) -> None:
        self.first = {name: -band.above for name, band in self.segment.bands.items()}
        self.end = dict.fromkeys(self.segment.bands, 0)
        self.store(self.plan.offsets[self.segment.counters], np.full(8 * len(self.first), 88, np.int8))
        for name, band in self.segment.bands.items():
            self.store(self.start(name), np.full(band.above * band.row_bytes, band.padding, np.int8))
        source = self.segment.source
        if source is None:
            self.flow(len(self.segment.bands) - 1)
            return
        band = self.segment.bands[source]
        for row in range(band.height):
            if self.end[source] < min(band.height, band.wanted):
                if self.segment.fed:
                    frame = self.inputs[source].reshape(band.height, -1)[row]
                else:
                    frame = self.load(self.plan.offsets[source] + row * band.row_bytes, band.row_bytes)
                self.append(source, frame.copy(), 1)
            self.flow(self.segment.resume[0])

    def flow(self, number: int) -> None:
        while number >= 0:
            number = self.segment.resume[number] if self.turn(number) else number - 1

    def turn(self, number: int) -> bool:
        number -= self.segment.source_bands
        if number < 0:
            return self.pad(next(iter(self.segment.bands)))
        step, block = self.plan.steps[self.segment.begin + number], self.segment.blocks[number]
        name, window = step.output.name, block.window
        band, row = self.segment.bands[name], self.end[name]
        if row >= min(band.height, band.wanted):
            return self.pad(name)
        needed = window.end(row + block.rows - 1)
        if any(self.end.get(x.name, needed) < needed for x in step.inputs):
            return False
        values = []
        for whole, x in zip(step.inputs, block.inputs, strict=True):
            at = self.place(whole, window.first(row))
            values.append(self.load(at, x.size_bytes).reshape(x.shape).copy())
        self.store(step.scratch_offset, np.full(step.scratch_bytes, 99, np.int8))
        self.append(name, block.op.evaluate(*values), block.rows)
        return True

    def pad(self, name: str) -> bool:
        band = self.segment.bands[name]
        if not band.height <= self.end[name] < band.wanted:
            return False
        self.append(name, np.full(band.row_bytes, band.padding, np.int8), 1)
        self.end[name] += 1
        return True

    def append(self, name: str, rows: Array, count: int) -> None:
        band, start, end = self.segment.bands[name], self.start(name), self.end[name]
        if end - self.first[name] + count > band.capacity:
            wanted = [
                block.window.first(self.end[block.output.name])
                for block in self.segment.blocks
                if name in [x.name for x in block.inputs]
            ]
            first = min(end, *wanted)
            kept = self.load(
                start + (first - self.first[name]) * band.row_bytes, (end - first) * band.row_bytes
            )
            self.store(start, kept.copy())
            self.first[name] = first
        self.store(self.place(band.tensor, end), rows)
        self.end[name] = min(end + count, max(end, band.height))

    def start(self, name: str) -> int:
        return band_offset(self.plan, self.segment, name)

    def place(self, tensor: QTensor, row: int) -> int:
        if tensor.name not in self.segment.bands:
            return self.plan.offsets[tensor.name] + row * row_bytes(tensor)
        return self.start(tensor.name) + (row - self.first[tensor.name]) * row_bytes(tensor)

    def tensor(self, tensor: QTensor) -> Array:
        return self.load(self.plan.offsets[tensor.name], tensor.size_bytes).reshape(tensor.shape).copy()

    def load(self, offset: int, count: int) -> Array:
        assert 0 <= offset <= self.arena.size - count
        return self.arena[offset : offset + count]

    def store(self, offset: int, values: Array) -> None:
        assert 0 <= offset <= self.arena.size - values.size
        self.arena[offset : offset + values.size] = values.reshape(-1).astype(np.int8)
