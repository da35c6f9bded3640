"""Recurrent layers on the Arm DSP extension, each from zeros and from initial states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import ConstArray, OpT
from dfqgen.kernels.dsp.matmul import BLOCK, round_up
from dfqgen.kernels.packing import wrap_int32
from dfqgen.kernels.portable.recurrent import RecurrentS16S8Kernel, register, words_of_state
from dfqgen.ops.gates import GateRows
from dfqgen.ops.recurrent_integer import QRecurrent
from dfqgen.targets import Isa


def pack_gates(rows: GateRows) -> Array:
    """The words int32 of rows as dfq_recurrent_s16s8_dsp.h says."""
    blocks, depth = -(-rows.rows // BLOCK), round_up(rows.depth, 4)
    spare = blocks * BLOCK - rows.rows
    weight = np.pad(rows.weight.astype(np.int64), ((0, spare), (0, depth - rows.depth)))
    # A half word holds 256 * odd + even: borrow where the even row's byte is negative.
    weight[1::2] -= weight[::2] < 0
    # [block, pair of rows, row, pair of inputs, input]; a word is {c0[k], c1[k], c0[k+1], c1[k+1]}
    lanes = weight.reshape(blocks, 2, 2, depth // 2, 2).transpose(0, 3, 1, 4, 2).reshape(blocks, depth, 4)
    words = np.ascontiguousarray(lanes.astype(np.uint8)).view("<i4").reshape(blocks, depth)
    bias = np.pad(rows.bias.astype(np.int64), (0, spare))
    both = 256 * bias[1::2] + bias[::2]
    first = np.stack([bias[::2], both, both >> 32], axis=1).reshape(blocks, 6)
    last = np.pad(rows.multiplier, (0, spare)).reshape(blocks, BLOCK)
    return np.concatenate([wrap_int32(first), words, wrap_int32(last)], axis=1).reshape(-1)


def pack_fields(rows: GateRows) -> Array:
    """The words int32 of rows as dfq_recurrent_s16sn_dsp.h says."""
    bits, inputs = rows.weight_type.bits, inputs_of_word(rows)
    blocks, depth = -(-rows.rows // BLOCK), round_up(rows.depth, inputs)
    spare = blocks * BLOCK - rows.rows
    weight = np.pad(rows.weight.astype(np.int64), ((0, spare), (0, depth - rows.depth)))
    # [block, row, word, pair of inputs, input]
    values = (weight - rows.weight_type.minimum).reshape(blocks, BLOCK, depth // inputs, inputs // 2, 2)
    places = bits * np.arange(inputs // 2)[:, None] + np.array([0, 16])
    words = (values << places).sum(axis=(3, 4)).transpose(0, 2, 1).reshape(blocks, -1)
    bias = np.pad(rows.bias.astype(np.int64), (0, spare)).reshape(blocks, BLOCK)
    last = np.pad(rows.multiplier, (0, spare)).reshape(blocks, BLOCK)
    return wrap_int32(np.concatenate([bias, words, last], axis=1)).reshape(-1)


def inputs_of_word(rows: GateRows) -> int:
    """Weights of few bits in a word."""
    return 32 // rows.weight_type.bits


def can_pair(op: QRecurrent) -> bool:
    """Whether 256 times a weight and another one are int16: -128 beside a negative one is not."""
    return all(weight.min(initial=0) > -128 for weight, _ in op.weights)


class DspRecurrentKernel(RecurrentS16S8Kernel[OpT]):
    """Rows in streams of blocks of four."""

    header = "dsp/dfq_recurrent_s16s8_dsp.h"
    isa = Isa.DSP

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        assert isinstance(op, QRecurrent)
        return words_of_state(op) and can_pair(op) and super().supports(op, inputs, output)

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        comment = "biases, weights in blocks of four rows, multipliers"
        return (ConstArray(f"{role}_stream", pack_gates(rows), comment),)

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        return super().scratch_bytes(op, inputs, output) + 2 * (-inputs[0].shape[2] % BLOCK)


class DspFieldsRecurrentKernel(RecurrentS16S8Kernel[OpT]):
    """Streams of words of 4-bit and 2-bit weights."""

    header = "dsp/dfq_recurrent_s16sn_dsp.h"
    isa = Isa.DSP
    weight_types = (IntType.INT4, IntType.INT2)

    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        assert isinstance(op, QRecurrent)
        return words_of_state(op) and super().supports(op, inputs, output)

    def rows_arrays(self, role: str, rows: GateRows, *, narrow: bool) -> tuple[ConstArray, ...]:
        comment = f"biases, {rows.weight_type.bits}-bit weights in blocks of four rows, multipliers"
        return (ConstArray(f"{role}_stream", pack_fields(rows), comment),)

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        assert isinstance(op, QRecurrent)
        # Any column may be the last thing in scratch.
        beyond = max(-rows.depth % inputs_of_word(rows) for rows in op.all_rows)
        return super().scratch_bytes(op, inputs, output) + 2 * beyond


register(DspRecurrentKernel, "s16s8_dsp")
register(DspFieldsRecurrentKernel, "s16sn_dsp")
