"""Real functions of one number that operators tabulate: name -> f(x, parameter).

Arguments outside a function's domain are brought to its edge, so that a table has no hole: log(0) is the
log of a very small number, the square root of a negative one is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf, expit

Array = npt.NDArray[Any]
Function = Callable[[Array, float], Array]

SMALLEST_LOG = 1e-7
SMALLEST_DIVISOR = 1e-4
LARGEST_EXPONENT = 80.0


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(x, 0.0)


def gelu(x: Array) -> Array:
    """x times the standard normal distribution function."""
    return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    """The usual approximation of `gelu`."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def power(x: Array, exponent: float) -> Array:
    """x ** exponent; 0 where that is no real number."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.nan_to_num(np.power(x, exponent), nan=0.0, posinf=1e30, neginf=-1e30)


def reciprocal(x: Array) -> Array:
    """1 / x, of at most 10000."""
    return 1.0 / np.where(np.abs(x) < SMALLEST_DIVISOR, np.copysign(SMALLEST_DIVISOR, x), x)


FUNCTIONS: Mapping[str, Function] = {
    "sigmoid": lambda x, _: expit(x),
    "tanh": lambda x, _: np.tanh(x),
    "erf": lambda x, _: erf(x),
    "exp": lambda x, _: np.exp(np.minimum(x, LARGEST_EXPONENT)),
    "log": lambda x, _: np.log(np.maximum(x, SMALLEST_LOG)),
    "sqrt": lambda x, _: np.sqrt(np.maximum(x, 0.0)),
    "reciprocal": lambda x, _: reciprocal(x),
    "pow": power,
    "abs": lambda x, _: np.abs(x),
    "sign": lambda x, _: np.sign(x),
    "floor": lambda x, _: np.floor(x),
    "ceil": lambda x, _: np.ceil(x),
    "round": lambda x, _: np.round(x),
    "sin": lambda x, _: np.sin(x),
    "cos": lambda x, _: np.cos(x),
    "atan": lambda x, _: np.arctan(x),
    "softplus": lambda x, _: softplus(x),
    "softsign": lambda x, _: x / (1.0 + np.abs(x)),
    "leaky_relu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "celu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0) / alpha), x),
    "thresholded_relu": lambda x, alpha: np.where(x > alpha, x, 0.0),
    "swish": lambda x, alpha: x * expit(alpha * x),
    "gelu": lambda x, _: gelu(x),
    "gelu_tanh": lambda x, _: gelu_tanh(x),
    "mish": lambda x, _: x * np.tanh(softplus(x)),
}
"""The parameter is the operator's alpha (or exponent) where it has one."""

UNIT_INTERVAL = frozenset(["sigmoid"])
SYMMETRIC_UNIT = frozenset(["tanh", "erf", "softsign", "sin", "cos"])
"""Functions whose values fill [0, 1] or [-1, 1]: their outputs have a fixed type."""
HOMOGENEOUS = frozenset(["abs", "leaky_relu"])
"""Functions with f(s x) = s f(x) for s > 0."""
