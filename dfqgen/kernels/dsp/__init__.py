"""Kernels for cores with the DSP extension (Armv7E-M, Armv8-M); importing this registers them."""

from dfqgen.kernels.dsp import (
    conv,
    depthwise,
    elementwise,
    low_bits,
    low_depthwise,
    matmul,
    recurrent,
    wide,
    wide_depthwise,
    winograd,
)

__all__ = [
    "conv",
    "depthwise",
    "elementwise",
    "low_bits",
    "low_depthwise",
    "matmul",
    "recurrent",
    "wide",
    "wide_depthwise",
    "winograd",
]
