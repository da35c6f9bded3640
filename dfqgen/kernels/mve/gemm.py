"""Constants of the Helium kernels as they read them."""

from __future__ import annotations

import numpy as np

from dfqgen.fixedpoint.qtype import Array, Requantize
from dfqgen.kernels.base import ConstArray, Field, channel_array
from dfqgen.kernels.requantize import real_factor

LANES = 16
"""Bytes of a vector, and channels of a block."""
TILE = 4
"""Channels that share the activations of a step."""


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def tile_channels(channels: int) -> Array:
    """Channel of each lane of each tile, int64 [tiles, 4]; -1 where a lane has none.

    Narrowing takes lanes from two vectors in turn. So that channels come out in order, lane j of
    tile t of a block of 16 is channel 4 j + t; the last, smaller block keeps its own order.
    """
    whole = channels // LANES * LANES
    blocks = np.arange(whole).reshape(-1, TILE, TILE).transpose(0, 2, 1).reshape(-1, TILE)
    rest = np.full(round_up(channels - whole, TILE), -1)
    rest[: channels - whole] = np.arange(whole, channels)
    return np.concatenate([blocks, rest.reshape(-1, TILE)])


def pack_lanes(values: Array, order: Array) -> Array:
    """values [channels, ...] in an order of lanes, zeros where a lane has no channel (-1)."""
    lanes = order.reshape(-1)
    packed = values[np.maximum(lanes, 0)].copy()
    packed[lanes < 0] = 0
    return packed


def pack_weight(rows: Array) -> Array:
    """rows [channels, depth] as [tile][step of 16 depths][4 channels][16], int8."""
    channels, depth = rows.shape
    padded = np.zeros((channels, round_up(depth, LANES)), np.int8)
    padded[:, :depth] = rows
    tiles = pack_lanes(padded, tile_channels(channels)).reshape(-1, TILE, padded.shape[1] // LANES, LANES)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(-1)


def pack_in_order(rows: Array, lanes: int) -> Array:
    """rows [channels, depth] as [tile][step][4 channels][lanes], int8 [tiles, ...], channels in order."""
    channels, depth = rows.shape
    padded = np.zeros((round_up(channels, TILE), round_up(depth, lanes)), np.int8)
    padded[:channels, :depth] = rows
    tiles = padded.reshape(-1, TILE, padded.shape[1] // lanes, lanes).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(len(tiles), -1)


def linear_code(
    form: Requantize, bias: Array, weight: ConstArray, depth: int, order: Array | None = None
) -> tuple[Field, tuple[ConstArray, ...]]:
    """The `dfq_mve_linear_t` of packed weights, and its tables.

    Bias and multipliers are in the `order` of lanes or, for kernels that go channel by channel, as they
    are; these have one path for bounds and pre-shift together.
    """
    channels = len(bias)
    shifted = bias.astype(np.int64) << form.pre_shift
    multiplier = form.multiplier
    if order is not None:
        shifted, multiplier = pack_lanes(shifted, order), pack_lanes(multiplier, order)
    fields = [
        Field("weight", "weight"),
        Field("bias", "bias"),
        Field("multipliers", "multipliers", real_factor(form)),
        Field("depth", depth),
        Field("channels", channels),
        *(() if order is None else (Field("pitch", channels),)),
        Field("pre_shift", form.pre_shift),
        Field("zero_point", form.zero_point),
    ]
    arrays = [
        weight,
        channel_array("bias", shifted, "int32"),
        channel_array("multipliers", multiplier, "int32"),
    ]
    if is_narrow(form) or (form.pre_shift and order is None):
        fields += [Field("los", "los"), Field("his", "his")]
        arrays += [channel_array("los", form.lo, "int8"), channel_array("his", form.hi, "int8")]
    return Field("linear", tuple(fields)), tuple(arrays)


def is_narrow(form: Requantize) -> bool:
    """Whether results need more than saturation."""
    return bool(np.any(form.lo > -128) or np.any(form.hi < 127))
