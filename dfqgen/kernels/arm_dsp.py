"""The kernels for cores with the Arm DSP extension (Cortex-M4, M7, M33); importing this registers them."""

from dfqgen.kernels import arm_dsp_conv, arm_dsp_depthwise, arm_dsp_elementwise

__all__ = ["arm_dsp_conv", "arm_dsp_depthwise", "arm_dsp_elementwise"]
