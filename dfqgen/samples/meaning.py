"""What a network's input means: without data nobody else can know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Port
from dfqgen.ops.fake_quantize import stated_type
from dfqgen.statistics.channel import ChannelStatistics

Array = npt.NDArray[Any]


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

    @property
    def seen(self) -> tuple[float, float]:
        """The least and the largest value that the float network sees, over channels."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return float(((self.lo - mean) / std).min()), float(((self.hi - mean) / std).max())

    def statistics(self, channels: int, *, image: bool = True) -> ChannelStatistics:
        """Centred in the range, with a deviation of a quarter of it for an image (natural ones are close
        to that), else of a sixth (a normal that fills the range).
        """
        mean = np.broadcast_to(np.asarray(self.mean, np.float64), (channels,))
        std = np.broadcast_to(np.asarray(self.std, np.float64), (channels,))
        lo, hi = (self.lo - mean) / std, (self.hi - mean) / std
        return ChannelStatistics.normal((lo + hi) / 2, (hi - lo) / (4 if image else 6), lo, hi)


# What is assumed when the user says nothing: the network was fed normalised values.
UNSTATED = InputMeaning(lo=-1.0, hi=1.0)
PIXELS = (0.0, 255.0)


def state_meaning(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, bounds: tuple[float, float] | None
) -> InputMeaning | None:
    """What the options say of the input, or None when they say nothing.

    With a mean or a deviation alone, raw values are pixels, 0..255.
    """
    if mean is None and std is None and bounds is None:
        return None
    lo, hi = bounds if bounds is not None else PIXELS
    if not lo < hi:
        raise UserError(f"the input range {lo:g},{hi:g} is not a range: the first number must be the smaller")
    if std is not None and not all(s > 0 for s in std):
        raise UserError("the input's standard deviation must be above zero")
    return InputMeaning(mean or (0.0,), std or (1.0,), lo, hi)


def meanings_for(
    graph: Graph, stated: InputMeaning | None, named: Mapping[str, InputMeaning] | None = None
) -> dict[str, InputMeaning]:
    """The meaning of every input by port name: its own, else what is stated of all, else the default.

    Of a state, which nobody feeds, the default.

    Raises UserError for names that are no inputs, and values that are not one for each channel.
    """
    named = named or {}
    inputs = [port.name for port in graph.fed]
    for name in named:
        if name not in inputs:
            raise UserError(
                f"the model has no input {name!r}, whose meaning is stated",
                f"It has {', '.join(map(repr, inputs))}.",
            )
    found = {
        port.name: named.get(port.name, _usual(graph, port) if stated is None or port.indices else stated)
        for port in graph.fed
    }
    for port in graph.fed:
        meaning = found[port.name]
        if port.holds is not None and (set(meaning.mean), set(meaning.std)) != ({0.0}, {1.0}):
            raise UserError(
                f"the input {port.name!r} is of integers, which the model scales itself: "
                "a mean or a deviation would be applied twice",
                "State its range, or nothing.",
            )
        for what, values in (("mean", meaning.mean), ("standard deviation", meaning.std)):
            if len(values) not in (1, port.shape[-1]):
                raise UserError(
                    f"the input {what} has {len(values)} values, {port.name!r} has {port.shape[-1]} channels",
                    "Give one value, or one for each channel.",
                )
    return found | {before.name: UNSTATED for before, _ in graph.kept}


def _usual(graph: Graph, port: Port) -> InputMeaning:
    """What an input means of which nothing is said: all that its type can hold, or normalised values."""
    if port.holds is not None:
        return InputMeaning(lo=port.holds[0], hi=port.holds[1])
    qtype = stated_type(graph, port.tensor)
    return UNSTATED if qtype is None else InputMeaning((0.0,), (1.0,), *qtype.real_range)


def normalize_inputs(
    graph: Graph, meanings: Mapping[str, InputMeaning], raw: Mapping[str, Array]
) -> dict[str, Array]:
    """Raw inputs by tensor as the float network sees them; `meanings` are by port name."""
    return {port.tensor: meanings[port.name].normalize(raw[port.tensor]) for port in graph.fed}
