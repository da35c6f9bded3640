"""Data-free mixed-precision compensation (DF-MPC, Chen et al. 2023): one factor a channel, in closed form.

Layer l is quantized to very few bits, and the error of its output channel j is put right by one factor c_j
on input channel j of layer l+1. docs/df-mpc.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import Chain
from dfqgen.statistics.second_moments import InputMoments

Weighting = Literal["plain", "weighted", "activation"]

NODES = 81
"""For each of the two normals of the quadrature."""
SMALLEST, LARGEST = 0.25, 4.0
"""A factor beyond these says that the channel is lost; it gets 1."""


@dataclass(frozen=True, slots=True)
class Compensation:
    """How the factors are found.

    `weighting`: "plain" takes the norm of the weights' error (the paper's), "weighted" that of the
    pre-activation's, ||.||^2 under E[x x^T], "activation" the error behind the activation, whose mean the
    next bias absorbs. `offset` and `shrinkage` are lambda_1 and lambda_2. `recalibrate` gives the quantized
    layer's pre-activation its old deviation first, as recalibrated batch normalization would.
    """

    weighting: Weighting = "activation"
    offset: float = 0.5
    shrinkage: float = 0.0
    recalibrate: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A layer as an affine map of its windows: weight [Cout, kh, kw, Cin/groups], offset [Cout]."""

    weight: Array
    offset: Array


def compensation_loss(
    factor: Array, exact: Affine, quantized: Affine, settings: Compensation, moments: InputMoments | None
) -> Array:
    """||c X^ - X||^2 + lambda_1 (c y^ - y)^2 + lambda_2 c^2 for each channel [Cout].

    The norm is the weights' own where `moments` is None, else that under E[x x^T].
    """
    error = factor[:, None, None, None] * quantized.weight - exact.weight
    offset = factor * quantized.offset - exact.offset
    return _product(error, error, moments) + settings.offset * offset**2 + settings.shrinkage * factor**2


def compensation_factors(
    exact: Affine, quantized: Affine, settings: Compensation, moments: InputMoments | None = None
) -> Array:
    """The minimiser of `compensation_loss`, [Cout]:

        c = (X^.X + lambda_1 y^ y) / (X^.X^ + lambda_1 y^^2 + lambda_2)

    1 where nothing is left of the channel, or where c is not a positive number within reason: only a
    positive factor passes through ReLU.
    """
    over = _product(quantized.weight, exact.weight, moments)
    over = over + settings.offset * quantized.offset * exact.offset
    under = _product(quantized.weight, quantized.weight, moments)
    under = under + settings.offset * quantized.offset**2 + settings.shrinkage
    return sane(over, under)


def sane(over: Array, under: Array) -> Array:
    """over / under where that is a usable factor, else 1."""
    factor = np.divide(over, under, where=under > 0, out=np.ones_like(under))
    return np.where((factor > SMALLEST) & (factor < LARGEST), factor, 1.0)


def _product(first: Array, second: Array, moments: InputMoments | None) -> Array:
    if moments is None:
        return (first * second).reshape(first.shape[0], -1).sum(axis=1)
    return moments.product(first, second) + moments.expectation(first) * moments.expectation(second)


def recalibrate(weight: QuantizedWeight, exact: Array, moments: InputMoments) -> QuantizedWeight:
    """The quantized weight whose pre-activation has the exact one's deviation.

    What recalibrated batch normalization does: X^ = W^ gamma / sigma^. It goes into the
    scale, free with one per channel.
    """
    real = weight.dequantize()
    ratio = sane(moments.product(exact, exact), moments.product(real, real))
    return QuantizedWeight(weight.values, weight.scale * np.sqrt(ratio), weight.dtype)


def restored_offset(exact: Affine, weight: Array, moments: InputMoments) -> Array:
    """y^ [Cout]: the offset at which the quantized weight gives the exact mean (mu^ recalibrated)."""
    return exact.offset + moments.expectation(exact.weight) - moments.expectation(weight)


def factors_for(
    chain: Chain,
    graph: Graph,
    exact: Affine,
    quantized: Affine,
    moments: InputMoments,
    settings: Compensation,
) -> Array:
    """The factors of one pair by the chosen weighting; `graph` says what lies between the layers."""
    if settings.weighting == "plain":
        return compensation_factors(exact, quantized, settings)
    if settings.weighting == "weighted":
        return compensation_factors(exact, quantized, settings, moments)
    bounds = [graph.producers[name].op for name in chain.between]
    clip = next((op for op in bounds if isinstance(op, Clip)), None)
    return activation_factors(exact, quantized, moments, clip)


def activation_factors(exact: Affine, quantized: Affine, moments: InputMoments, clip: Clip | None) -> Array:
    """c = Cov[f(z^), f(z)] / Var[f(z^)] [Cout], f the activation, (z, z^) taken as jointly normal.

    The minimiser of Var[c f(z^) - f(z)]; the mean error left over goes into the next layer's bias.
    """
    variance = moments.product(exact.weight, exact.weight)
    variance_hat = moments.product(quantized.weight, quantized.weight)
    covariance = moments.product(exact.weight, quantized.weight)
    if clip is None:
        return sane(covariance, variance_hat)
    mean = moments.expectation(exact.weight) + exact.offset
    mean_hat = moments.expectation(quantized.weight) + quantized.offset
    # Evenly spaced: Gauss's nodes lie too far apart for the corners of a clip.
    nodes = np.linspace(-5.0, 5.0, NODES)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    deviation, deviation_hat = np.sqrt(variance), np.sqrt(variance_hat)
    scale = deviation * deviation_hat
    rho = np.clip(np.divide(covariance, scale, where=scale > 0, out=np.zeros_like(scale)), -1.0, 1.0)
    first, second = nodes[:, None, None], nodes[None, :, None]
    z_hat = np.clip(mean_hat + deviation_hat * first, clip.lo, clip.hi)
    z = np.clip(mean + deviation * (rho * first + np.sqrt(1.0 - rho**2) * second), clip.lo, clip.hi)
    given = np.einsum("j,ijc->ic", weights, z)  # E[f(z) | z^]
    z_hat = z_hat[:, 0] - weights @ z_hat[:, 0]
    return sane(weights @ (z_hat * given), weights @ z_hat**2)
