"""Weights of 2, 3, 4 and 6 bits in words, without a wasted bit (runtime_c/include/dfq_packed.h)."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.qtype import Array, IntType

GROUP = 32
"""Weights that take one word a bit."""
PACKED_TYPES = (IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6)

PLANES = {
    IntType.INT2: (2,),
    IntType.INT3: (2, 1),
    IntType.INT4: (4,),
    IntType.INT6: (4, 2),
}
"""Widths of the fields a weight is cut into, its upper bits first."""


def padded_size(weights: int) -> int:
    """Weights rounded up to whole groups."""
    return -(-weights // GROUP) * GROUP


def packed_bytes(weights: int, dtype: IntType) -> int:
    """Flash of a chunk of this many weights."""
    return padded_size(weights) * dtype.bits // 8


def pack(weights: Array, dtype: IntType) -> Array:
    """Weights in any shape, flattened and padded with zeros to whole groups, as uint32 words."""
    flat = weights.reshape(-1).astype(np.int64)
    padded = np.zeros(padded_size(flat.size), np.int64)
    padded[: flat.size] = flat
    left = dtype.bits
    rest = (padded - dtype.minimum).reshape(-1, GROUP)
    columns = []
    for width in PLANES[dtype]:
        left -= width
        columns.append(_plane(rest >> left, width))
        rest = rest & ((1 << left) - 1)
    return np.concatenate(columns, axis=1).astype(np.uint32).reshape(-1)


def _plane(fields: Array, width: int) -> Array:
    """Fields [groups, 32] of `width` bits as words [groups, width]."""
    per_byte = 8 // width
    # [group, word, place in the byte, byte]: neighbouring weights lie in neighbouring bytes.
    lanes = fields.reshape(len(fields), width, per_byte, 4)
    places = width * np.arange(per_byte)[:, None] + 8 * np.arange(4)[None, :]
    words: Array = (lanes << places).sum(axis=(2, 3))
    return words
