"""How far a program runs row by row: the segments worth a try, smallest arena first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.kernels.base import Registry
from dfqgen.kernels.rows import RowBlock, Segment
from dfqgen.plan.kernels import Choice, best_first, price, selected
from dfqgen.plan.lifetimes import span_bytes
from dfqgen.plan.rows import Piece, segment, with_rows
from dfqgen.plan.schedule import peaks_by_step
from dfqgen.plan.workload import Work, Workload, align, band_bytes
from dfqgen.targets import Target

OVERHEAD = 1.05
"""What running row by row may cost in instructions, against whole layers."""

TURN = 250.0
"""Instructions of a turn beside its kernel's loops, on a Cortex-M4."""

SPARING = 1.25
"""What a kernel with less scratch may take, against the fastest, in a program that runs row by row."""

SIMULATED = 16
"""Lengths of a segment whose schedule is run, of those that promise the least."""

TRIED = 6
"""Segments that are placed, of those that promise the least."""

COPIED_BYTE = 0.75
"""Instructions to move a byte, measured on a Cortex-M4 with rows that are whole words."""


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """A segment, the workload with it, the choice of a kernel for each of its steps, and the least arena."""

    segment: Segment
    workload: Workload
    chosen: tuple[Choice, ...]
    least_bytes: int

    def chosen_in(self, order: Sequence[int], whole: Sequence[Choice]) -> list[Choice]:
        """Of all works: those of the segment, and `whole` for the rest."""
        choices = list(whole)
        for index, choice in zip(order, self.chosen, strict=False):
            choices[index] = choice
        return choices


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    block: RowBlock
    choice: Choice
    whole: Choice


def streamed(
    workload: Workload,
    order: Sequence[int],
    whole: Sequence[Choice],
    target: Target,
    registry: Registry,
    optimize: str,
    *,
    fed: bool,
    fastest: float,
    overhead: float = OVERHEAD,
    tried: int = SIMULATED,
) -> list[Streamed]:
    """Segments of the first steps of an order, those that promise the smallest arena first.

    `whole` are the choices of the works, in their order, for whole layers; `overhead` is to `fastest`, what
    the program takes at least. The schedule is run for `tried` lengths at most.
    """
    stages = _stages(workload, order, whole, target, registry, optimize)
    works = [workload.works[index] for index in order]
    piece = _piece(workload, works, stages) if stages else None
    if piece is None:
        return []
    lengths = range(1, len(piece.blocks) + 1)
    if fed:
        source = piece.source.name
        lengths = [n for n in lengths if not _read_later(workload, works[n:], source)]  # type: ignore[assignment]
    rest = peaks_by_step(workload, order)
    promise = _promises(workload, piece, rest, fed=fed)
    taken = sum(choice.instructions for choice in whole)
    results = []
    for length in sorted(lengths, key=lambda length: promise[length])[:tried]:
        found = segment(piece.shorter(length), fed=fed)
        if found is None or taken + _added(found, stages[:length]) > overhead * fastest:
            continue
        choices = tuple(stage.choice for stage in stages[:length])
        scratch = [choice.scratch_bytes for choice in choices]
        changed = workload.with_segment(found, order, scratch)
        least = max(_segment_bytes(changed, found, scratch), *rest[length:], 0)
        results.append(Streamed(found, changed, choices, least))
    return sorted(results, key=lambda each: each.least_bytes)


def _piece(workload: Workload, works: Sequence[Work], stages: Sequence[_Stage]) -> Piece | None:
    """The longest that has bands."""
    for count in range(len(stages), 0, -1):
        piece = Piece(
            works[0].inputs[0],
            tuple(work.output for work in works[:count]),
            tuple(tuple(x.name for x in work.inputs) for work in works[:count]),
            tuple(stage.block for stage in stages[:count]),
            tuple(stage.choice.scratch_bytes for stage in stages[:count]),
            _kept(workload, works, count),
        )
        if piece.has_bands():
            return piece
    return None


def _promises(workload: Workload, piece: Piece, rest: Sequence[int], *, fed: bool) -> dict[int, int]:
    """About how large the arena gets, by the length of the segment: from the bands of the longest."""
    longest = segment(piece, fed=fed)
    assert longest is not None, "the piece has bands"
    promises = {}
    for length in range(1, len(piece.blocks) + 1):
        part = piece.shorter(length)
        whole = sum(workload.sizes_bytes[name] for name in part.kept)
        partial = [tensor.name for tensor in part.outputs if tensor.name not in part.kept]
        frame = 0 if fed else workload.sizes_bytes[piece.source.name]
        bands = sum(band_bytes(replace(longest.bands[name], whole=False)) for name in partial)
        promises[length] = max(bands + max(frame, whole) + max(part.scratch_bytes), *rest[length:], 0)
    return promises


