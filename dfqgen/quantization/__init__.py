"""The bridge between the float graph and the fixed-point program."""

from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.prepare import Prepared, prepare
from dfqgen.quantization.quantize import quantize_graph

__all__ = ["InputMeaning", "Prepared", "QuantizeOptions", "prepare", "quantize_graph"]
