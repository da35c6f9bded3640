"""Which layers of a program run row by row: segments from its input on, and others where memory is short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.rows import RowWindow, row_axis, row_count
from dfqgen.kernels.base import Kernel, Registry
from dfqgen.kernels.rows import Band, RowBlock, Segment
from dfqgen.plan.kernels import Choice, best_first, price, selected
from dfqgen.plan.lifetimes import bytes_between
from dfqgen.plan.partition import Part, partition
from dfqgen.plan.rows import Piece, segment, with_rows
from dfqgen.plan.schedule import peaks_by_step
from dfqgen.plan.workload import Work, Workload, align, band_bytes
from dfqgen.targets import Isa, Target

OVERHEAD = 1.05
"""What running row by row may cost in instructions, against whole layers."""

SPARING = 1.25
"""What a kernel with less scratch may take, against the fastest, in a program that runs row by row."""

SIMULATED = 16
"""Lengths of a segment from the input whose schedule is run, of those that promise the least."""

TRIED = 6
"""Plans that are placed, of those that promise the least."""

LONGEST = 16
"""Steps of a segment that begins behind the input."""

STEPS_AT_ONCE = 16
"""Rows of a 1-D network that a layer makes in a turn. Each is one pixel, and kernels make 2 to 4 together."""


@dataclass(frozen=True, slots=True)
class RowPrices:
    """Instructions that rows take beside kernels' loops: of a turn, of a row of a source, of a byte moved.

    `block`: what a block of rows should take at least, where blocks of several rows are worth their memory.
    """

    turn: float
    row_in: float
    copied_byte: float
    block: float = 0.0


SCALAR = RowPrices(turn=250.0, row_in=60.0, copied_byte=0.75)
"""Counted on a Cortex-M4: turns and bytes in rows that are whole words, rows of a source of a 1-D network."""

HELIUM = RowPrices(turn=400.0, row_in=60.0, copied_byte=0.25, block=400.0 / (OVERHEAD - 1.0))
"""Counted on a Cortex-M55, with MobileNetV2 0.35 at 160x160 and MLPerf Tiny's ResNet. Kernels there have more
to set up and take a quarter for a row, so that a call for one may not be worth it."""


def row_prices(target: Target) -> RowPrices:
    """Those of a target's core."""
    return HELIUM if Isa.MVE in target.isas else SCALAR


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """Segments, the workload with them, choices of kernels for all works of an order, and the least arena."""

    segments: tuple[Segment, ...]
    workload: Workload
    chosen: tuple[Choice, ...]
    least_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """How a step of the order would run row by row."""

    block: RowBlock
    choice: Choice


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A workload in an order: its works, how each can run row by row, and what else is in memory.

    `whole` are the choices for whole layers, `peaks` their bytes, by step. `wanted_bytes` hold data before a
    step and are read in it or later, `last_read` is by buffer.
    """

    workload: Workload
    prices: RowPrices
    order: tuple[int, ...]
    works: tuple[Work, ...]
    whole: tuple[Choice, ...]
    stages: tuple[Stage | None, ...]
    peaks: tuple[int, ...]
    wanted_bytes: tuple[int, ...]
    last_read: Mapping[str, int]

    @classmethod
    def of(
        cls,
        workload: Workload,
        order: Sequence[int],
        chosen: Sequence[Choice],
        target: Target,
        registry: Registry,
        optimize: str,
    ) -> Line:
        """`chosen` are the choices of the works, in their own order."""
        works = tuple(workload.works[index] for index in order)
        whole = tuple(chosen[index] for index in order)
        return cls(
            workload=workload,
            prices=row_prices(target),
            order=tuple(order),
            works=works,
            whole=whole,
            stages=tuple(
                _stage(work, choice, target, registry, optimize, workload)
                for work, choice in zip(works, whole, strict=True)
            ),
            peaks=tuple(peaks_by_step(workload, order)),
            wanted_bytes=tuple(bytes_between(workload, order)),
            last_read={buffer: step for step, work in enumerate(works) for buffer in work.reads},
        )

    def piece(self, begin: int, end: int, source: str | None = None) -> Piece | None:
        """Steps `begin` to `end` - 1 as a piece; the rows of `source` come one by one.

        So do those of a tensor with padding above or below; None where there are two.
        """
        works, stages = self.works[begin:end], self.stages[begin:end]
        blocks = tuple(stage.block for stage in stages if stage is not None)
        outside = self._outside(works)
        if len(blocks) < len(works) or outside is None:
            return None
        by_rows = [
            tensor
            for name, tensor in outside.items()
            if name == source
            or any(_beyond(tensor, w, b) for w, b in zip(works, blocks, strict=True) if name in w.reads)
        ]
        if len(by_rows) > 1:
            return None
        return Piece(
            begin=begin,
            source=by_rows[0] if by_rows else None,
            there=tuple(tensor for tensor in outside.values() if tensor not in by_rows),
            outputs=tuple(work.output for work in works),
            inputs=tuple(tuple(x.name for x in work.inputs) for work in works),
            blocks=blocks,
            scratch_bytes=tuple(stage.choice.scratch_bytes for stage in stages if stage is not None),
            kept=frozenset(work.writes for work in works if self.read_from(work.writes, end)),
        )

    def _outside(self, works: Sequence[Work]) -> dict[str, QTensor] | None:
        """What works read and others write; None where any tensor is also read as a reshape of itself."""
        inside = {work.output.name: work.output for work in works}
        found = {x.name: x for work in works for x in work.inputs if x.name not in inside}
        shapes = {name: x.shape for name, x in (inside | found).items()}
        return found if all(shapes[x.name] == x.shape for work in works for x in work.inputs) else None

    def buffer_of(self, tensor: QTensor) -> str:
        """The name of what may be a reshape."""
        return self.workload.buffer_of[tensor.name]

    def read_from(self, buffer: str, step: int) -> bool:
        """Whether a step from this one on reads a buffer, or it is an output."""
        return buffer in self.workload.outputs or self.last_read.get(buffer, -1) >= step

    def input_pieces(self, *, fed: bool) -> list[Piece]:
        """From the first step on, of all lengths, those whose source is a program input."""
        first = self.works[0].inputs if self.works else ()
        source = first[0].name if len({x.name for x in first}) == 1 else ""
        workload = self.workload
        if source not in set(workload.inputs) - workload.outputs or not self.stages or self.stages[0] is None:
            return []
        there, count = {source}, 0
        for work, stage in zip(self.works, self.stages, strict=True):
            if stage is None or not there.issuperset(x.name for x in work.inputs):
                break
            there.add(work.output.name)
            count += 1
        longest = None
        while count and ((longest := self.piece(0, count, source)) is None or not longest.has_bands()):
            count -= 1
        if longest is None:
            return []
        lengths = [n for n in range(1, count + 1) if not (fed and self.read_from(source, n))]
        return [longest.shorter(length) for length in lengths]


def streamed(
    line: Line, *, fed: bool, fastest: float, overhead: float = OVERHEAD, tried: int = SIMULATED
) -> list[Streamed]:
    """Ways to run a program partly row by row, those that promise the smallest arena first.

    Segments from the input alone, of `tried` lengths at most, and segments everywhere. `overhead` is to
    `fastest`, the instructions that the program takes at least.
    """
    known: dict[tuple[int, int], Part | None] = {}

    def simulate(part: Part) -> Part | None:
        span = part.begin, part.end
        if span not in known:
            known[span] = simulated(line, part.piece, fed=False)
        return known[span]

    allowed = overhead * fastest - sum(choice.instructions for choice in line.whole)
    parts: list[Part] = []
    found: list[Streamed] = []
    pieces = line.input_pieces(fed=fed)
    promising = sorted(pieces, key=lambda piece: _promise(line, piece, fed=fed))[:tried]
    firsts = [part for piece in promising if (part := simulated(line, piece, fed=fed)) is not None]
    if fed and firsts and allowed >= 0.0:  # it must be one of them, whatever they take
        allowed = max(allowed, min(part.instructions for part in firsts))
    for part in firsts:
        if part.instructions <= allowed:
            parts.append(part)
            found.append(with_parts(line, [part]))
    for lean in (False, True) if parts or not fed else ():
        chosen = partition(
            [*parts, *_estimates(line)],
            line.peaks,
            allowed,
            simulate,
            whole_first=not fed,
            lean=lean,
        )
        if chosen:
            found.append(with_parts(line, chosen))
    return sorted(found, key=lambda each: each.least_bytes)


def simulated(line: Line, piece: Piece, *, fed: bool) -> Part | None:
    """A piece after its schedule has been run; None where it has no bands."""
    found = segment(piece, fed=fed)
    if found is None or not all(
        _is_plain(found.bands[x.name]) for x in piece.outputs if x.name in line.workload.views.tied
    ):
        return None
    stages = [stage for stage in line.stages[found.begin : found.end] if stage is not None]
    kernels = sum(
        stage.choice.instructions - whole.instructions
        for stage, whole in zip(stages, line.whole[found.begin : found.end], strict=True)
    )
    found = replace(found, instructions=_turns_and_copies(found, line.prices))
    added = found.instructions + kernels
    changed = line.workload.with_segment(found, line.order, piece.scratch_bytes)
    return Part(found.begin, found.end, _segment_bytes(changed, line, found, piece), added, piece, found)


def _is_plain(band: Band) -> bool:
    """Whether its rows are the tensor's and no others."""
    return band.whole and band.capacity == band.height


