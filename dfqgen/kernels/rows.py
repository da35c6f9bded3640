"""The part of a plan that runs row by row: operators in blocks of rows, and what is kept of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.rows import RowWindow, row_axis, row_count


def row_bytes(tensor: QTensor) -> int:
    """Of one row of an image."""
    return math.prod(tensor.shape[row_axis(tensor.shape) + 1 :]) * tensor.qtype.dtype.carrier.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """What a step of the segment is called with: its operator for `rows` output rows.

    `over`: they may be written over the first rows of the window.
    """

    op: QOp
    inputs: tuple[QTensor, ...]
    output: QTensor
    window: RowWindow
    rows: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """The rows of a tensor that are in memory, one after the other: at most `capacity` of them.

    `above` rows of `padding` come before the first; `wanted` is the number of rows that anything reads, with
    those of padding below the last. `whole`: no row is ever dropped. `over` names the band at whose start it
    lies: its rows are written over rows that nothing else reads, and are read before more come there.
    """

    tensor: QTensor
    above: int
    wanted: int
    padding: int
    capacity: int
    whole: bool
    over: str | None = None

    @property
    def height(self) -> int:
        return row_count(self.tensor.shape)

    @property
    def row_bytes(self) -> int:
        return row_bytes(self.tensor)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Steps of a plan that take turns, `begin` the first: each makes its next block when its rows are there.

    `blocks` are the steps' in order, `bands` those of all their tensors. What they read that was there before
    is read in place, but for `source`, if there is one: its rows come one by one, and its band is the first.
    `fed`: they come from the caller and are nowhere else in memory; otherwise all of it lies in the arena.
    `turns` are the steps, counted from 0, in the order in which their blocks run. `resume` has for each band
    the number of the last band that is made of it, or its own. `leads_bytes`: how far below a tensor that was
    there before each whole band must start to be allowed to overwrite it, where nothing reads that later.
    `moved_bytes` are copied to make room in bands, `filled_bytes` are rows copied in and padding.
    `instructions` is about what turns and copies take on the target, beside the kernels.
    """

    begin: int
    source: str | None
    fed: bool
    blocks: tuple[RowBlock, ...]
    bands: Mapping[str, Band]
    turns: tuple[int, ...]
    resume: tuple[int, ...]
    leads_bytes: Mapping[tuple[str, str], int]
    moved_bytes: int
    filled_bytes: int
    instructions: float = 0.0

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def end(self) -> int:
        """The number of the step after the last one."""
        return self.begin + len(self.blocks)

    @property
    def source_bands(self) -> int:
        """How many bands come before those of the steps: 1 or 0."""
        return len(self.bands) - len(self.blocks)

    @property
    def counters(self) -> str:
        """The buffer that has the state of all bands; the NUL keeps it apart from tensors."""
        return f"\0row counters {self.begin}"

    def buffer(self, tensor: str) -> str:
        """The buffer of a band: a source that lies in the arena has another one for its band."""
        over = self.bands[tensor].over
        if over is not None:
            return self.buffer(over)
        return f"\0rows of the source {self.begin}" if tensor == self.source and not self.fed else tensor
