"""What a user may choose about quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dfqgen.statistics.channel import ChannelStatistics

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Every switch of the data-free methods; the defaults are what measured best (docs/accuracy.md).

    `equalize`: "auto" equalizes when weights are per tensor, where it decides; "keep" holds ReLU6 as a
    clip per channel, "replace" turns ReLU6 into ReLU first (the paper's choice, changes the function).
    `statistics`: "auto" takes batch normalization's where there is one and measures the rest on procedural
    samples, whose extremes also widen the ranges; "analytic" propagates in closed form instead and widens
    nothing. Samples given to `prepare` override both.
    `n_sigma` is the half-width of activation ranges, `n_sigma_scores` that of the network's last layers,
    whose rare extremes are the answer.
    """

    weights: Literal["per-channel", "per-tensor"] = "per-channel"
    scales: Literal["multiplier", "power-of-two"] = "multiplier"
    statistics: Literal["auto", "analytic"] = "auto"
    fold_dead: bool = True
    equalize: bool | None = None
    relu6: Literal["keep", "replace"] = "keep"
    absorb_bias: bool = False
    correct_bias: bool = True
    range_method: Literal["sigma", "mse", "min-max", "percentile"] = "sigma"
    n_sigma: float = 4.0
    n_sigma_scores: float = 8.0
    rounding: Literal["nearest", "squant"] = "nearest"

    @property
    def power_of_two(self) -> bool:
        return self.scales == "power-of-two"

    @property
    def equalizes(self) -> bool:
        return self.weights == "per-tensor" if self.equalize is None else self.equalize


@dataclass(frozen=True, slots=True)
class InputMeaning:
    """What the float network's input means: it sees (raw - mean) / std, per channel, raw in [lo, hi].

    Without data nobody else can know it. `raw` is what the user has, such as 0..255 for images.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    lo: float = 0.0
    hi: float = 255.0

    def normalize(self, raw: Array) -> Array:
        """Raw values (channels last) as the float network sees them, float32."""
        scaled = (raw.astype(np.float64) - np.asarray(self.mean)) / np.asarray(self.std)
        return scaled.astype(np.float32)

    def statistics(self, channels: int, *, image: bool = True) -> ChannelStatistics:
        """Centred in the range, with a deviation of a quarter of it for an image (natural ones are close
        to that), else of a sixth (a normal that fills the range).
        """
        mean = np.broadcast_to(np.asarray(self.mean, np.float64), (channels,))
        std = np.broadcast_to(np.asarray(self.std, np.float64), (channels,))
        lo, hi = (self.lo - mean) / std, (self.hi - mean) / std
        return ChannelStatistics.normal((lo + hi) / 2, (hi - lo) / (4 if image else 6), lo, hi)