def with_parts(line: Line, parts: Sequence[Part]) -> Streamed:
    """The steps of parts whose segments are known row by row, all others whole."""
    workload, chosen = line.workload, list(line.whole)
    least = list(line.peaks)
    for part in parts:
        assert part.segment is not None
        workload = workload.with_segment(part.segment, line.order, part.piece.scratch_bytes)
        for step in range(part.begin, part.end):
            stage = line.stages[step]
            assert stage is not None
            chosen[step], least[step] = stage.choice, part.size_bytes
    by_work = dict(zip(line.order, chosen, strict=True))
    segments = tuple(part.segment for part in parts if part.segment is not None)
    in_own_order = tuple(by_work[index] for index in range(len(chosen)))
    return Streamed(segments, workload, in_own_order, max(least, default=0))


def _promise(line: Line, piece: Piece, *, fed: bool) -> int:
    """About how large the arena gets with a segment from the input, and nothing else row by row."""
    sizes = line.workload.sizes_bytes
    assert piece.source is not None
    whole = sum(sizes[name] for name in piece.kept)
    frame = 0 if fed else sizes[piece.source.name]
    rows = sum(_rows_bytes(tensor, piece) for tensor in piece.outputs if tensor.name not in piece.kept)
    rest = line.peaks[len(piece.blocks) :]
    return max(rows + max(frame, whole) + max(piece.scratch_bytes), *rest, 0)


