"""The part of net.c that runs row by row: bands, and for each layer when its next rows can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.kernels.base import Plan, Step, input_names
from dfqgen.kernels.rows import Band, RowBlock, Segment
from dfqgen.plan.workload import SOURCE_ROWS


@dataclass(frozen=True, slots=True)
class TurnContext:
    """When a layer runs, in C: expressions of `row`, its next output row. `inputs`: names and bands."""

    symbol: str
    title: str
    band: str
    inputs: tuple[tuple[str, str], ...]
    height: int
    padded: bool
    keep: str
    unready: tuple[str, ...]
    first: str
    arguments: str
    count: int
    after: str
    before: str


@dataclass(frozen=True, slots=True)
class RowsContext:
    """The layers that take turns, and the rows of the input, which come first."""

    layers: int
    bands: tuple[str, ...]
    table: tuple[str, ...]
    source: str
    source_keep: str
    source_keep_here: str
    source_height: int
    source_taken: int
    source_padded: bool
    source_after: str
    row_size: int
    row_bytes: int
    fed: bool
    turns: tuple[TurnContext, ...]


def rows_context(
    plan: Plan, segment: Segment, symbols: Sequence[str], source_word: str, places: Mapping[str, str]
) -> RowsContext:
    """`symbols` of the steps, `places` of buffers in the arena."""
    steps = plan.steps[: len(segment)]
    words = {segment.source: source_word}
    words |= {step.output.name: symbol for step, symbol in zip(steps, symbols, strict=False)}
    names = {name: f"ROWS_{word.upper()}" for name, word in words.items()}
    readers = _readers(steps, segment)
    source = segment.bands[segment.source]
    return RowsContext(
        layers=len(segment),
        bands=tuple(names[name] for name in segment.bands),
        table=tuple(
            _band_text(band, places[SOURCE_ROWS if name == segment.source and not segment.fed else name])
            for name, band in segment.bands.items()
        ),
        source=names[segment.source],
        source_keep=_keep(source, readers[segment.source], names, "all"),
        source_keep_here=_keep(source, readers[segment.source], names, "&all"),
        source_height=source.height,
        source_taken=min(source.height, source.wanted),
        source_padded=source.wanted > source.height,
        row_size=source.tensor.elements // source.height,
        row_bytes=source.row_bytes,
        fed=segment.fed,
        source_after=list(names.values())[segment.resume[0]],
        turns=tuple(
            replace(
                _turn(step, block, symbol, segment.bands[step.output.name], readers[step.output.name], names),
                after=list(names.values())[segment.resume[number]],
                before=list(names.values())[number - 1],
            )
            for number, (step, block, symbol) in enumerate(
                zip(steps, segment.blocks, symbols, strict=False), 1
            )
        ),
    )


Readers = Mapping[tuple[str, RowWindow], None]
"""What a tensor is read for: the output, through which window."""


def _readers(steps: Sequence[Step], segment: Segment) -> Mapping[str, Readers]:
    readers: dict[str, dict[tuple[str, RowWindow], None]] = {name: {} for name in segment.bands}
    for step, block in zip(steps, segment.blocks, strict=True):
        for tensor in step.inputs:
            readers[tensor.name][step.output.name, block.window] = None
    return readers


def _turn(
    step: Step, block: RowBlock, symbol: str, band: Band, readers: Readers, names: Mapping[str, str]
) -> TurnContext:
    window = block.window
    inputs = input_names(step)
    last = affine(window, window.end(block.rows - 1))
    done = () if band.wanted > band.height else (f"row >= {band.wanted}",)
    early = [f"dfq_next_row(all, {names[x]}) < {last}" for x in dict.fromkeys(x.name for x in step.inputs)]
    scratch = ["all->arena"] if step.scratch_bytes else []
    return TurnContext(
        symbol=symbol,
        title=_turn_text(window, block.rows),
        band=names[band.tensor.name],
        inputs=tuple((name, names[x.name]) for name, x in zip(inputs, step.inputs, strict=True)),
        height=band.height,
        padded=band.wanted > band.height,
        keep=_keep(band, readers, names, "all"),
        unready=(*done, *early),
        first=affine(window, -window.before),
        arguments=", ".join((*scratch, *inputs, "y")),
        count=block.rows,
        after="",
        before="",
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
