"""Packing of weights for the matrix products of the Arm DSP kernels (runtime_c/arm_dsp/dfq_dsp_matmul.h)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import ConstArray, Field
from dfqgen.ops.conv import QConv2D

BLOCK = 4
"""Output channels computed together."""
EXACT_LIMIT = 1 << 23
"""The paired form keeps 24 bits of a sum."""


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def is_int8(*tensors: QTensor) -> bool:
    return all(tensor.qtype.dtype is IntType.INT8 for tensor in tensors)


@dataclass(frozen=True, slots=True, eq=False)
class MatmulCode:
    """Designators of the member `matmul` (dfq_dsp_matmul_t) and the constants they point to."""

    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...]
    depth: int


def matmul_code(op: QConv2D, x: QTensor) -> MatmulCode:
    """The stream of an ungrouped convolution; inputs are gathered in the weight's order, [kh, kw, cin]."""
    form = op.requantize
    weight = op.weight.reshape(op.out_channels, -1).astype(np.int64)
    paired = can_pair(weight, op.largest_accumulator(x), form.pre_shift)
    stream = pack_stream(weight, op.bias, form.multiplier, paired=paired)
    depth = round_up(weight.shape[1], 4)
    bounds = bounds_code("matmul.bounds", form.lo, form.hi)
    fields = (
        Field("matmul.stream", "weight"),
        Field("matmul.depth", depth),
        Field("matmul.out_channels", op.out_channels),
        Field("matmul.zero_point", form.zero_point),
        *(() if paired else (Field("matmul.plain", 1), Field("matmul.pre_shift", form.pre_shift))),
        *bounds.fields,
    )
    comment = "biases, weights in blocks of four channels, multipliers"
    return MatmulCode(fields, (ConstArray("weight", stream, comment), *bounds.arrays), depth)


def can_pair(weight: Array, largest: Array, pre_shift: int) -> bool:
    """Whether two channels of weight [Cout, K] fit one int16 and the odd ones' sums 24 bits."""
    if pre_shift or np.any(largest[1::2] >= EXACT_LIMIT):
        return False
    padded = np.pad(weight, ((0, len(weight) % 2), (0, 0)))
    return bool(np.all(256 * padded[1::2] + padded[::2] >= -(1 << 15)))


def pack_stream(weight: Array, bias: Array, multiplier: Array, *, paired: bool) -> Array:
    """Words int32 of weight [Cout, K], bias and multiplier [Cout], in the layout of dfq_dsp_matmul.h."""
    channels, inputs = weight.shape
    blocks = -(-channels // BLOCK)
    spare = blocks * BLOCK - channels
    depth = round_up(inputs, 4)
    weight = np.pad(weight.astype(np.int64), ((0, spare), (0, depth - inputs)))
    first = np.pad(bias.astype(np.int64), (0, spare))
    if paired:
        # A half word holds 256 * odd + even: borrow where the even channel's byte is negative.
        weight[1::2] -= weight[::2] < 0
        first[1::2] = 256 * first[1::2] + first[::2]
    # [block, pair of channels, channel, group of four, second of two, odd input or not]
    lanes = weight.reshape(blocks, 2, 2, depth // 4, 2, 2)
    # One word holds {c0[k], c1[k], c0[k+2], c1[k+2]}; words run over pairs of channels, then k+1.
    lanes = lanes.transpose(0, 3, 5, 1, 4, 2).reshape(blocks, depth, 4)
    words = np.ascontiguousarray(lanes.astype(np.uint8)).view("<i4").reshape(blocks, depth)
    last = np.pad(multiplier.astype(np.int64), (0, spare)).reshape(blocks, BLOCK)
    columns = (wrap_int32(first).reshape(blocks, BLOCK), words, wrap_int32(last))
    return np.concatenate(columns, axis=1).reshape(-1)


def wrap_int32(values: Array) -> Array:
    """Integers modulo 2**32, as int32."""
    return (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class BoundsCode:
    """Designators of a dfq_dsp_bounds_t, and its tables."""

    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...]


def bounds_code(member: str, lo: Array, hi: Array) -> BoundsCode:
    """Kernels saturate to int8; only what is left to clamp becomes code and tables."""
    if is_int8_range(lo, hi):
        return BoundsCode((), ())
    fields = [Field(f"{member}.narrow", 1)]
    arrays = []
    for name, values in (("lo", lo), ("hi", hi)):
        if np.all(values == values[0]):
            fields.append(Field(f"{member}.{name}", int(values[0])))
        else:
            arrays.append(ConstArray(f"{name}s", values.astype(np.int8)))
            fields.append(Field(f"{member}.{name}s", f"{name}s"))
    return BoundsCode(tuple(fields), tuple(arrays))


def is_int8_range(lo: Array, hi: Array) -> bool:
    return bool(np.all(lo <= -128) and np.all(hi >= 127))


def clamp_cost(lo: Array, hi: Array, elements: int) -> float:
    """Instructions of dfq_dsp_clamp over an output."""
    return 0.0 if is_int8_range(lo, hi) else 3.0 * elements
