"""Whether a plan is sound, found by walking it; knows nothing of how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program, QTensor
from dfqgen.fixedpoint.rows import RowWindow, row_count
from dfqgen.kernels.base import Plan, Step
from dfqgen.kernels.rows import Band, RowBlock, Segment, row_bytes
from dfqgen.plan.views import WORD_BYTES
from dfqgen.plan.workload import (
    ALIGNMENT_BYTES,
    COUNTER_BYTES,
    band_offset,
    wanted,
)


def check_plan(program: Program, plan: Plan) -> None:
    """Walk the schedule and see that no step destroys bytes that are still wanted.

    Raises ProgramError, which means a bug in dfqgen.
    """
    roots = roots_of(program, plan)
    partial = partial_tensors(plan)
    for tensor, buffers in roots.items():
        if partial.isdisjoint(buffers):
            _check_place(plan, tensor, plan.offsets[tensor], program.tensors[tensor].size_bytes, WORD_BYTES)

    wanted_until: dict[str, int] = {}
    for position, step in enumerate(plan.steps):
        wanted_until.update((root, position) for tensor in step.inputs for root in roots[tensor.name])
    wanted_until.update((root, len(plan.steps)) for name in wanted(program) for root in roots[name])

    present = [name for name in dict.fromkeys(program.sources) if name not in partial]
    for i, first in enumerate(present):
        for second in present[i + 1 :]:
            _check_apart(program, plan, "the start", first, second)
    begins = {segment.begin: segment for segment in plan.segments}
    begin = 0
    for position, step in enumerate(plan.steps):
        if position in begins:
            segment = begins[position]
            if position < begin:
                raise ProgramError(f"step {position} takes turns with others twice")
            begin = segment.end
            kept = [name for name in present if wanted_until.get(name, -1) >= position]
            check_segment(program, plan, segment, kept, wanted_until)
            present = [name for name in kept if wanted_until[name] >= begin]
            present += [s.output.name for s in plan.steps[position:begin] if s.output.name not in partial]
        if position < begin:
            continue
        where = f"step {position} ({step.op.name})"
        missing = [tensor.name for tensor in step.inputs if not set(roots[tensor.name]) <= set(present)]
        if missing:
            raise ProgramError(f"{where} reads {missing[0]!r}, which is not there")
        _check_place(plan, where, step.scratch_offset, step.scratch_bytes, ALIGNMENT_BYTES)
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
                wanted_until[name] == position and _may_overwrite(plan, step, name, roots)
            ):
                raise ProgramError(f"{where}: the output overwrites {name!r}")
        present = [name for name in kept if wanted_until[name] > position]
        present.append(step.output.name)
    for port in program.outputs:
        if not set(roots[port.tensor]) <= set(present):
            raise ProgramError(f"output {port.name!r} is not there at the end")
    for state in program.states:
        new = set(roots[state.output])
        if not new.isdisjoint(program.sources) or not new <= set(present):
            raise ProgramError(f"the new state {state.name!r} is not there at the end, in a place of its own")


def roots_of(program: Program, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The written tensors that each tensor's bytes are: its own, or, where its operator does not run, those
    among its inputs'.

    Raises ProgramError where an operator must run and does not, or a tensor is not where its bytes are.
    """
    ran = {id(step.op) for step in plan.steps}
    if len(ran) < len(plan.steps) or not ran <= set(map(id, program.ops)):
        raise ProgramError("the schedule does not run every operator once")
    roots: dict[str, tuple[str, ...]] = {name: (name,) for name in program.sources}
    for op in program.ops:
        roots[op.output] = (op.output,)
        if id(op) in ran:
            continue
        inputs, output = program.tensors_of(op)
        begins = op.view_bytes(inputs, output)
        if begins is None:
            raise ProgramError("the schedule does not run every operator once")
        at = plan.offsets[op.output]
        for name, begin in zip(op.inputs, begins, strict=True):
            if plan.offsets[name] != at + begin:
                raise ProgramError(f"{op.output!r} is not where {name!r} is")
        found = dict.fromkeys(root for name in op.inputs for root in roots[name])
        sizes = {root: program.tensors[root].size_bytes for root in found}
        roots[op.output] = tuple(
            root for root in found if _collide((plan.offsets[root], sizes[root]), (at, output.size_bytes))
        )
    return roots


def _may_overwrite(plan: Plan, step: Step, name: str, roots: Mapping[str, Sequence[str]]) -> bool:
    for index, tensor in enumerate(step.inputs):
        if name in roots[tensor.name]:
            lead = step.kernel.overlap_lead_bytes(step.op, step.inputs, step.output, index)
            if lead is None or plan.offsets[tensor.name] - plan.offsets[step.output.name] < lead:
                return False
    return True


def _check_place(plan: Plan, what: str, offset: int, size_bytes: int, alignment: int) -> None:
    if offset < 0 or offset % alignment or offset + size_bytes > plan.arena_bytes:
        raise ProgramError(f"{what}: bytes {offset}..{offset + size_bytes} are misplaced in the arena")


