"""The part of a plan that runs row by row: operators in blocks of rows, and what is kept of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.rows import RowWindow


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
        return self.tensor.shape[1]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.tensor.shape[2:]) * self.tensor.qtype.dtype.carrier.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The first steps of a plan, which take turns: each makes its next block when its rows are there.

    `blocks` are the steps' in order, `bands` those of all their tensors; first comes that of `source`, the
    program input they are computed from. `fed`: its rows come from the caller and are nowhere else in memory;
    otherwise it lies in the arena. `turns` are the steps in the order in which their blocks run. `resume` has
    for the source and for each step the number, counted likewise, of the last step that reads it, or its own.
    `leads_bytes`: how far below the whole source each whole band must start to be allowed to overwrite it.
    `moved_bytes` are copied to make room in bands, `filled_bytes` are rows copied in and padding.
    """

    source: str
    fed: bool
    blocks: tuple[RowBlock, ...]
    bands: Mapping[str, Band]
    turns: tuple[int, ...]
    resume: tuple[int, ...]
    leads_bytes: Mapping[str, int]
    moved_bytes: int
    filled_bytes: int

    def __len__(self) -> int:
        return len(self.blocks)
