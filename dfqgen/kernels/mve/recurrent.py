"""Recurrent layers on Helium, each from zeros and from initial states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.fixedpoint.qtype import Array
from dfqgen.kernels.base import REGISTRY, ConstArray, OpT, channel_array
from dfqgen.kernels.mve.gemm import LANES, TILE, round_up
from dfqgen.kernels.packing import wrap_int32
from dfqgen.kernels.portable.recurrent import (
    GruFromS16S8Kernel,
    GruS16S8Kernel,
    LstmFromS16S8Kernel,
    LstmS16S8Kernel,
    RecurrentS16S8Kernel,
    RnnFromS16S8Kernel,
    RnnS16S8Kernel,
)
from dfqgen.kernels.portable.wide import is_wide
from dfqgen.ops.gates import GateRows
from dfqgen.ops.recurrent_integer import QGru, QLstm, QRecurrent, QRnn
from dfqgen.targets import Isa


def pack_gates(weight: Array) -> Array:
    """Rows as [tile][step of 16 columns][4 rows][16], int8."""
    rows, depth = weight.shape
    padded = np.pad(weight, ((0, -rows % TILE), (0, -depth % LANES))).reshape(
        -(-rows // TILE), TILE, -1, LANES
    )
    return np.ascontiguousarray(padded.transpose(0, 2, 1, 3)).reshape(-1)


class MveRecurrentKernel(RecurrentS16S8Kernel[OpT]):
    """Rows in tiles of four."""

    header = "mve/dfq_recurrent_s16s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        assert isinstance(op, QRecurrent)
        even = op.units % 2 == 0 and op.of_state.depth % 2 == 0
        return even and super().supports(op, inputs, output)

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        bias = rows.bias.astype(np.int64)
        if not narrow:  # low bytes are 128 less than they are
            bias += 128 * rows.weight.astype(np.int64).sum(axis=1)
        tail = (0, -rows.rows % TILE)
        return (
            ConstArray(f"{role}_weight", pack_gates(rows.weight), "in tiles of four rows"),
            channel_array(f"{role}_bias", np.pad(wrap_int32(bias), tail), "int32"),
            channel_array(f"{role}_multipliers", np.pad(rows.multiplier, tail), "int32"),
        )

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        assert isinstance(op, QRecurrent)
        column = round_up(inputs[0].shape[2], LANES)
        # A projection's column has one element a unit.
        state = round_up(max(op.units, op.of_state.depth), LANES)
        return super().scratch_bytes(op, inputs, output) + 2 * (column + state)

    def work(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> Work:
        assert isinstance(op, QRecurrent)
        # Vectors of columns of bytes that meet the four rows of a tile.
        column = -(-inputs[0].shape[2] // LANES) * (2 if is_wide(inputs[0]) else 1)
        vectors = column + 2 * -(-op.of_state.depth // LANES)
        tiles = op.steps * -(-op.of_state.rows // TILE)
        return super().work(op, inputs, output) | {"tile_vector": float(tiles * vectors)}


class LstmS16S8MveKernel(MveRecurrentKernel[QLstm], LstmS16S8Kernel):
    """An LSTM that begins with zeros."""

    function = "dfq_lstm_s16s8_mve"


class LstmFromS16S8MveKernel(MveRecurrentKernel[QLstm], LstmFromS16S8Kernel):
    """An LSTM with initial states."""

    function = "dfq_lstm_from_s16s8_mve"


class GruS16S8MveKernel(MveRecurrentKernel[QGru], GruS16S8Kernel):
    """A GRU that begins with zeros."""

    function = "dfq_gru_s16s8_mve"


class GruFromS16S8MveKernel(MveRecurrentKernel[QGru], GruFromS16S8Kernel):
    """A GRU with an initial state."""

    function = "dfq_gru_from_s16s8_mve"


class RnnS16S8MveKernel(MveRecurrentKernel[QRnn], RnnS16S8Kernel):
    """A simple RNN that begins with zeros."""

    function = "dfq_rnn_s16s8_mve"


class RnnFromS16S8MveKernel(MveRecurrentKernel[QRnn], RnnFromS16S8Kernel):
    """A simple RNN with an initial state."""

    function = "dfq_rnn_from_s16s8_mve"


for _kernel in (
    LstmS16S8MveKernel(),
    LstmFromS16S8MveKernel(),
    GruS16S8MveKernel(),
    GruFromS16S8MveKernel(),
    RnnS16S8MveKernel(),
    RnnFromS16S8MveKernel(),
):
    REGISTRY.add(_kernel)