def _rows_bytes(tensor: QTensor, piece: Piece) -> int:
    """About what the band of a tensor takes, where no branch lets its rows wait."""
    readers = [piece.blocks[index] for index in piece.readers(tensor.name)]
    rows = max((block.window.rows(block.rows) for block in readers), default=1)
    return align(rows * with_rows(tensor, 1).size_bytes)


def _estimates(line: Line) -> Iterator[Part]:
    """All pieces up to LONGEST that may save anything, with the least that they can take."""
    for begin in range(len(line.works)):
        for end in range(begin + 1, min(begin + LONGEST, len(line.works)) + 1):
            piece = None if line.stages[end - 1] is None else line.piece(begin, end)
            if piece is None:
                break
            rows = [_rows_bytes(tensor, piece) for tensor in piece.banded if tensor.name not in piece.kept]
            kept = sum(line.workload.sizes_bytes[name] for name in piece.kept)
            dying = sum(t.size_bytes for t in piece.outside if not line.read_from(line.buffer_of(t), end))
            size = line.wanted_bytes[begin] + sum(rows) + max(piece.scratch_bytes) + kept - min(kept, dying)
            if size >= max(line.peaks[begin:end]):
                continue
            turns = [
                -(-row_count(tensor.shape) // block.rows)
                for tensor, block in zip(piece.outputs, piece.blocks, strict=True)
            ]
            yield Part(begin, end, size, sum(turns) * line.prices.turn, piece, None)


def _beyond(tensor: QTensor, work: Work, block: RowBlock) -> bool:
    """Whether rows above the first or below the last of a tensor are read for an output."""
    rows = -(-row_count(work.output.shape) // block.rows) * block.rows
    return block.window.before > 0 or block.window.end(rows - 1) > row_count(tensor.shape)


def _stage(
    work: Work, whole: Choice, target: Target, registry: Registry, optimize: str, workload: Workload
) -> Stage | None:
    """The kernel that makes the rows of one operator, a few at a time; None without any.

    It is chosen as for whole layers, and for size the same one where it can be. What it takes is priced as if
    it made all rows in one call: the loops are the same.
    """
    window = work.op.row_window(work.inputs, work.output)
    height = row_count(work.output.shape) if window is not None else 1
    if window is None or height == 1 or any(x.name not in workload.sizes_bytes for x in work.inputs):
        return None
    axis = row_axis(work.output.shape)
    stages = []
    for kernel in registry.kernels:
        if kernel.op is not type(work.op) or kernel.isa not in target.isas or kernel.spends_flash:
            continue
        if not kernel.supports(work.op, work.inputs, work.output):
            continue
        instructions, measured = price(kernel, work.op, work.inputs, work.output, target, optimize)
        rows = _rows_at_once(kernel, instructions / height, axis, row_prices(target))
        rows = min(rows, height)
        if work.writes in workload.views.tied:  # there is no room for rows beyond the last
            rows = next((count for count in range(rows, 0, -1) if height % count == 0), 0)
        block = _block(work, window, rows, axis, over=kernel.over_window and axis == 1)
        if block is not None and kernel.supports(block.op, block.inputs, block.output):
            scratch = kernel.scratch_bytes(block.op, block.inputs, block.output)
            choice = Choice(work.op, kernel, instructions, scratch_bytes=scratch, measured=measured)
            stages.append(Stage(block, choice))
    if not stages:
        return None
    ordered = best_first([stage.choice for stage in stages])
    same = [choice for choice in ordered if choice.kernel is whole.kernel and optimize == "size"]
    best = (same or ordered)[0]
    block = next(stage.block for stage in stages if stage.choice is best)
    fastest = min(choice.instructions for choice in ordered)
    return Stage(block, selected(best, len(ordered), fastest))


def _rows_at_once(kernel: Kernel[Any], row: float, axis: int, prices: RowPrices) -> int:
    """How many rows of so many instructions a call is for: as many times the kernel's as are worth it."""
    if axis != 1:
        return STEPS_AT_ONCE * min(1, kernel.rows_at_once)
    least = max(1, kernel.rows_at_once)
    return kernel.rows_at_once * max(1, math.ceil(prices.block / max(row, 1.0) / least))


def _block(work: Work, window: RowWindow, rows: int, axis: int, *, over: bool) -> RowBlock | None:
    if rows == 0:
        return None
    inputs = tuple(with_rows(x, window.rows(rows)) for x in work.inputs)
    return RowBlock(work.op.of_rows(rows, axis), inputs, with_rows(work.output, rows), window, rows, over)


def _turns_and_copies(segment: Segment, prices: RowPrices) -> float:
    """Instructions of a segment beside its kernels."""
    taken_in = 0 if segment.source is None else segment.bands[segment.source].height
    copies = (segment.moved_bytes + segment.filled_bytes) * prices.copied_byte
    return copies + len(segment.turns) * prices.turn + taken_in * prices.row_in


def _segment_bytes(workload: Workload, line: Line, found: Segment, piece: Piece) -> int:
    """What is in memory while a segment runs, less the most that one band saves by overwriting."""
    sizes, total = workload.sizes_bytes, line.wanted_bytes[found.begin]
    if found.fed and found.source is not None:
        total -= line.workload.sizes_bytes[found.source]
    total += sum(band_bytes(band) for band in found.bands.values() if band.over is None)
    total += sizes[found.counters] + align(max(piece.scratch_bytes))
    outputs = {output for output, _ in found.leads_bytes}
    return total - max((_gain_bytes(workload, line, found, output) for output in outputs), default=0)


def _gain_bytes(workload: Workload, line: Line, found: Segment, output: str) -> int:
    """What a whole band saves that is written over tensors as they are read for the last time."""
    sizes = workload.sizes_bytes
    leads: dict[str, int] = {}
    for (written, tensor), lead in found.leads_bytes.items():
        buffer = workload.buffer_of[tensor]
        if written == output and not line.read_from(buffer, found.end):
            leads[buffer] = max(lead, leads.get(buffer, 0))
    end = 0
    for buffer, lead in sorted(leads.items(), key=lambda item: item[1]):
        end = max(end, lead) + sizes[buffer]
    apart = sizes[output] + sum(sizes[buffer] for buffer in leads)
    return max(0, apart - max(sizes[output], end))