def _check_apart(program: Program, plan: Plan, where: str, first: str, second: str) -> None:
    a = (plan.offsets[first], program.tensors[first].size_bytes)
    b = (plan.offsets[second], program.tensors[second].size_bytes)
    if _collide(a, b):
        raise ProgramError(f"{where}: {first!r} and {second!r} share bytes")


def _collide(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two (offset, size) ranges share a byte."""
    return a[1] > 0 and b[1] > 0 and a[0] < b[0] + b[1] and b[0] < a[0] + a[1]


def partial_tensors(plan: Plan) -> frozenset[str]:
    """Tensors that are never in memory as a whole."""
    return frozenset(
        name
        for segment in plan.segments
        for name, band in segment.bands.items()
        if not band.whole and (segment.fed or name != segment.source)
    )


def check_segment(
    program: Program, plan: Plan, segment: Segment, others: Sequence[str], wanted_until: Mapping[str, int]
) -> None:
    """Run the schedule of a segment on row numbers and addresses.

    `others` are the buffers that hold data when it begins, the whole source among them where it is not fed,
    and each is read for the last time in the step `wanted_until`. Those that it alone reads yet may be
    overwritten as they are read.
    """
    ranges = {
        name: (band_offset(plan, segment, name), band.capacity * band.row_bytes)
        for name, band in segment.bands.items()
        if band.over is None
    }
    ranges["counters"] = (plan.offsets[segment.counters], COUNTER_BYTES * len(segment.bands))
    steps = plan.steps[segment.begin : segment.end]
    for step in steps:
        ranges[f"scratch of {step.op.name}"] = (step.scratch_offset, step.scratch_bytes)
    roots = roots_of(program, plan)
    outside = {x.name: x for step in steps for x in step.inputs if x.name not in segment.bands}
    if segment.source is not None and not segment.fed:
        outside[segment.source] = segment.bands[segment.source].tensor
    missing = [name for name in outside if not set(roots[name]) <= set(others)]
    if missing:
        raise ProgramError(f"layers that take turns read {missing[0]!r}, which is not there")
    read = {root for name in outside for root in roots[name]}
    dying = {name for name in others if name in read and wanted_until[name] < segment.end}
    for name in others:
        if name not in dying:
            ranges[f"all of {name}"] = (plan.offsets[name], program.tensors[name].size_bytes)
    _check_ranges(ranges, plan.arena_bytes)
    still = [(plan.offsets[name], program.tensors[name].size_bytes) for name in dying]
    for name in ranges.keys() - {band for band in segment.bands if segment.bands[band].whole}:
        if any(_collide(ranges[name], each) for each in still):
            raise ProgramError(f"{name!r} shares bytes with what layers that take turns read")
    walk = _Walk(plan, segment, outside)
    walk.all()


def _check_ranges(ranges: dict[str, tuple[int, int]], arena_bytes: int) -> None:
    found = list(ranges.items())
    for index, (name, (offset, size)) in enumerate(found):
        if offset < 0 or offset + size > arena_bytes:
            raise ProgramError(f"{name}: bytes {offset}..{offset + size} are misplaced in the arena")
        for other, at in found[index + 1 :]:
            scratch = name.startswith("scratch") and other.startswith("scratch")
            if not scratch and _collide((offset, size), at):
                raise ProgramError(f"{name!r} and {other!r} share bytes while layers take turns")


def reads(step: Step) -> list[str]:
    """The buffers of a step's inputs."""
    return [x.name for x in step.inputs]


class _Walk:
    """What the generated C does: rows first ... end - 1 of each band are there."""

    def __init__(self, plan: Plan, segment: Segment, outside: Mapping[str, QTensor]) -> None:
        self.plan, self.segment, self.outside = plan, segment, outside
        self.steps = plan.steps[segment.begin : segment.end]
        self.first = {name: -band.above for name, band in segment.bands.items()}
        self.end = dict.fromkeys(segment.bands, 0)
        self.turns: list[int] = []
        self.fed = 0

    def all(self) -> None:
        for name, band in self.segment.bands.items():
            self._write(name, -band.above, band.above)
        if self.segment.source is None:
            self._flow(len(self.segment.bands) - 1)
        else:
            source = self.segment.bands[self.segment.source]
            for self.fed in range(1, source.height + 1):
                if self.end[source.tensor.name] < min(source.height, source.wanted):
                    self._append(source.tensor.name, 1)
                self._flow(self.segment.resume[0])
        if tuple(self.turns) != self.segment.turns:
            raise ProgramError("layers do not take turns as the plan says")
        for name, band in self.segment.bands.items():
            if self.end[name] < (band.height if band.whole else min(band.wanted, band.height)):
                raise ProgramError(f"{name}: only {self.end[name]} of {band.height} rows are made")

    def _flow(self, number: int) -> None:
        """After each block, the last layer that reads it has a turn; where none can be, the layer before."""
        while number >= 0:
            number = self.segment.resume[number] if self._turn(number) else number - 1

    def _turn(self, number: int) -> bool:
        index = number - self.segment.source_bands
        if index < 0:
            return self._pad(next(iter(self.segment.bands)))
        step, block = self.steps[index], self.segment.blocks[index]
        name, window = step.output.name, block.window
        band, row = self.segment.bands[name], self.end[name]
        if row >= min(band.wanted, band.height):
            return self._pad(name)
        needed = window.end(row + block.rows - 1)
        if any(self.end.get(x.name, needed) < needed for x in step.inputs):
            return False
        # A block may reach beyond the last row; of those further rows nobody asks what they are made of.
        real = min(row + block.rows, band.height) - 1
        for x in step.inputs:
            self._read(x.name, window.first(row), needed)
            self._check_padding(x.name, window, window.first(row), window.end(real))
        if band.over is not None:
            self._check_over(band, block)
        self._append(name, block.rows)
        self.turns.append(index)
        return True

    def _check_over(self, band: Band, block: RowBlock) -> None:
        """The rows it lies over are the first of this window, and no later window reaches them."""
        name, window, row = band.tensor.name, block.window, self.end[band.tensor.name]
        under = self.segment.bands[band.over or ""]
        alone = [step.output.name for step in self.steps if under.tensor.name in reads(step)] == [name]
        dropped = window.first(row + block.rows) - window.first(row)
        first = self.first[under.tensor.name] == window.first(row)
        fits = block.rows * band.row_bytes <= dropped * under.row_bytes
        same = band_offset(self.plan, self.segment, name) == band_offset(
            self.plan, self.segment, under.tensor.name
        )
        if not (block.over and alone and first and fits and same) or under.whole:
            raise ProgramError(f"{name}: its rows lie over rows of {band.over!r} that are wanted")

    def _pad(self, name: str) -> bool:
        band = self.segment.bands[name]
        if not band.height <= self.end[name] < band.wanted:
            return False
        self._append(name, 1)
        self.end[name] += 1
        return True

    def _append(self, name: str, rows: int) -> None:
        band = self.segment.bands[name]
        for other, above in self.segment.bands.items():
            if above.over == name and min(self._wanted_from(other)) < min(self.end[other], above.wanted):
                raise ProgramError(f"{name}: row {self.end[name]} is written before {other!r} is read")
        if self.end[name] - self.first[name] + rows > band.capacity:
            keep = [self.first[name]] if band.whole else self._wanted_from(name)
            self.first[name] = min(self.end[name], *keep)
        if self.end[name] - self.first[name] + rows > band.capacity:
            raise ProgramError(f"{name}: no room for row {self.end[name]}")
        self._write(name, self.end[name], rows)
        self.end[name] = min(self.end[name] + rows, max(band.height, self.end[name]))

    def _wanted_from(self, name: str) -> list[int]:
        return [window.first(self.end[output]) for output, window in self._readers(name)]

    def _read(self, name: str, first: int, end: int) -> None:
        if name not in self.segment.bands:
            if first < 0 or end > row_count(self.outside[name].shape):
                raise ProgramError(f"{name}: rows {first} to {end - 1} are read, outside of it")
        elif first < self.first[name] or end > self.end[name]:
            raise ProgramError(f"{name}: rows {first} to {end - 1} are read, not all of them are there")

    def _check_padding(self, name: str, window: RowWindow, first: int, end: int) -> None:
        """Padding that is read is what the window asks for."""
        if name not in self.segment.bands:
            return
        band = self.segment.bands[name]
        outside = first < 0 or (window.padding is not None and end > band.height)
        if outside and band.padding != window.padding:
            raise ProgramError(f"{name}: padding of {window.padding} is read, {band.padding} is there")

    def _write(self, name: str, first: int, rows: int) -> None:
        """No row of a whole tensor that has yet to be read may be written over."""
        band = self.segment.bands[name]
        at = band_offset(self.plan, self.segment, name) + (first - self.first[name]) * band.row_bytes
        for other, tensor in self.outside.items():
            unread = self.plan.offsets[other] + self._rows_read(other) * row_bytes(tensor)
            end = self.plan.offsets[other] + tensor.size_bytes
            if rows and _collide((at, rows * band.row_bytes), (unread, end - unread)):
                raise ProgramError(f"{name}: row {first} overwrites rows of {other!r} that are still wanted")

    def _rows_read(self, name: str) -> int:
        """How many rows of a whole tensor no layer will read again."""
        if name == self.segment.source:
            return self.fed
        unfinished = [
            window.first(self.end[output])
            for output, window in self._readers(name)
            if self.end[output] < min(self.segment.bands[output].wanted, self.segment.bands[output].height)
        ]
        return max(0, min([row_count(self.outside[name].shape), *unfinished]))

    def _readers(self, name: str) -> list[tuple[str, RowWindow]]:
        return [
            (step.output.name, block.window)
            for step, block in zip(self.steps, self.segment.blocks, strict=True)
            if name in reads(step)
        ]
