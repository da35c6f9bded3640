"""Kernels for cores with Helium (MVE); importing this registers them."""

from dfqgen.kernels.mve import conv, depthwise, elementwise, gemm, packed, recurrent, wide

__all__ = ["conv", "depthwise", "elementwise", "gemm", "packed", "recurrent", "wide"]
