"""The kernels the compiler chooses from; importing this registers all of them."""

from dfqgen.kernels import (
    arm_dsp,
    arm_dsp_low_bits,
    arm_dsp_low_depthwise,
    arm_mve,
    arm_mve_packed,
    broadcast,
    conv,
    elementwise,
    lanes,
    movement,
    packed,
    pool,
    resize,
    softmax,
    take,
    wide,
)
from dfqgen.kernels.base import REGISTRY

__all__ = [
    "REGISTRY",
    "arm_dsp",
    "arm_dsp_low_bits",
    "arm_dsp_low_depthwise",
    "arm_mve",
    "arm_mve_packed",
    "broadcast",
    "conv",
    "elementwise",
    "lanes",
    "movement",
    "packed",
    "pool",
    "resize",
    "softmax",
    "take",
    "wide",
]
