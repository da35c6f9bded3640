"""Layers row by row: which may be, how many rows of each tensor they need, and in what order they take turns.

Of the layers for whose next block of output rows all rows are there, the last one always runs, and a row is
dropped when no window will reach it again: nothing is computed twice. What is kept is found by running that
schedule, on row numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.kernels.rows import Band, RowBlock, Segment
from dfqgen.plan.workload import align, band_lead_bytes


def with_rows(tensor: QTensor, rows: int) -> QTensor:
    """The type of so many rows of an image."""
    return replace(tensor, shape=(1, rows, *tensor.shape[2:]))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The operators of a segment by their blocks; `kept`: tensors that something after the segment reads."""

    source: QTensor
    outputs: tuple[QTensor, ...]
    inputs: tuple[tuple[str, ...], ...]
    blocks: tuple[RowBlock, ...]
    scratch_bytes: tuple[int, ...]
    kept: frozenset[str]

    def readers(self, tensor: str) -> list[int]:
        return [index for index, names in enumerate(self.inputs) if tensor in names]

    def has_bands(self) -> bool:
        """Whether the padding around each tensor is of one value."""
        return _bands(self) is not None

    def windows(self) -> dict[str, tuple[tuple[str, RowWindow], ...]]:
        """By tensor, what it is read for: the outputs, and the windows they are made through."""
        names = [self.source.name, *(tensor.name for tensor in self.outputs)]
        return {
            name: tuple((self.outputs[r].name, self.blocks[r].window) for r in self.readers(name))
            for name in names
        }

    def shorter(self, count: int) -> Piece:
        """The first `count` operators."""
        names = {tensor.name for tensor in self.outputs[:count]}
        later = {name for reads in self.inputs[count:] for name in reads}
        return Piece(
            self.source,
            self.outputs[:count],
            self.inputs[:count],
            self.blocks[:count],
            self.scratch_bytes[:count],
            frozenset((self.kept | later) & names),
        )


def segment(piece: Piece, *, fed: bool) -> Segment | None:
    """The bands and turns of a piece; None where windows ask for padding of two values around a tensor."""
    bands = _bands(piece)
    if bands is None:
        return None
    run = _Run(piece, bands)
    run.all()
    bands = {name: replace(band, capacity=run.most[name]) for name, band in bands.items()}
    run = _Run(piece, bands)  # once more: how much is moved depends on the room there is
    run.all()
    return Segment(
        source=piece.source.name,
        fed=fed,
        blocks=piece.blocks,
        bands=bands | _laid_over(piece, bands),
        turns=tuple(run.turns),
        resume=run.resume,
        leads_bytes={name: align(lead) for name, lead in run.leads_bytes.items()},
        moved_bytes=run.moved_bytes,
        filled_bytes=run.filled_bytes,
    )


def _bands(piece: Piece) -> dict[str, Band] | None:
    """Of all tensors, capacities open: how many rows are wanted, from the end to the source."""
    bands: dict[str, Band] = {}
    for tensor in reversed((piece.source, *piece.outputs)):
        height, above, paddings = tensor.shape[1], 0, set()
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


def _laid_over(piece: Piece, bands: Mapping[str, Band]) -> dict[str, Band]:
    """The bands that may lie over rows of what they are computed from.

    The window is all that is there of those, nothing else reads them, and the next row comes when all that
    was made of them has been read: by layers of one input that take it a row at a time, as it comes.
    """
    found: dict[str, Band] = {}
    for index, (output, names, block) in enumerate(
        zip(piece.outputs, piece.inputs, piece.blocks, strict=True)
    ):
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
    leads_bytes: dict[str, int] = field(default_factory=dict)
    moved_bytes: int = 0
    filled_bytes: int = 0
    fed: int = 0
    resume: tuple[int, ...] = ()
    readers: dict[str, tuple[tuple[str, RowWindow], ...]] = field(default_factory=dict)

    def all(self) -> None:
        """From the first row of the source to the last row of everything."""
        source = self.piece.source.name
        self.readers = self.piece.windows()
        names = list(self.bands)
        self.resume = tuple(
            max([number, *(reader + 1 for reader in self.piece.readers(name))])
            for number, name in enumerate(names)
        )
        for name, band in self.bands.items():
            self.first[name], self.end[name] = -band.above, 0
            self.most[name] = band.above
            self.filled_bytes += band.above * band.row_bytes
            if band.whole:
                self._lead(name, 0)
        band = self.bands[source]
        while self.fed < band.height:
            self.fed += 1
            if self.end[source] < min(band.wanted, band.height):
                self._take(source, 1)
                self.filled_bytes += band.row_bytes
            turn = self.resume[0]
            while turn >= 0:
                turn = self.resume[turn] if self._turn(turn) else turn - 1

    def _turn(self, turn: int) -> bool:
        """The source's, which is number 0, or that of a stage; whether it could do anything."""
        if turn == 0:
            return self._pad(self.piece.source.name)
        stage = turn - 1
        block, name = self.piece.blocks[stage], self.piece.outputs[stage].name
        band, row = self.bands[name], self.end[name]
        if row >= min(band.wanted, band.height):
            return self._pad(name)
        needed = block.window.end(row + block.rows - 1)
        if any(self.end[x] < needed for x in self.piece.inputs[stage]):
            return False
        self._take(name, block.rows)
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
        limit = band.height if end < band.height else band.wanted
        self.end[name] = min(end + rows, limit)
        if band.whole:
            self._lead(name, end + rows)

    def first_wanted(self, name: str) -> int:
        """The first row of a band that a window will still reach."""
        return min([self.end[name], *(w.first(self.end[output]) for output, w in self.readers[name])])

    def _lead(self, name: str, rows: int) -> None:
        """So many rows of a whole band are written when `fed` rows of the source have been read."""
        band, source = self.bands[name], self.bands[self.piece.source.name]
        written = band_lead_bytes(band) + rows * band.row_bytes
        free = self.fed * source.row_bytes
        self.leads_bytes[name] = max(self.leads_bytes.get(name, 0), written - free, 0)
