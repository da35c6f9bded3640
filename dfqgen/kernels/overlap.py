"""How far an output may run into its input, for kernels that slide windows in raster order."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.qtype import Array
from dfqgen.ops.windows import Pads

NEVER_READ = np.iinfo(np.int64).max


def window_first_reads(
    image: tuple[int, ...], outputs: tuple[int, ...], stride: tuple[int, int], pads: Pads
) -> Array:
    """Lowest input pixel that each output pixel's window may read, int64 [OH * OW], raster order.

    A window wholly in the padding counts as reading its nearest pixel, which is on the safe side.
    """
    rows = np.clip(np.arange(outputs[0]) * stride[0] - pads.top, 0, image[0] - 1)
    columns = np.clip(np.arange(outputs[1]) * stride[1] - pads.left, 0, image[1] - 1)
    return (rows[:, None] * image[1] + columns[None, :]).astype(np.int64).reshape(-1)


def block_lead_bytes(
    first_reads: Array, blocks: Array, in_channels: int, out_channels: int, *, reads_block_first: bool
) -> int:
    """Lead of a kernel that writes whole pixels block by block.

    `blocks` [OH * OW] numbers the block of each output pixel, rising. With `reads_block_first` a
    block's input is read (or copied) before any of its outputs is written.
    """
    # lowest[p]: the lowest pixel that output pixel p or a later one reads.
    lowest = np.minimum.accumulate(first_reads[::-1])[::-1]
    count = len(first_reads)
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    ends = np.append(starts[1:], count)
    still_needed = np.append(lowest[starts], NEVER_READ)
    needed = still_needed[1:] if reads_block_first else still_needed[:-1]
    live = needed != NEVER_READ
    if not live.any():
        return 0
    return max(0, int(np.max(ends[live] * out_channels - needed[live] * in_channels)))


def pixel_pairs(outputs: tuple[int, ...]) -> Array:
    """Block numbers of a kernel that takes two neighbouring pixels of a row at a time."""
    pairs = (outputs[1] + 1) // 2
    return (np.arange(outputs[0])[:, None] * pairs + np.arange(outputs[1])[None, :] // 2).reshape(-1)


def rows(outputs: tuple[int, ...]) -> Array:
    """Block numbers of a kernel that writes a row at a time."""
    return np.repeat(np.arange(outputs[0]), outputs[1])
