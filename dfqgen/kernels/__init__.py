"""The kernels the compiler chooses from, by instruction set; importing this registers all of them."""

from dfqgen.kernels import dsp, mve, portable
from dfqgen.kernels.base import REGISTRY

__all__ = ["REGISTRY", "dsp", "mve", "portable"]
