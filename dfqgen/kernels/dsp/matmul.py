"""Packing of weights for the matrix products of the Arm DSP kernels (runtime_c/dsp/dfq_dsp_matmul.h)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import ConstArray, Field
from dfqgen.kernels.packing import wrap_int32
from dfqgen.ops.conv import QConv2D

BLOCK = 4
"""Output channels computed together."""
EXACT_LIMIT = 1 << 23
"""The paired form keeps 24 bits of a sum."""


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def is_int8(*tensors: QTensor) -> bool:
    return all(tensor.qtype.dtype is IntType.INT8 for tensor in tensors)


def is_int8_layer(op: QConv2D, *tensors: QTensor) -> bool:
    """Activations and weights of eight bits."""
    return op.weight_type is IntType.INT8 and is_int8(*tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Weight [Cout, K], bias and multiplier [Cout], int64, of a layer, and its pre-shift."""

    weight: Array
    bias: Array
    multiplier: Array
    pre_shift: int

    @property
    def largest(self) -> Array:
        """Upper bound [Cout] of |bias + any partial sum| over int8 inputs."""
        return np.abs(self.bias) + 128 * np.abs(self.weight).sum(axis=1)


def rows_of(op: QConv2D, output: IntType = IntType.INT8) -> Rows:
    """The layer's rows, without a pre-shift where the same outputs can be had without.

    One channel with a factor of 1/2 or more makes the whole layer shift; mostly it is a dead one, whose
    weights are all zero. Its output is a constant, which any bias and multiplier may produce. In other
    channels the shift goes into the multiplier, or into small weights.
    """
    form = op.requantize
    weight = op.weight.reshape(op.out_channels, -1).astype(np.int64)
    bias, multiplier = op.bias.astype(np.int64), form.multiplier.astype(np.int64)
    shift = form.pre_shift
    constant = ~weight.any(axis=1)
    product = ((bias << shift) * multiplier + (1 << 31)) >> 32
    value = np.clip(form.zero_point + product, output.minimum, output.maximum) - form.zero_point
    fits = (multiplier << shift) < 1 << 31
    scaled = np.where(fits[:, None], weight, weight << shift)
    if not np.all(constant | (np.abs(scaled).max(axis=1) <= 127) | fits):
        return Rows(weight, bias, multiplier, shift)
    return Rows(
        scaled,
        np.where(constant, value << 2, np.where(fits, bias, bias << shift)),
        np.where(constant, 1 << 30, np.where(fits, multiplier << shift, multiplier)),
        0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class MatmulCode:
    """The fields `matmul` (dfq_dsp_matmul_t) and `bounds`, and the constants they point to."""

    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...]
    depth: int


def matmul_code(op: QConv2D) -> MatmulCode:
    """The stream of an ungrouped convolution; inputs are gathered in the weight's order, [kh, kw, cin]."""
    form = op.requantize
    rows = rows_of(op)
    paired = can_pair(rows)
    depth = round_up(rows.weight.shape[1], 4)
    bounds = bounds_code(form.lo, form.hi)
    members = (
        Field("stream", "weight"),
        Field("depth", depth),
        Field("out_channels", op.out_channels),
        Field("zero_point", form.zero_point),
        *(() if paired else (Field("plain", 1), Field("pre_shift", rows.pre_shift))),
    )
    comment = "biases, weights in blocks of four channels, multipliers"
    stream = ConstArray("weight", pack_stream(rows, paired=paired), comment)
    return MatmulCode((Field("matmul", members), *bounds.fields), (stream, *bounds.arrays), depth)


def can_pair(rows: Rows) -> bool:
    """Whether two channels of the weights fit one int16 and the odd ones' sums 24 bits."""
    if rows.pre_shift or np.any(rows.largest[1::2] >= EXACT_LIMIT):
        return False
    padded = np.pad(rows.weight, ((0, len(rows.weight) % 2), (0, 0)))
    return bool(np.all(256 * padded[1::2] + padded[::2] >= -(1 << 15)))


def pack_stream(rows: Rows, *, paired: bool) -> Array:
    """The words int32 of a layer in the layout of dfq_dsp_matmul.h."""
    channels, inputs = rows.weight.shape
    blocks = -(-channels // BLOCK)
    spare = blocks * BLOCK - channels
    depth = round_up(inputs, 4)
    weight = np.pad(rows.weight, ((0, spare), (0, depth - inputs)))
    first = np.pad(rows.bias, (0, spare))
    if paired:
        # A half word holds 256 * odd + even: borrow where the even channel's byte is negative.
        weight[1::2] -= weight[::2] < 0
        first[1::2] = 256 * first[1::2] + first[::2]
    # [block, pair of channels, channel, group of four, second of two, odd input or not]
    lanes = weight.reshape(blocks, 2, 2, depth // 4, 2, 2)
    # One word holds {c0[k], c1[k], c0[k+2], c1[k+2]}; words run over pairs of channels, then k+1.
    lanes = lanes.transpose(0, 3, 5, 1, 4, 2).reshape(blocks, depth, 4)
    words = np.ascontiguousarray(lanes.astype(np.uint8)).view("<i4").reshape(blocks, depth)
    last = np.pad(rows.multiplier, (0, spare)).reshape(blocks, BLOCK)
    columns = (wrap_int32(first).reshape(blocks, BLOCK), words, wrap_int32(last))
    return np.concatenate(columns, axis=1).reshape(-1)


def pack_few(rows: Rows) -> Array:
    """The words int32 of a layer in the layout of dfq_pointwise_few_s8s8_dsp.h; inputs fill words."""
    parts = []
    for start in range(0, len(rows.weight), 2):
        two = slice(start, start + 2)
        words = np.ascontiguousarray(rows.weight[two].astype(np.int8)).view("<i4").T.reshape(-1)
        parts += [wrap_int32(rows.bias[two]), words, wrap_int32(rows.multiplier[two])]
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class BoundsCode:
    """The field `bounds` (dfq_dsp_bounds_t) of a clamp narrower than int8, and its tables."""

    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...]


def bounds_code(lo: Array, hi: Array) -> BoundsCode:
    """Kernels saturate to int8; only what is left to clamp becomes code and tables."""
    if is_int8_range(lo, hi):
        return BoundsCode((), ())
    members = [Field("narrow", 1)]
    arrays = []
    for name, values in (("lo", lo), ("hi", hi)):
        if np.all(values == values[0]):
            members.append(Field(name, int(values[0])))
        else:
            arrays.append(ConstArray(f"{name}s", values.astype(np.int8)))
            members.append(Field(f"{name}s", f"{name}s"))
    return BoundsCode((Field("bounds", tuple(members)),), tuple(arrays))


def is_int8_range(lo: Array, hi: Array) -> bool:
    return bool(np.all(lo <= -128) and np.all(hi >= 127))
