"""Factors of channels with the least predicted error at the outputs: cross-layer equalization by the noise.

Nagel et al. (2019) make the ranges of weights equal. What the outputs hear is rather the noise of rounding,
of activations and of weights, and with a scale for every output channel only some of the weights' is left.
To first order each scale's part of that noise is (largest amplitude)^2 * sum(power of the reaction), where a
factor s of a channel multiplies its amplitude by s and its reaction by 1 / s^2. In log s this is convex, so
the best factors of all channels of a network together are found by descent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.scaling import FIXED, Scalable, scalable_channels, scale_channels
from dfqgen.quantization.noise import WEIGHT_STEPS, tensor_families
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.tensor_ranges import KNOWN_SIGMA, tensor_ranges
from dfqgen.quantization.types import fused_clips
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics
from dfqgen.statistics.reactions import Reaction

SHARPNESS = 16.0
"""The largest of a layer's weights is taken as their norm of this order, which has a slope for each."""
TAIL = 2.0
"""That of activations' channels: rare values have tails like a power of about this (`tensor_ranges`), and
many channels near the largest make it likelier that one goes beyond."""
RESTRAINT = 1e-3
"""Cost of factors that nothing asks for: this times their mean squared logarithm, beside the logarithm of
the noise."""
LARGEST_LOG = np.log(2.0**12)
STEPS = 50
SMALLEST_STEP = 2e-3
"""Of the logarithm of the noise; descent ends below."""
ACTIVATION_STEPS = 255.0


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """Numbers [N] that the factor of `times` multiplies and that of `over` divides, by label."""

    numbers: Array
    times: Array
    over: Array

    def logs(self, logs: Array) -> Array:
        return np.asarray(logs[self.times] - logs[self.over])

    def add(self, slope: Array, change: Array) -> None:
        """A derivative by `logs`, onto one by the labels'."""
        slope += np.bincount(self.times, change, len(slope)) - np.bincount(self.over, change, len(slope))


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """Values under one scale, and the noise that a step of 1 makes in those that are rounded."""

    amplitude: _Values
    power: _Values
    sharpness: float

    def noise(self, logs: Array) -> float:
        """At these logarithms of all labels' factors."""
        values = self.amplitude.numbers * np.exp(self.amplitude.logs(logs))
        largest = np.linalg.norm(values, self.sharpness)
        return float(largest**2 * (self.power.numbers @ np.exp(-2.0 * self.power.logs(logs))))

    def smooth(self, logs: Array, slope: Array) -> float:
        """The same with a smooth maximum; its derivative is added to `slope`."""
        top = self.amplitude.numbers.max()
        parts = ((self.amplitude.numbers / top) * np.exp(self.amplitude.logs(logs))) ** self.sharpness
        largest = top**2 * parts.sum() ** (2.0 / self.sharpness)
        heard = self.power.numbers * np.exp(-2.0 * self.power.logs(logs))
        noise = largest * heard.sum()
        self.amplitude.add(slope, 2.0 * noise * parts / parts.sum())
        self.power.add(slope, -2.0 * largest * heard)
        return float(noise)


class _Weights:
    """A layer's weights [Cout, Cin] of one group: of output and input labels, with a scale for each row or
    one for all. A factor of an input channel divides its weights.
    """

    def __init__(self, outputs: Array, inputs: Array, largest: Array, power: Array, *, shared: bool) -> None:
        self.outputs, self.inputs, self.shared = outputs, inputs, shared
        self.largest, self.power = largest, power
        top = largest.max(axis=1, keepdims=True)
        self.top = np.full_like(top, top.max()) if shared else np.where(top > 0.0, top, 1.0)
        self.parts = (largest / self.top) ** SHARPNESS

    def noise(self, logs: Array) -> float:
        """As of `_Scale`."""
        outputs, inputs = np.exp(logs[self.outputs]), np.exp(-logs[self.inputs])
        rows = (self.largest * inputs).max(axis=1) * outputs
        rows = np.full_like(rows, rows.max()) if self.shared else rows
        return float(rows**2 @ (self.power @ inputs**-2.0 * outputs**-2.0))

    def smooth(self, logs: Array, slope: Array) -> float:
        """As of `_Scale`."""
        outputs, inputs = np.exp(logs[self.outputs]), np.exp(-logs[self.inputs])
        heard = self.power @ inputs**-2.0 * outputs**-2.0
        parts = self.parts @ inputs**SHARPNESS * outputs**SHARPNESS
        sums = np.full_like(parts, parts.sum()) if self.shared else np.where(parts > 0.0, parts, 1.0)
        largest = self.top[:, 0] ** 2 * sums ** (2.0 / SHARPNESS) * (parts.sum() > 0.0)
        noise = largest * heard
        # What each row's largest values do: to its own noise, or to all rows'.
        weight = (noise.sum() if self.shared else noise) / sums
        slope += np.bincount(self.outputs, 2.0 * (weight * parts - noise), len(slope))
        of_parts = (weight * outputs**SHARPNESS) @ self.parts * inputs**SHARPNESS
        of_power = (largest * outputs**-2.0) @ self.power * inputs**-2.0
        slope += np.bincount(self.inputs, 2.0 * (of_power - of_parts), len(slope))
        return float(noise.sum())


_Term = _Scale | _Weights


def equalize_by_noise(
    prepared: Prepared, known: Statistics, *, per_tensor: bool
) -> tuple[Graph, Statistics] | None:
    """The graph and its known statistics with the factors of least noise; None where those gain nothing.

    `prepared` has the reactions of the outputs; `per_tensor` weights have one scale a layer.
    """
    scalable = scalable_channels(prepared.graph)
    if scalable.count == 1 or not prepared.reactions:
        return None
    terms = [*_activations(prepared, scalable), *_weights(prepared, scalable, per_tensor=per_tensor)]
    found = _least_noise(terms, scalable.count)
    before, after = (sum(term.noise(logs) for term in terms) for logs in (np.zeros_like(found), found))
    if after >= before:
        return None
    return scale_channels(prepared.graph, known, scalable, np.exp(found))


