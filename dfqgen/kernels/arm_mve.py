"""The kernels for cores with Helium (Cortex-M55, M85); importing this registers them."""

from dfqgen.kernels import arm_mve_conv, arm_mve_depthwise, arm_mve_elementwise

__all__ = ["arm_mve_conv", "arm_mve_depthwise", "arm_mve_elementwise"]
