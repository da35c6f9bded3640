"""Statements about inputs that are probably mistakes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from dfqgen.graph.ir import Graph
from dfqgen.ops.fake_quantize import stated_type
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import UNSTATED, InputMeaning

PIXEL_SPAN = 255.0
# Frameworks normalise with a deviation in units of pixels (tens) or of the range 0..1 (below one); nothing
# that is fed pixels divides them by less than this.
LEAST_PIXEL_STD = 2.0
# Samples that fill less than this much of the stated range leave four of the input's eight bits unused.
SLIVER = 1 / 16
# A sample now and then beyond the stated range is clipped with little harm; this many are another range.
OUTSIDE = 0.01


def input_warnings(
    graph: Graph, stated: InputMeaning | None, named: Mapping[str, InputMeaning]
) -> tuple[str, ...]:
    """Inputs of which nothing is stated, and normalisations of values 0..1 stated for pixels.

    `stated` is of all inputs that are not `named`.
    """
    found = []
    unknown = (
        port.name not in named and port.holds is None and stated_type(graph, port.tensor) is None
        for port in graph.fed
    )
    if stated is None and any(unknown):
        found.append(UNSTATED_WARNING)
    for port in graph.fed:
        meaning = named.get(port.name, stated)
        if meaning is not None and _divides_pixels_as_fractions(meaning):
            found.append(
                f"input {port.name!r}: a standard deviation of {min(meaning.std):g} lets the network see "
                f"{_span(*meaning.seen)} for raw values from {_span(meaning.lo, meaning.hi)}; if the mean "
                "and the deviation are of values from 0 to 1, state that range, or multiply both by 255"
            )
    return tuple(found)


UNSTATED_WARNING = (
    f"nothing says what the network's input means, so values from {UNSTATED.lo:g} to {UNSTATED.hi:g} are "
    "assumed; state it with --input (a preset, or mean, std and range), or accuracy may be lost"
)


def resting_warnings(graph: Graph, resting: Collection[str]) -> tuple[str, ...]:
    """Outputs (tensors) that no sample made by rule moves."""
    return tuple(
        f"output {port.name!r} does not move on samples made by rule: its ranges and its predicted error are "
        "guesses; a few real inputs with --calibration-data tell more"
        for port in graph.outputs
        if port.tensor in resting
    )


def _divides_pixels_as_fractions(meaning: InputMeaning) -> bool:
    """Pixels as they are, and pixels less a mean colour (std 1), are fed to networks too."""
    normalises = any(std != 1.0 for std in meaning.std) or any(0.0 < abs(m) < 1.0 for m in meaning.mean)
    return normalises and meaning.hi - meaning.lo >= PIXEL_SPAN and max(meaning.std) < LEAST_PIXEL_STD


def sample_warnings(graph: Graph, meanings: Mapping[str, InputMeaning], samples: Samples) -> tuple[str, ...]:
    """Samples that fill only a sliver of the stated range, or lie outside it."""
    found = []
    for port in graph.fed:
        meaning, values = meanings[port.name], samples.raw[port.tensor]
        lo, hi = float(values.min()), float(values.max())
        stated = f"the stated range {_span(meaning.lo, meaning.hi)}"
        outside = float(np.mean((values < meaning.lo) | (values > meaning.hi)))
        if outside > OUTSIDE:
            found.append(
                f"input {port.name!r}: {100 * outside:.0f} % of the samples' values lie outside {stated} and "
                f"are clipped; they go from {_span(lo, hi)}: state the range of what the network will get"
            )
        elif hi - lo < SLIVER * (meaning.hi - meaning.lo):
            found.append(
                f"input {port.name!r}: the samples lie within {_span(lo, hi)}, a sliver of {stated}; state "
                "the range of what the network will get, or most of the input's resolution is lost"
            )
    return tuple(found)


def _span(lo: float, hi: float) -> str:
    return f"{lo:.4g} to {hi:.4g}"