def _read_later(workload: Workload, works: Sequence[Work], buffer: str) -> bool:
    return buffer in workload.outputs or any(buffer in work.reads for work in works)


def _kept(workload: Workload, works: Sequence[Work], count: int) -> frozenset[str]:
    """Tensors of the first works that later ones read, or that the program gives."""
    later = {buffer for work in works[count:] for buffer in work.reads} | workload.outputs
    return frozenset(work.writes for work in works[:count] if work.writes in later)


def _stages(
    workload: Workload,
    order: Sequence[int],
    whole: Sequence[Choice],
    target: Target,
    registry: Registry,
    optimize: str,
) -> list[_Stage]:
    """The first steps that can run row by row from one program input."""
    stages: list[_Stage] = []
    there: set[str] = set()
    for index in order:
        work = workload.works[index]
        names = {x.name for x in work.inputs}
        if not stages:
            if (
                len(names) != 1
                or not names <= set(workload.inputs) - workload.outputs
                or work.inputs[0].shape[1:2] in ((), (1,))
            ):
                break
            there = set(names)
        stage = _stage(work, whole[index], target, registry, optimize) if names <= there else None
        if stage is None:
            break
        there.add(work.output.name)
        stages.append(stage)
    return stages


def _stage(work: Work, whole: Choice, target: Target, registry: Registry, optimize: str) -> _Stage | None:
    """The kernel that makes the rows of one operator, a few at a time; None without any.

    It is chosen as for whole layers, and for size the same one where it can be. What it takes is priced as if
    it made all rows in one call: the loops are the same.
    """
    window = work.op.row_window(work.inputs, work.output)
    if window is None:
        return None
    stages = []
    for kernel in registry.kernels:
        if kernel.op is not type(work.op) or kernel.isa not in target.isas or kernel.spends_flash:
            continue
        rows = min(kernel.rows_at_once, work.output.shape[1])
        block = _block(work, window, rows, over=kernel.over_window)
        if block is not None and kernel.supports(block.op, block.inputs, block.output):
            instructions, measured = price(kernel, work.op, work.inputs, work.output, target, optimize)
            scratch = kernel.scratch_bytes(block.op, block.inputs, block.output)
            choice = Choice(work.op, kernel, instructions, scratch_bytes=scratch, measured=measured)
            stages.append(_Stage(block, choice, whole))
    if not stages:
        return None
    ordered = best_first([stage.choice for stage in stages])
    same = [choice for choice in ordered if choice.kernel is whole.kernel and optimize == "size"]
    best = (same or ordered)[0]
    block = next(stage.block for stage in stages if stage.choice is best)
    fastest = min(choice.instructions for choice in ordered)
    return _Stage(block, selected(best, len(ordered), fastest), whole)


def _block(work: Work, window: RowWindow, rows: int, *, over: bool) -> RowBlock | None:
    if rows == 0:
        return None
    inputs = tuple(with_rows(x, window.rows(rows)) for x in work.inputs)
    return RowBlock(work.op.of_rows(rows), inputs, with_rows(work.output, rows), window, rows, over)


def _added(found: Segment, stages: Sequence[_Stage]) -> float:
    """Instructions more than with whole layers."""
    copies = (found.moved_bytes + found.filled_bytes) * COPIED_BYTE
    kernels = sum(stage.choice.instructions - stage.whole.instructions for stage in stages)
    return copies + len(found.turns) * TURN + kernels


def _segment_bytes(workload: Workload, found: Segment, scratch: Sequence[int]) -> int:
    """No placement keeps less than this while a segment runs; the whole source may be overwritten."""
    sizes = workload.sizes_bytes
    own = [name for name in sizes if name in found.bands or name in workload.inputs or name.startswith("\0")]
    total = sum(sizes[name] for name in own) + align(max(scratch))
    if found.fed:
        return total
    source = sizes[found.source]
    for name, lead in found.leads_bytes.items():
        total -= sizes[name] + source - span_bytes(sizes[name], source, lead)
    return total
