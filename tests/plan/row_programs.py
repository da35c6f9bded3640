"""Random networks of images, plans that run so many layers row by row, and a machine for such plans."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from dfqgen import kernels
from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.kernels.base import Plan
from dfqgen.ops.add import QAdd
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.movement import QPad
from dfqgen.ops.pool import AveragePool, QAveragePool, QMaxPool
from dfqgen.ops.windows import NO_PADS, Pads, window_output
from dfqgen.plan.check import check_plan
from dfqgen.plan.kernels import choices
from dfqgen.plan.planner import place_steps
from dfqgen.plan.streaming import streamed
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

    def pad(self, x: str, name: str) -> str:
        before = (0, *(int(k) for k in self.rng.integers(0, 3, 2)), 0)
        after = (0, *(int(k) for k in self.rng.integers(0, 3, 2)), 0)
        shape = tuple(b + s + a for b, s, a in zip(before, self.tensors[x].shape, after, strict=True))
        return self.add(QPad(name, (x,), name, before, after, int(self.rng.integers(-128, 128))), shape)


@st.composite
def image_programs(draw: st.DrawFn) -> Program:
    """A chain with branches: convolutions of all kinds, pools, pads, sums, concatenations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (1, draw(st.integers(2, 17)), draw(st.integers(2, 9)), draw(st.integers(1, 5)))
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
    names = tuple(dict.fromkeys(name for name in outputs if name != "x")) or ("x",)
    ports = tuple(QPort(name, name) for name in names)
    program = Program("net", (QPort("x", "x"),), ports, builder.tensors, tuple(builder.ops))
    program.verify()
    return program


def plans_by_rows(program: Program, target: Target, *, fed: bool) -> list[Plan]:
    """One for each number of layers that can run row by row."""
    chosen = [c for c in choices(program, target, kernels.REGISTRY) if c is not None]
    given = {choice.op.output: choice.kernel for choice in chosen}
    workload = Workload.of(program, [given.get(op.output) for op in program.ops])
    order = tuple(range(len(workload.works)))
    found = streamed(
        workload,
        order,
        chosen,
        target,
        kernels.REGISTRY,
        "speed",
        fed=fed,
        fastest=1.0,
        overhead=np.inf,
        tried=99,
    )
    plans = [
        place_steps(each.workload, each.chosen_in(order, chosen), order, each.least_bytes) for each in found
    ]
    for plan in plans:
        check_plan(program, plan)
    return plans


class RowMachine:
    """Runs a plan on one arena of bytes, each block by its operator's own integer meaning.

    What a block writes over, as scratch or as a row, is gone: a plan that loses a row gives wrong outputs.
    """

    def __init__(self, program: Program, plan: Plan, inputs: dict[str, Array]) -> None:
        assert plan.segment is not None
        self.program, self.plan, self.segment, self.inputs = program, plan, plan.segment, inputs
        self.arena = np.full(plan.arena_bytes, 77, np.int8)
        self.first = {name: -band.above for name, band in self.segment.bands.items()}
        self.end = dict.fromkeys(self.segment.bands, 0)

    def run(self) -> dict[str, Array]:
        source = self.segment.source
        for port in self.program.inputs:
            if port.tensor != source or not self.segment.fed:
                self.store(self.plan.offsets[port.tensor], self.inputs[port.tensor])
        for name, band in self.segment.bands.items():
            self.store(self.start(name), np.full(band.above * band.row_bytes, band.padding, np.int8))
        band = self.segment.bands[source]
        for row in range(band.height):
            if self.end[source] < min(band.height, band.wanted):
                frame = self.inputs[source][0, row].reshape(-1)
                if not self.segment.fed:
                    frame = self.load(self.plan.offsets[source] + row * band.row_bytes, band.row_bytes)
                self.append(source, frame.copy(), 1)
            number = self.segment.resume[0]
            while number >= 0:
                number = self.segment.resume[number] if self.turn(number) else number - 1
        for step in self.plan.steps[len(self.segment) :]:
            values = [self.tensor(x) for x in step.inputs]
            self.store(step.scratch_offset, np.full(step.scratch_bytes, 99, np.int8))
            self.store(step.output_offset, step.op.evaluate(*values))
        return {port.tensor: self.tensor(self.program.tensors[port.tensor]) for port in self.program.outputs}

    def turn(self, number: int) -> bool:
        if number == 0:
            return self.pad(self.segment.source)
        step, block = self.plan.steps[number - 1], self.segment.blocks[number - 1]
        name, window = step.output.name, block.window
        band, row = self.segment.bands[name], self.end[name]
        if row >= min(band.height, band.wanted):
            return self.pad(name)
        if any(self.end[x.name] < window.end(row + block.rows - 1) for x in step.inputs):
            return False
        values = []
        for x, shape in zip(step.inputs, block.inputs, strict=True):
            at = self.place(x.name, window.first(row))
            values.append(self.load(at, shape.size_bytes).reshape(shape.shape).copy())
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
                if name in block.op.inputs
            ]
            first = min(end, *wanted)
            kept = self.load(
                start + (first - self.first[name]) * band.row_bytes, (end - first) * band.row_bytes
            )
            self.store(start, kept.copy())
            self.first[name] = first
        self.store(self.place(name, end), rows)
        self.end[name] = min(end + count, max(end, band.height))

    def start(self, name: str) -> int:
        return band_offset(self.plan, self.segment, name)

    def place(self, name: str, row: int) -> int:
        return self.start(name) + (row - self.first[name]) * self.segment.bands[name].row_bytes

    def tensor(self, tensor: QTensor) -> Array:
        return self.load(self.plan.offsets[tensor.name], tensor.size_bytes).reshape(tensor.shape).copy()

    def load(self, offset: int, count: int) -> Array:
        assert 0 <= offset <= self.arena.size - count
        return self.arena[offset : offset + count]

    def store(self, offset: int, values: Array) -> None:
        assert 0 <= offset <= self.arena.size - values.size
        self.arena[offset : offset + values.size] = values.reshape(-1).astype(np.int8)
