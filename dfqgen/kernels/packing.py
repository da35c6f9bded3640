"""Weights of 2, 3, 4 and 6 bits in words, without a wasted bit (runtime_c/portable/dfq_unpack.h)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType

WORD, VECTOR = 4, 16
"""Bytes of a unit of packing."""
PACKED_TYPES = (IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6)

PLANES = {
    IntType.INT2: (2,),
    IntType.INT3: (2, 1),
    IntType.INT4: (4,),
    IntType.INT6: (4, 2),
}
"""Widths of the fields a weight is cut into, its upper bits first."""


def padded_size(weights: int, unit: int = WORD) -> int:
    """Weights rounded up to whole groups, which take one unit a bit."""
    return -(-weights // (8 * unit)) * 8 * unit


def packed_bytes(weights: int, dtype: IntType, unit: int = WORD) -> int:
    """Flash of a chunk of this many weights."""
    return padded_size(weights, unit) * dtype.bits // 8


def pack(weights: Array, dtype: IntType, unit: int = WORD) -> Array:
    """Weights in any shape, flattened and padded with zeros to whole groups, as uint32 words."""
    flat = weights.reshape(-1).astype(np.int64)
    padded = np.zeros(padded_size(flat.size, unit), np.int64)
    padded[: flat.size] = flat
    left = dtype.bits
    rest = (padded - dtype.minimum).reshape(-1, 8 * unit)
    columns = []
    for width in PLANES[dtype]:
        left -= width
        columns.append(_plane(rest >> left, width, unit))
        rest = rest & ((1 << left) - 1)
    return np.ascontiguousarray(np.concatenate(columns, axis=1).astype(np.uint8)).view("<u4").reshape(-1)


def pack_chunks(chunks: Iterable[Array], dtype: IntType, unit: int = WORD) -> Array:
    """Each chunk by itself, one after the other."""
    return np.concatenate([pack(chunk, dtype, unit) for chunk in chunks])


def _plane(fields: Array, width: int, unit: int) -> Array:
    """Fields [groups, 8 * unit] of `width` bits as bytes [groups, width * unit]."""
    per_byte = 8 // width
    # [group, unit, place in the byte, byte]: neighbouring weights lie in neighbouring bytes.
    places = width * np.arange(per_byte)[:, None]
    packed: Array = (fields.reshape(len(fields), width, per_byte, unit) << places).sum(axis=2)
    return packed.reshape(len(fields), width * unit)


def wrap_int32(values: Array) -> Array:
    """Integers modulo 2**32, as int32."""
    return (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
