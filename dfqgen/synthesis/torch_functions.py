"""The functions of one number in `dfqgen.ops.functions`, differentiable: name -> f(x, parameter)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dfqgen.ops.functions import LARGEST_EXPONENT, SMALLEST_DIVISOR, SMALLEST_LOG

TorchFunction = Callable[[Tensor, float], Tensor]

# Keeps the gradient of the square root finite at 0, far below what float32 results show.
SMALLEST_SQUARE = 1e-20


def power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent; 0, without a gradient, where that is no real number."""
    real = x != 0 if float(exponent).is_integer() else x > 0
    at_zero = {True: 1e30, False: 1.0 if exponent == 0 else 0.0}[exponent < 0]
    safe = torch.where(real, x, 1.0)
    return torch.where(real, torch.pow(safe, exponent), torch.where(x == 0, at_zero, 0.0))


def reciprocal(x: Tensor) -> Tensor:
    """1 / x, of at most 10000."""
    smallest = torch.copysign(torch.full_like(x, SMALLEST_DIVISOR), x)
    return 1.0 / torch.where(x.abs() < SMALLEST_DIVISOR, smallest, x)


TORCH_FUNCTIONS: Mapping[str, TorchFunction] = {
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "tanh": lambda x, _: torch.tanh(x),
    "erf": lambda x, _: torch.erf(x),
    "exp": lambda x, _: torch.exp(x.clamp(max=LARGEST_EXPONENT)),
    "log": lambda x, _: torch.log(x.clamp(min=SMALLEST_LOG)),
    "sqrt": lambda x, _: torch.sqrt(x.clamp(min=SMALLEST_SQUARE)),
    "reciprocal": lambda x, _: reciprocal(x),
    "pow": power,
    "abs": lambda x, _: x.abs(),
    "sign": lambda x, _: torch.sign(x),
    "floor": lambda x, _: torch.floor(x),
    "ceil": lambda x, _: torch.ceil(x),
    "round": lambda x, _: torch.round(x),
    "sin": lambda x, _: torch.sin(x),
    "cos": lambda x, _: torch.cos(x),
    "atan": lambda x, _: torch.atan(x),
    "softplus": lambda x, _: F.softplus(x),
    "softsign": lambda x, _: F.softsign(x),
    "leaky_relu": lambda x, alpha: F.leaky_relu(x, alpha),
    "elu": lambda x, alpha: F.elu(x, alpha),
    "celu": lambda x, alpha: torch.where(x < 0, alpha * torch.expm1(x.clamp(max=0.0) / alpha), x),
    "thresholded_relu": lambda x, alpha: F.threshold(x, alpha, 0.0),
    "swish": lambda x, alpha: x * torch.sigmoid(alpha * x),
    "gelu": lambda x, _: F.gelu(x),
    "gelu_tanh": lambda x, _: F.gelu(x, approximate="tanh"),
    "mish": lambda x, _: F.mish(x),
}
