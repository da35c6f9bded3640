"""Kernels in portable C99, for every target; importing this registers them."""

from dfqgen.kernels.portable import (
    broadcast,
    conv,
    elementwise,
    lanes,
    movement,
    packed,
    pool,
    recurrent,
    resize,
    softmax,
    take,
    wide,
    wide_conv,
    wide_lanes,
    wide_pairs,
    winograd,
)

__all__ = [
    "broadcast",
    "conv",
    "elementwise",
    "lanes",
    "movement",
    "packed",
    "pool",
    "recurrent",
    "resize",
    "softmax",
    "take",
    "wide",
    "wide_conv",
    "wide_lanes",
    "wide_pairs",
    "winograd",
]
