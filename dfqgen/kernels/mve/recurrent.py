"""Recurrent layers on Helium, each from zeros and from initial states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor, Work
from dfqgen.kernels.base import ConstArray, OpT, channel_array
from dfqgen.kernels.mve.gemm import LANES, TILE, pack_in_order, round_up
from dfqgen.kernels.packing import PACKED_TYPES, VECTOR, pack, padded_size, wrap_int32
from dfqgen.kernels.portable.recurrent import RecurrentS16S8Kernel, register, words_of_state
from dfqgen.kernels.portable.wide import is_wide
from dfqgen.ops.gates import GateRows
from dfqgen.ops.recurrent_integer import QRecurrent
from dfqgen.targets import Isa

UNPACKED_ROWS = 16
"""Rows of few bits that are in scratch together."""


class MveRecurrentKernel(RecurrentS16S8Kernel[OpT]):
    """Rows in tiles of four."""

    header = "mve/dfq_recurrent_s16s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        assert isinstance(op, QRecurrent)
        return words_of_state(op) and super().supports(op, inputs, output)

    def weight_array(self, role: str, rows: GateRows) -> ConstArray:
        """Of the weights alone."""
        weight = pack_in_order(rows.weight, LANES).reshape(-1)
        return ConstArray(f"{role}_weight", weight, "in tiles of four rows")

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        bias = rows.bias.astype(np.int64)
        if not narrow:  # low bytes are 128 less than they are
            bias += 128 * rows.weight.astype(np.int64).sum(axis=1)
        tail = (0, -rows.rows % TILE)
        return (
            self.weight_array(role, rows),
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


class MvePackedRecurrentKernel(MveRecurrentKernel[OpT]):
    """Tiles of fewer bits, four of them unpacked at a time."""

    header = "mve/dfq_recurrent_s16sn_mve.h"
    weight_types = PACKED_TYPES

    def weight_array(self, role: str, rows: GateRows) -> ConstArray:
        words = pack(pack_in_order(rows.weight, LANES), rows.weight_type, VECTOR)
        return ConstArray(f"{role}_words", words, f"{rows.weight_type.bits} bits each, in tiles of four rows")

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        assert isinstance(op, QRecurrent)
        longest = max(round_up(rows.depth, LANES) for rows in op.all_rows)
        # A group may begin before the rows.
        return super().scratch_bytes(op, inputs, output) + padded_size(UNPACKED_ROWS * longest + 1, VECTOR)


register(MveRecurrentKernel, "s16s8_mve")
register(MvePackedRecurrentKernel, "s16sn_mve")
