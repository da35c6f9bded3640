"""The kernels the compiler chooses from; importing this registers all of them."""

from dfqgen.kernels import conv, elementwise, movement, pool, softmax
from dfqgen.kernels.base import REGISTRY

__all__ = ["REGISTRY", "conv", "elementwise", "movement", "pool", "softmax"]
