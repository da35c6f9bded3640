"""Rows of a table by their numbers: embeddings of tokens, classes and positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.proof import check_shape
from dfqgen.fixedpoint.qtype import Coding, IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.statistics.channel import ChannelStatistics

MOST_ROWS = 1 << 16
"""Numbers of rows are int16 at most."""


def index_coding(rows: int) -> Coding:
    """How a tensor of row numbers is stored: as they are where int8 or int16 holds them, else less 32768."""
    for bits in (8, 16):
        half = 1 << (bits - 1)
        if rows <= half:
            return Coding(1.0, 0, -half, half - 1)
    return Coding(1.0, 0, 0, MOST_ROWS - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Op):
    """x [...] -> table[x] [...,C], table [rows,C]: whole numbers; those outside it stand for the nearest."""

    table: Array

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.table.ndim != 2 or not 1 <= len(self.table) <= MOST_ROWS:
            raise ValueError(f"a table {list(self.table.shape)} is not one of 1 to {MOST_ROWS} rows")
        return (*shapes[0], int(self.table.shape[1]))

    def evaluate(self, *inputs: Array) -> Array:
        rows = np.clip(np.rint(inputs[0]), 0, len(self.table) - 1).astype(np.int64)
        return self.table[rows].astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Each row as often as any other."""
        table = self.table.astype(np.float64)
        return ChannelStatistics.normal(
            table.mean(axis=0), table.std(axis=0), table.min(axis=0), table.max(axis=0)
        )

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return IntType.INT8, IntType.INT16

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """The output has an axis more than the input."""

    def reshaped(self, before: Shape, after: Shape) -> None:
        """The output has an axis more than the input."""

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0].qtype, site.output.qtype
        return (
            QEmbedding(site.name, site.input_names, site.output.name, y.quantize(self.table), x.zero_point),
        )


@dataclass(frozen=True, slots=True, eq=False)
class QEmbedding(QOp):
    """table[clamp(x - zero_point, 0, rows - 1)], the table [rows,C] of the output's type."""

    name: str
    inputs: tuple[str, ...]
    output: str
    table: Array
    zero_point: int

    def evaluate(self, *inputs: Array) -> Array:
        return self.table[np.clip(inputs[0].astype(np.int64) - self.zero_point, 0, len(self.table) - 1)]

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        if x.qtype.scale != 1.0 or x.qtype.zero_point != self.zero_point:
            raise ProgramError(f"{self.name}: {x} does not hold numbers of rows less {-self.zero_point}")
        rows = len(self.table)
        if not 1 <= rows <= MOST_ROWS or output.shape[:-1] != x.shape:
            raise ProgramError(f"{self.name}: {x} -> {output} are no rows of a table of {rows}")
        check_shape(self.name, "the table", self.table, (rows, output.shape[-1]))
        if self.table.dtype != output.qtype.dtype.carrier:
            raise ProgramError(f"{self.name}: the table lies in {self.table.dtype}, not {output.qtype.dtype}")

    def heard(self) -> tuple[int, int]:
        return self.zero_point, self.zero_point + len(self.table) - 1

    @property
    def weight_bytes(self) -> int:
        return self.table.nbytes
