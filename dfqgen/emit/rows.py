"""The part of net.c that runs row by row: bands, and for each layer when its next rows can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfqgen.emit.names import numbered
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.kernels.base import Plan, Step, input_names
from dfqgen.kernels.rows import Band, RowBlock, Segment, row_bytes


@dataclass(frozen=True, slots=True)
class TurnContext:
    """When a layer runs, in C: expressions of `row`, its next output row. `inputs`: names and places."""

    symbol: str
    title: str
    band: str
    inputs: tuple[tuple[str, str], ...]
    height: int
    padded: bool
    keep: str
    unready: tuple[str, ...]
    arguments: str
    count: int
    after: str
    before: str


@dataclass(frozen=True, slots=True)
class SourceContext:
    """The tensor whose rows come first, one by one; `place` is that of all of it where it is in the arena."""

    band: str
    keep: str
    keep_here: str
    height: int
    taken: int
    padded: bool
    row_size: int
    row_bytes: int
    place: str


@dataclass(frozen=True, slots=True)
class RowsContext:
    """Layers that take turns, `begin` to `end` - 1. `suffix` tells its C names from those of other segments,
    `flow_from` is the band whose turn comes first.
    """

    begin: int
    end: int
    suffix: str
    bands: tuple[str, ...]
    table: tuple[str, ...]
    counters: str
    source: SourceContext | None
    flow_from: str
    fed: bool
    turns: tuple[TurnContext, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Names of places in the arena, of whole tensors and of buffers; `words` are for names of tensors."""

    tensors: Mapping[str, str]
    buffers: Mapping[str, str]
    words: Mapping[str, str]


def rows_contexts(plan: Plan, places: Places) -> tuple[RowsContext, ...]:
    """One a segment."""
    words = [
        f"{places.words[name]}_rows" if segment.begin and name == segment.source else places.words[name]
        for segment in plan.segments
        for name in segment.bands
    ]
    names = iter([f"ROWS_{word.upper()}" for word in numbered(words)])
    return tuple(
        _rows(
            plan, segment, {name: next(names) for name in segment.bands}, places, f"_{number}" * (number > 1)
        )
        for number, segment in enumerate(plan.segments, 1)
    )


def _rows(plan: Plan, segment: Segment, names: Mapping[str, str], places: Places, suffix: str) -> RowsContext:
    steps = plan.steps[segment.begin : segment.end]
    readers = _readers(steps, segment)
    order = list(names.values())
    turns = []
    for number, (step, block) in enumerate(zip(steps, segment.blocks, strict=True), segment.source_bands):
        after, before = order[segment.resume[number]], order[number - 1] if number else "-1"
        turns.append(_turn(step, block, segment, names, places, readers[step.output.name], after, before))
    source = None if segment.source is None else _source(segment, segment.source, names, places, readers)
    return RowsContext(
        begin=segment.begin,
        end=segment.end,
        suffix=suffix,
        bands=tuple(order),
        table=tuple(
            _band_text(band, places.buffers[segment.buffer(name)]) for name, band in segment.bands.items()
        ),
        counters=places.buffers[segment.counters],
        source=source,
        flow_from=order[segment.resume[0] if source is not None else -1],
        fed=segment.fed,
        turns=tuple(turns),
    )


def _source(
    segment: Segment, name: str, names: Mapping[str, str], places: Places, all_readers: Mapping[str, Readers]
) -> SourceContext:
    band = segment.bands[name]
    return SourceContext(
        band=names[name],
        keep=_keep(band, all_readers[name], names, "all"),
        keep_here=_keep(band, all_readers[name], names, "&all"),
        height=band.height,
        taken=min(band.height, band.wanted),
        padded=band.wanted > band.height,
        row_size=band.tensor.elements // band.height,
        row_bytes=band.row_bytes,
        place=places.tensors[name],
    )


Readers = Mapping[tuple[str, RowWindow], None]
"""What a tensor is read for: the output, through which window."""


def _readers(steps: Sequence[Step], segment: Segment) -> Mapping[str, Readers]:
    readers: dict[str, dict[tuple[str, RowWindow], None]] = {name: {} for name in segment.bands}
    for step, block in zip(steps, segment.blocks, strict=True):
        for tensor in step.inputs:
            if tensor.name in readers:
                readers[tensor.name][step.output.name, block.window] = None
    return readers


def _turn(
    step: Step,
    block: RowBlock,
    segment: Segment,
    names: Mapping[str, str],
    places: Places,
    readers: Readers,
    after: str,
    before: str,
) -> TurnContext:
    window, band = block.window, segment.bands[step.output.name]
    inputs = input_names(step)
    first, last = affine(window, -window.before), affine(window, window.end(block.rows - 1))
    done = () if band.wanted > band.height else (f"row >= {band.wanted}",)
    waits = [names[x] for x in dict.fromkeys(x.name for x in step.inputs) if x in names]
    scratch = ["all->arena"] if step.scratch_bytes else []
    return TurnContext(
        symbol=places.words[step.output.name],
        title=_turn_text(window, block.rows),
        band=names[band.tensor.name],
        inputs=tuple(
            (
                name,
                f"dfq_row(all, {names[x.name]}, {first})"
                if x.name in names
                else f"all->arena + {places.tensors[x.name]} + {first} * {row_bytes(x)}",
            )
            for name, x in zip(inputs, step.inputs, strict=True)
        ),
        height=band.height,
        padded=band.wanted > band.height,
        keep=_keep(band, readers, names, "all"),
        unready=(*done, *(f"dfq_next_row(all, {name}) < {last}" for name in waits)),
        arguments=", ".join((*scratch, *inputs, "y")),
        count=block.rows,
        after=after,
        before=before,
    )


def affine(window: RowWindow, offset: int, variable: str = "row") -> str:
    """stride * row + offset, as one would write it."""
    product = variable if window.stride == 1 else f"{window.stride} * {variable}"
    return product if not offset else f"{product} {'-' if offset < 0 else '+'} {abs(offset)}"


def _turn_text(window: RowWindow, rows: int) -> str:
    first, last = affine(window, -window.before), affine(window, window.end(rows - 1) - 1)
    made = "row" if rows == 1 else f"rows row to row + {rows - 1}"
    return f"{made} from row {first}" if first == last else f"{made} from rows {first} to {last}"


def _keep(band: Band, readers: Readers, names: Mapping[str, str], bands: str) -> str:
    """The first row that a window will still reach."""
    if band.whole:
        return str(-band.above)
    firsts = [
        affine(window, -window.before, f"dfq_next_row({bands}, {names[output]})")
        for output, window in readers
    ]
    text = firsts[0]
    for other in firsts[1:]:
        text = f"dfq_min({text}, {other})"
    return text


def _band_text(band: Band, place: str) -> str:
    start = f"{place} - {band.above * band.row_bytes}" if band.whole and band.above else place
    wide = int(band.tensor.qtype.dtype is IntType.INT16)
    numbers = (band.row_bytes, band.capacity, band.above, band.height, band.wanted, band.padding, wide)
    return f"{{ {start}, {', '.join(map(str, numbers))} }}"
