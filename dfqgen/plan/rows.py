"""Layers row by row: which may be, how many rows of each tensor they need, and in what order they take turns.

Of the layers for whose next block of output rows all rows are there, the last one always runs, and a row is
dropped when no window will reach it again: nothing is computed twice. What is kept is found by running that
schedule, on row numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.rows import RowWindow, row_axis, row_count
from dfqgen.kernels.rows import Band, RowBlock, Segment, row_bytes
from dfqgen.plan.workload import align, band_lead_bytes


def with_rows(tensor: QTensor, rows: int) -> QTensor:
    """The type of so many rows of an image."""
    axis = row_axis(tensor.shape)
    return replace(tensor, shape=(*tensor.shape[:axis], rows, *tensor.shape[axis + 1 :]))


@dataclass(frozen=True, eq=False)
class Piece:
    """The operators of a segment by their blocks; `kept`: tensors that something after the segment reads.

    `there` are whole tensors they read in place. `begin` is the step of the first operator.
    """

    begin: int
    source: QTensor | None
    there: tuple[QTensor, ...]
    outputs: tuple[QTensor, ...]
    inputs: tuple[tuple[str, ...], ...]
    blocks: tuple[RowBlock, ...]
    scratch_bytes: tuple[int, ...]
    kept: frozenset[str]

    @property
    def outside(self) -> tuple[QTensor, ...]:
        """Whole tensors made before."""
        return self.there if self.source is None else (self.source, *self.there)

    @property
    def banded(self) -> tuple[QTensor, ...]:
        """The tensors that have bands, in their order."""
        return self.outputs if self.source is None else (self.source, *self.outputs)

    @cached_property
    def _readers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, names in enumerate(self.inputs):
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(index)
        return found

    def readers(self, tensor: str) -> list[int]:
        """The operators that read a tensor, by their numbers."""
        return self._readers.get(tensor, [])

    def has_bands(self) -> bool:
        """Whether the padding around each tensor is of one value, and all follow the rows of the source."""
        return _bands(self) is not None

    def windows(self) -> dict[str, tuple[tuple[str, RowWindow], ...]]:
        """By tensor, what it is read for: the outputs, and the windows they are made through."""
        names = [tensor.name for tensor in (*self.banded, *self.there)]
        return {
            name: tuple((self.outputs[r].name, self.blocks[r].window) for r in self.readers(name))
            for name in names
        }

    def shorter(self, count: int) -> Piece:
        """The first `count` operators."""
        names = {tensor.name for tensor in self.outputs[:count]}
        later = {name for reads in self.inputs[count:] for name in reads}
        return replace(
            self,
            outputs=self.outputs[:count],
            inputs=self.inputs[:count],
            blocks=self.blocks[:count],
            scratch_bytes=self.scratch_bytes[:count],
            kept=frozenset((self.kept | later) & names),
        )


def segment(piece: Piece, *, fed: bool) -> Segment | None:
    """The bands and turns of a piece; None where windows ask for padding of two values around a tensor, or
    where no row of the source brings the last operator its turn.
    """
    bands = _bands(piece)
    if bands is None:
        return None
    run = _Run(piece, bands)
    run.all()
    bands = {name: replace(band, capacity=run.most[name]) for name, band in bands.items()}
    run = _Run(piece, bands)  # once more: how much is moved depends on the room there is
    run.all()
    return Segment(
        begin=piece.begin,
        source=None if piece.source is None else piece.source.name,
        fed=fed,
        blocks=piece.blocks,
        bands=bands | _laid_over(piece, bands),
        turns=tuple(run.turns),
        resume=run.resume,
        leads_bytes={} if fed else {pair: align(lead) for pair, lead in run.leads_bytes.items()},
        moved_bytes=run.moved_bytes,
        filled_bytes=run.filled_bytes,
    )


def _bands(piece: Piece) -> dict[str, Band] | None:
    """Of all tensors, capacities open: how many rows are wanted, from the end to the source."""
    if not _all_follow(piece):
        return None
    bands: dict[str, Band] = {}
    for tensor in reversed(piece.banded):
        height, above, paddings = row_count(tensor.shape), 0, set()
        whole = tensor.name in piece.kept
        wanted = height if whole else 0
        for reader in piece.readers(tensor.name):
            block, output = piece.blocks[reader], bands[piece.outputs[reader].name]
            real_end = block.window.end(output.height - 1)
            if block.window.padding is not None and (block.window.before or real_end > height):
                paddings.add(block.window.padding)
            above = max(above, block.window.before)
            wanted = max(wanted, block.window.end(computed_rows(output, block) - 1))
        if len(paddings) > 1:
            return None
        bands[tensor.name] = Band(tensor, above, wanted, next(iter(paddings), 0), 0, whole)
    return dict(reversed(bands.items()))


def _all_follow(piece: Piece) -> bool:
    """Whether each operator comes before a reader of the source, or of what such operators write: after a row
    its last reader has a turn, and those before it.
    """
    if piece.source is None:
        return True
    place, last = 0, max(piece.readers(piece.source.name), default=-1)
    while place <= last:
        last = max([last, *piece.readers(piece.outputs[place].name)])
        place += 1
    return last == len(piece.outputs) - 1


def _laid_over(piece: Piece, bands: Mapping[str, Band]) -> dict[str, Band]:
    """The bands that may lie over rows of what they are computed from.

    The window is all that is there of those, nothing else reads them, and the next row comes when all that
    was made of them has been read: by layers of one input that take it a row at a time, as it comes.
    """
    found: dict[str, Band] = {}
    for index, (output, names, block) in enumerate(
        zip(piece.outputs, piece.inputs, piece.blocks, strict=True)
    ):
        if names[0] not in bands:
            continue
        x, y, window = bands[names[0]], bands[output.name], block.window
        alone = len(names) == 1 and piece.readers(names[0]) == [index]
        own = not x.whole and x.capacity == window.rows(block.rows) and names[0] not in found
        short = y.row_bytes <= window.stride * x.row_bytes and y.capacity == block.rows
        inner = not y.whole and y.above == 0 and y.wanted <= y.height
        at_once = all(
            len(piece.inputs[r]) == 1
            and piece.blocks[r].rows == 1
            and piece.blocks[r].window.rows(1) == 1
            and piece.blocks[r].window.stride == 1
            for r in piece.readers(output.name)
        )
        if block.over and alone and own and short and inner and at_once:
            found[output.name] = replace(y, over=names[0])
    return found


def computed_rows(band: Band, block: RowBlock) -> int:
    """Rows that a stage computes: whole blocks, and so perhaps a few beyond the last, which nothing reads."""
    return -(-min(band.wanted, band.height) // block.rows) * block.rows


@dataclass
class _Run:
    """The schedule of a segment on row numbers: what the generated C does, without the data."""

    piece: Piece
    bands: Mapping[str, Band]
    first: dict[str, int] = field(default_factory=dict)
    end: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)
    leads_bytes: dict[tuple[str, str], int] = field(default_factory=dict)
    moved_bytes: int = 0
    filled_bytes: int = 0
    fed: int = 0
    resume: tuple[int, ...] = ()
    readers: dict[str, tuple[tuple[str, RowWindow], ...]] = field(default_factory=dict)
    stages: list[tuple[str, int, int, int, int, tuple[str, ...]]] = field(default_factory=list)
    """Output, its rows, rows of a block, stride, the first block's rows of inputs, those that have bands."""

    def all(self) -> None:
        """From the first row of the source to the last row of everything."""
        self.readers = self.piece.windows()
        numbers = {name: number for number, name in enumerate(self.bands)}
        outputs = [tensor.name for tensor in self.piece.outputs]
        self.resume = tuple(
            max([numbers[name], *(numbers[outputs[reader]] for reader in self.piece.readers(name))])
            for name in self.bands
        )
        for tensor, block, names in zip(
            self.piece.outputs, self.piece.blocks, self.piece.inputs, strict=True
        ):
            band, window = self.bands[tensor.name], block.window
            inputs = tuple(name for name in names if name in self.bands)
            wanted = min(band.wanted, band.height)
            ahead = window.end(block.rows - 1)
            self.stages.append((tensor.name, wanted, block.rows, window.stride, ahead, inputs))
        self.first = {name: -band.above for name, band in self.bands.items()}
        self.end = dict.fromkeys(self.bands, 0)
        for name, band in self.bands.items():
            self.most[name] = band.above
            self.filled_bytes += band.above * band.row_bytes
            if band.whole:
                self._lead(name, 0)
        if self.piece.source is None:
            self._flow(len(self.bands) - 1)
            return
        source = self.piece.source.name
        band = self.bands[source]
        while self.fed < band.height:
            self.fed += 1
            if self.end[source] < min(band.wanted, band.height):
                self._take(source, 1)
                self.filled_bytes += band.row_bytes
            self._flow(self.resume[0])

    def _flow(self, turn: int) -> None:
        """Turns, from that of one band on, while any can be."""
        while turn >= 0:
            turn = self.resume[turn] if self._turn(turn) else turn - 1

    def _turn(self, turn: int) -> bool:
        """Of a band by its number: the source's, or that of a stage; whether it could do anything."""
        stage = turn - len(self.bands) + len(self.piece.outputs)
        if stage < 0:
            return self._pad(self.piece.banded[0].name)
        name, wanted, rows, stride, ahead, inputs = self.stages[stage]
        row = self.end[name]
        if row >= wanted:
            return self._pad(name)
        needed = row * stride + ahead
        for x in inputs:
            if self.end[x] < needed:
                return False
        self._take(name, rows)
        self.turns.append(stage)
        return True

    def _pad(self, name: str) -> bool:
        band = self.bands[name]
        if not band.height <= self.end[name] < band.wanted:
            return False
        self._take(name, 1)
        self.filled_bytes += band.row_bytes
        return True

    def _take(self, name: str, rows: int) -> None:
        """Append rows to a band, and drop those that nobody reads any more."""
        band, end = self.bands[name], self.end[name]
        keep = -band.above if band.whole else self.first_wanted(name)
        self.most[name] = max(self.most[name], end - keep + rows)
        if end - self.first[name] + rows > band.capacity:
            self.moved_bytes += (end - keep) * band.row_bytes
            self.first[name] = keep
        if band.whole:
            self._lead(name, end + rows)
        limit = band.height if end < band.height else band.wanted
        self.end[name] = min(end + rows, limit)

    def first_wanted(self, name: str) -> int:
        """The first row of a band that a window will still reach."""
        return min([self.end[name], *(w.first(self.end[output]) for output, w in self.readers[name])])

    def _read_rows(self, tensor: QTensor) -> int:
        """How many rows of a tensor that was there before are read for the last time."""
        wanted = [
            window.first(self.end[output])
            for output, window in self.readers[tensor.name]
            if self.end[output] < min(self.bands[output].wanted, self.bands[output].height)
        ]
        return max(0, min([row_count(tensor.shape), *wanted]))

    def _lead(self, name: str, rows: int) -> None:
        """So many rows of a whole band are written: how far is it ahead of those read for the last time?"""
        band = self.bands[name]
        written = band_lead_bytes(band) + rows * band.row_bytes
        for tensor in self.piece.outside:
            rows_read = self.fed if tensor is self.piece.source else self._read_rows(tensor)
            read = rows_read * row_bytes(tensor)
            pair = name, tensor.name
            self.leads_bytes[pair] = max(self.leads_bytes.get(pair, 0), written - read, 0)
