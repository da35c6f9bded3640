"""What a user may choose about quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.statistics.channel import ChannelStatistics

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Every switch of the data-free methods; the defaults are what measured best (docs/accuracy.md).

    `equalize`: "auto" equalizes when weights are per tensor, where it decides; "keep" holds ReLU6 as a
    clip per channel, "replace" turns ReLU6 into ReLU first (the paper's choice, changes the function).
    `statistics`: "auto" takes batch normalization's where there is one and measures the rest on procedural
    samples, whose extremes also widen the ranges; "analytic" propagates in closed form instead and widens
    nothing; "synthetic" takes samples synthesized from the network instead (docs/dsg.md), which
    `compile_model` makes. Real samples given to `prepare` override all.
    `n_sigma` is the half-width of activation ranges, `n_sigma_scores` that of the network's last layers,
    whose rare extremes are the answer; None decides by the network and the tensor (`widths.py`).
    `rounding`: "auto" is to nearest at 8 bits and "feedback" below, where every error is carried by the
    weights not yet rounded; "squant" makes errors cancel in sums; "adaround" learns it from samples (needs
    torch). `empirical_bias` corrects biases on samples in place of the statistics' means, by default where
    statistics are synthetic; AdaRound does so anyway. `sample_count` and `seed` are of the samples made for
    all that; None is by the network's size.

    Weights of few bits, at most one of: `bits`, "4" for all layers or "4/8" for pairs; `flash_budget_bytes`
    or `flash_budget_ratio` (of the size at 8 bits), the least error within it; `target_sqnr_db`, the least
    flash within a predicted error. `bits_map` (by layer name) overrides. `low_ends` lets the first and the
    last layer have fewer than 8 bits too. `compensate` puts low layers right in the next one
    (docs/df-mpc.md); `ternary` "threshold" makes 2 bits -1, 0 and 1 as the paper does.

    `activations` "int16" makes every activation 16 bits wide that can be (`wide.py`), `activations_map`
    (by layer name) those of single layers' outputs.
    """

    weights: Literal["per-channel", "per-tensor"] = "per-channel"
    scales: Literal["multiplier", "power-of-two"] = "multiplier"
    statistics: Literal["auto", "analytic", "synthetic"] = "auto"
    fold_dead: bool = True
    equalize: bool | None = None
    relu6: Literal["keep", "replace"] = "keep"
    absorb_bias: bool = False
    correct_bias: bool = True
    range_method: Literal["sigma", "mse", "min-max", "percentile"] = "sigma"
    n_sigma: float | None = None
    n_sigma_scores: float | None = None
    rounding: Literal["auto", "nearest", "squant", "feedback", "adaround"] = "auto"
    empirical_bias: bool | None = None
    adaround_iterations: int = 2000
    sample_count: int | None = None
    seed: int = 0
    bits: str | None = None
    bits_map: Mapping[str, int] = field(default_factory=dict)
    flash_budget_bytes: int | None = None
    flash_budget_ratio: float | None = None
    target_sqnr_db: float | None = None
    low_ends: bool = False
    compensate: Literal["none", "plain", "weighted", "activation"] = "activation"
    ternary: Literal["rounded", "threshold"] = "rounded"
    activations: Literal["int8", "int16"] = "int8"
    activations_map: Mapping[str, Literal["int8", "int16"]] = field(default_factory=dict)

    @property
    def power_of_two(self) -> bool:
        return self.scales == "power-of-two"

    @property
    def wide(self) -> bool:
        """Whether any activation may be int16."""
        return self.activations == "int16" or "int16" in self.activations_map.values()

    @property
    def mixes(self) -> bool:
        """Whether any layer may get fewer than 8 bits."""
        return bool(self.bits_map) or any(wish is not None for wish in self.allocation_wishes)

    @property
    def allocation_wishes(self) -> tuple[object, ...]:
        """The ways to say how many bits; one at most is not None."""
        return self.bits, self.flash_budget_bytes, self.flash_budget_ratio, self.target_sqnr_db

    @property
    def learns(self) -> bool:
        """Whether weights or biases are made on samples."""
        return self.rounding == "adaround" or self.corrects_on_samples

    @property
    def corrects_on_samples(self) -> bool:
        """Whether biases are corrected on samples. Feedback rounding sees to biases itself."""
        if self.empirical_bias is not None:
            return self.empirical_bias
        nearest = self.rounding in ("nearest", "squant") or (self.rounding == "auto" and not self.mixes)
        return self.statistics == "synthetic" and self.correct_bias and nearest

    def without_samples(self) -> QuantizeOptions:
        """The same network, prepared alike, without what needs samples: other ranges, weights and biases."""
        return replace(
            self,
            statistics="auto" if self.statistics == "synthetic" else self.statistics,
            range_method=self.range_method if self.range_method in ("sigma", "mse") else "sigma",
            rounding="auto" if self.rounding == "adaround" else self.rounding,
            empirical_bias=False,
        )

    @property
    def equalizes(self) -> bool:
        return self.weights == "per-tensor" if self.equalize is None else self.equalize


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


@dataclass(frozen=True, slots=True)
class InputMeaning:
    """What the float network's input means: it sees (raw - mean) / std, per channel, raw in [lo, hi].

    Without data nobody else can know it. `raw` is what the user has, such as 0..255 for images.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    lo: float = 0.0
    hi: float = 255.0

    def __post_init__(self) -> None:
        """Raise UserError unless the network sees a range of float32 numbers in every channel."""
        channels = max(len(self.mean), len(self.std))
        if {len(self.mean), len(self.std)} - {1, channels}:
            raise UserError(f"the input has {len(self.mean)} means and {len(self.std)} standard deviations")
        with np.errstate(all="ignore"):
            lo, hi = (self.normalize(np.full(channels, end)) for end in (self.lo, self.hi))
        if not (np.isfinite(lo) & np.isfinite(hi) & (lo < hi)).all():
            raise UserError(
                f"the input's range {self.lo:g},{self.hi:g} is no range of float32 numbers "
                f"after (x - {_list(self.mean)}) / {_list(self.std)}",
                "Check --input-range, --input-mean and --input-std; deviations lie above zero.",
            )

    def normalize(self, raw: Array) -> Array:
        """Raw values (channels last) as the float network sees them, float32."""
        scaled = (raw.astype(np.float64) - np.asarray(self.mean)) / np.asarray(self.std)
        return scaled.astype(np.float32)

    def denormalize(self, x: Array) -> Array:
        """The inverse of `normalize`, float64."""
        return x.astype(np.float64) * np.asarray(self.std) + np.asarray(self.mean)

    def statistics(self, channels: int, *, image: bool = True) -> ChannelStatistics:
        """Centred in the range, with a deviation of a quarter of it for an image (natural ones are close
        to that), else of a sixth (a normal that fills the range).
        """
        mean = np.broadcast_to(np.asarray(self.mean, np.float64), (channels,))
        std = np.broadcast_to(np.asarray(self.std, np.float64), (channels,))
        lo, hi = (self.lo - mean) / std, (self.hi - mean) / std
        return ChannelStatistics.normal((lo + hi) / 2, (hi - lo) / (4 if image else 6), lo, hi)
