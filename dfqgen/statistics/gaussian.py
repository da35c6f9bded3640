"""Moments of clipped normals, in closed form (Nagel et al. 2019, appendix C, with both bounds)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[Any]


def normal_density(x: Array) -> Array:
    """Standard normal density; 0 at infinity."""
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2.0 * np.pi)


def clipped_normal_moments(mean: Array, std: Array, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Mean and variance of clip(N(mean, std**2), lo, hi), elementwise; infinite bounds allowed.

    With alpha = (lo - mean)/std, omega = (hi - mean)/std, Z = Phi(omega) - Phi(alpha):

        E  = lo Phi(alpha) + hi (1 - Phi(omega)) + mean Z + std (phi(alpha) - phi(omega))
        E2 = lo^2 Phi(alpha) + hi^2 (1 - Phi(omega)) + (mean^2 + std^2) Z
             + std ((mean + lo) phi(alpha) - (mean + hi) phi(omega))

    Computed about the mean, so that the variance does not cancel. std = 0 gives clip(mean, lo, hi) and 0.
    """
    mean, std, lo, hi = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (mean, std, lo, hi)))
    spread = np.maximum(std, 1e-100)
    with np.errstate(over="ignore", invalid="ignore"):
        alpha, omega = (lo - mean) / spread, (hi - mean) / spread
        inside = ndtr(omega) - ndtr(alpha)
        below, above = ndtr(alpha), ndtr(-omega)
        # In units of std about the mean; a bound at infinity has weight 0 and contributes 0.
        low = np.where(np.isfinite(alpha), alpha, 0.0)
        high = np.where(np.isfinite(omega), omega, 0.0)
        low = np.where(below > 0, low, 0.0)
        high = np.where(above > 0, high, 0.0)
        first = low * below + high * above + normal_density(alpha) - normal_density(omega)
        second = low**2 * below + high**2 * above + inside
        second = second + np.where(np.isfinite(alpha), alpha, 0.0) * normal_density(alpha)
        second = second - np.where(np.isfinite(omega), omega, 0.0) * normal_density(omega)
    constant = std < 1e-100
    expectation = np.where(constant, np.clip(mean, lo, hi), np.clip(mean + std * first, lo, hi))
    variance = np.where(constant, 0.0, np.maximum(second - first**2, 0.0) * std**2)
    return expectation, variance
