"""Layers row by row: which may be, how many rows of each tensor they need, and in what order they take turns.

Every layer of a segment runs as soon as the rows under its next block of output rows are there, and a row is
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
    kept: frozenset[str]

    def readers(self, tensor: str) -> list[int]:
        return [index for index, names in enumerate(self.inputs) if tensor in names]

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
            frozenset((self.kept | later) & names),
        )


def segment(piece: Piece, *, fed: bool) -> Segment | None:
    """The bands and turns of a piece; None where windows ask for padding of two values around a tensor."""
    bands = _bands(piece)
    if bands is None:
        return None
    run = _Run(piece, bands)
    run.all()
    return Segment(
        source=piece.source.name,
        fed=fed,
        blocks=piece.blocks,
        bands={name: replace(band, capacity=run.most[name]) for name, band in bands.items()},
        turns=tuple(run.turns),
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


def computed_rows(band: Band, block: RowBlock) -> int:
    """Rows that a stage computes: whole blocks, and so perhaps a few beyond the last, which nothing reads."""
    return -(-min(band.wanted, band.height) // block.rows) * block.rows


@dataclass
class _Run:
    """The schedule of a segment on row numbers: what the generated C does, without the data."""

    piece: Piece
    bands: Mapping[str, Band]
    end: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)
    leads_bytes: dict[str, int] = field(default_factory=dict)
    moved_bytes: int = 0
    filled_bytes: int = 0
    fed: int = 0
    readers: dict[str, tuple[tuple[str, RowWindow], ...]] = field(default_factory=dict)

    def all(self) -> None:
        """From the first row of the source to the last row of everything."""
        source = self.piece.source.name
        self.readers = self.piece.windows()
        for name, band in self.bands.items():
            self.end[name] = 0
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
            while self._turn():
                pass

    def _turn(self) -> bool:
        """Each stage once, where it can; whether any could."""
        ran = self._pad(self.piece.source.name)
        for stage, block in enumerate(self.piece.blocks):
            name = self.piece.outputs[stage].name
            band, row = self.bands[name], self.end[name]
            if row >= min(band.wanted, band.height):
                ran = self._pad(name) or ran
                continue
            needed = block.window.end(row + block.rows - 1)
            if all(self.end[x] >= needed for x in self.piece.inputs[stage]):
                self._take(name, block.rows)
                self.turns.append(stage)
                ran = True
        return ran

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
        held = end - keep + rows
        if not band.whole and end > -band.above:
            self.moved_bytes += max(0, end - keep) * band.row_bytes
        self.most[name] = max(self.most[name], held)
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