def _least_noise(terms: Iterable[_Term], count: int) -> Array:
    """Logarithms [count] of the factors; 0 of FIXED."""
    terms = list(terms)

    def cost(logs: Array) -> tuple[float, Array]:
        slope = np.zeros(count)
        noise = sum(term.smooth(logs, slope) for term in terms)
        slope = slope / noise + 2.0 * RESTRAINT * logs / count
        slope[FIXED] = 0.0
        return float(np.log(noise) + RESTRAINT * np.mean(logs**2)), slope

    bounds = [(0.0, 0.0), *[(-LARGEST_LOG, LARGEST_LOG)] * (count - 1)]
    start = np.zeros(count)
    if not cost(start)[0] > -np.inf:
        return start
    options = {"maxiter": STEPS, "ftol": SMALLEST_STEP}
    result = minimize(cost, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    return np.asarray(result.x)


def _activations(prepared: Prepared, scalable: Scalable) -> Iterator[_Scale]:
    """Tensors of one type each, or families of them: the amplitudes of all, the noise of those rounded."""
    graph = prepared.graph
    ranges = tensor_ranges(prepared, ActivationsRecipe())
    families, rounded = tensor_families(graph, fused_clips(graph))
    members: dict[str, list[str]] = {}
    for tensor in rounded:
        members.setdefault(families.find(tensor), []).append(tensor)
    for tensors in members.values():
        amplitudes = [_amplitudes(prepared, tensor) for tensor in tensors]
        evidence = float(np.linalg.norm(np.concatenate(amplitudes), TAIL))
        if evidence <= 0.0:
            continue
        lows, highs = zip(*(ranges[tensor] for tensor in tensors), strict=True)
        headroom = (max(0.0, *highs) - min(0.0, *lows)) / evidence
        heard = [tensor for tensor in tensors if rounded[tensor] and tensor in prepared.reactions]
        if not heard:
            continue
        power = np.concatenate([prepared.reactions[tensor].gain.mean(axis=0) for tensor in heard])
        yield _Scale(
            _of_tensors(np.concatenate(amplitudes), tensors, scalable),
            _of_tensors(power * (headroom / ACTIVATION_STEPS) ** 2 / 12.0, heard, scalable),
            TAIL,
        )


def _of_tensors(numbers: Array, tensors: Iterable[str], scalable: Scalable) -> _Values:
    labels = np.concatenate([scalable.labels[tensor] for tensor in tensors])
    return _Values(numbers, labels, np.full_like(labels, FIXED))


def _amplitudes(prepared: Prepared, tensor: str) -> Array:
    """How far the evidence for each channel [C] reaches, both sides together."""
    lo, hi = prepared.statistics[tensor].interval(KNOWN_SIGMA)
    return np.asarray(np.maximum(hi, 0.0) - np.minimum(lo, 0.0))


def _weights(prepared: Prepared, scalable: Scalable, *, per_tensor: bool) -> Iterator[_Term]:
    for node in prepared.graph.nodes:
        reaction = prepared.reactions.get(node.output)
        if isinstance(node.op, Conv2D) and reaction is not None and reaction.weights is not None:
            source = prepared.statistics[node.inputs[0]]
            yield from _layer(node, node.op, reaction, source, scalable, per_tensor=per_tensor)


def _weight_power(found: Array, source: ChannelStatistics, groups: int) -> Array:
    """The reaction to weights [Cout, Cin/groups], its shares of inputs as their variances are.

    A few samples tell how much a layer's weights are heard, but what passes through none of them is not
    therefore silent, and descent would find just that.
    """
    variance = source.moments()[1].reshape(groups, -1)
    rows = np.repeat(variance, found.shape[0] // groups, axis=0)
    total = rows.sum(axis=1, keepdims=True)
    share = np.divide(rows, total, out=np.full_like(rows, 1.0 / rows.shape[1]), where=total > 0.0)
    return np.asarray(found.sum(axis=1, keepdims=True) * share)


def _layer(
    node: Node,
    conv: Conv2D,
    reaction: Reaction,
    source: ChannelStatistics,
    scalable: Scalable,
    *,
    per_tensor: bool,
) -> Iterator[_Term]:
    assert reaction.weights is not None
    power = _weight_power(reaction.weights.mean(axis=0), source, conv.groups) / (WEIGHT_STEPS**2 * 12.0)
    largest = np.abs(conv.weight).max(axis=(1, 2)).astype(np.float64)
    sources, targets = scalable.labels[node.inputs[0]], scalable.labels[node.output]
    if largest.max() <= 0.0:
        return
    per_group = conv.out_channels // conv.groups
    if conv.groups > 1 and per_tensor:
        inputs = np.repeat(sources.reshape(conv.groups, -1), per_group, axis=0).reshape(-1)
        outputs = np.repeat(targets, largest.shape[1])
        amplitudes, powers = (_Values(values.reshape(-1), outputs, inputs) for values in (largest, power))
        yield _Scale(amplitudes, powers, SHARPNESS)
        return
    for index, inputs in enumerate(np.split(sources, conv.groups)):
        rows = slice(index * per_group, (index + 1) * per_group)
        if per_tensor or np.any(inputs != inputs[0]):  # one factor for a whole row changes nothing
            yield _Weights(targets[rows], inputs, largest[rows], power[rows], shared=per_tensor)
