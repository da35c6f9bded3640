"""dfqgen: float ONNX networks to fixed-point C for microcontrollers, without training data."""

import importlib.metadata

__version__ = importlib.metadata.version("dfqgen")

from dfqgen.compilation import CompileOptions
from dfqgen.frontend import load
from dfqgen.pipeline import BuildOptions, BuildResult, build, quantize, verify
from dfqgen.quantization.options import InputMeaning, QuantizeOptions

__all__ = [
    "BuildOptions",
    "BuildResult",
    "CompileOptions",
    "InputMeaning",
    "QuantizeOptions",
    "build",
    "load",
    "quantize",
    "verify",
]
