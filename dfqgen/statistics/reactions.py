"""How a network's outputs react to errors in each of its tensors: the noise model behind the ranges.

To first order, errors e in a tensor change the outputs by J e, with J the derivative at the samples. For
random signs r at the outputs, E[(r J e)^2] = |J e|^2 (Hutchinson 1990), and one backward pass gives r J for
all tensors at once. Rounding errors are independent, so that |J e|^2 is their variance times |J|^2.
Clipping errors are not: they all point one way, and what averaging removes of the one it keeps of the
other. So their effect is taken from the values that would be clipped, at some levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.statistics.pullback import backward
from dfqgen.statistics.saturation import heard_values

PROBES = 4
"""Random sign patterns at the outputs: the gain of a tensor with many elements is then known to 1 dB."""
LEVELS = 2.0 ** np.arange(-1.5, 0.01, 0.125)
"""Where clipping is tried, as parts of the largest value."""


@dataclass(frozen=True, slots=True, eq=False)
class Reaction:
    """Reaction of the outputs to one tensor, as noise-to-signal power, mean over outputs and samples.

    `gain` [C] is what errors of variance 1 in all elements of a channel, independent of each other, make.
    `above` and `below` [levels] are what clipping at `LEVELS` times `hi` and at `LEVELS` times `lo` makes;
    lo <= 0 <= hi are the samples' extremes.
    """

    gain: Array
    lo: float
    hi: float
    below: Array
    above: Array

    def rounding(self, lo: float, hi: float, levels: int = 255) -> float:
        """Noise of rounding to so many steps over a range."""
        return float(self.gain.sum()) * ((hi - lo) / levels) ** 2 / 12.0

    def clipping(self, lo: float, hi: float) -> float:
        """Noise of clipping the samples' values to a range."""
        return _between(self.below, -self.lo, -lo) + _between(self.above, self.hi, hi)


def _between(noise: Array, extreme: float, bound: float) -> float:
    if extreme <= 0.0 or bound >= extreme:
        return 0.0
    return float(np.interp(bound / extreme, LEVELS, noise))


def heads(graph: Graph) -> tuple[str, ...]:
    """For every output the tensor it is judged at: before functions that saturate, such as a softmax.

    On samples without a certain answer, or with too certain ones, the derivative behind them says nothing.
    """
    found = []
    for output in sorted(graph.output_tensors):
        head = tensor = output
        while (node := graph.producers.get(tensor)) is not None and len(node.inputs) == 1:
            if _saturates(node):
                head = node.inputs[0]
            elif not node.op.keeps_type:
                break
            tensor = node.inputs[0]
        found.append(head)
    return tuple(found)


def _saturates(node: Node) -> bool:
    return node.op.reads_scores or node.op.output_type() is not None


def measure_reactions(
    graph: Graph, samples: Mapping[str, Array], *, probes: int = PROBES, seed: int = 0
) -> dict[str, Reaction]:
    """The outputs' reaction to every tensor that reaches them, at samples [N, ...] by input tensor."""
    values: dict[str, Array] = {port.tensor: samples[port.tensor] for port in graph.inputs}

    def keep(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        values[node.output] = output

    graph.evaluate(samples, keep)
    heard = {name: heard_values(graph, name, value) for name, value in values.items()}
    generator = np.random.default_rng(seed)
    ends = heads(graph)
    gains: dict[str, Array] = {}
    clipped: dict[str, tuple[Array, Array]] = {}
    for _ in range(probes):
        seeds = {name: _signs(generator, heard[name], len(ends)) for name in dict.fromkeys(ends)}
        for name, reaction in backward(graph, values, seeds).items():
            count = len(reaction) * probes
            square = np.square(reaction, dtype=np.float64).reshape(-1, reaction.shape[-1]).sum(axis=0) / count
            gains[name] = gains.get(name, 0.0) + square
            sides = [_clipping(-heard[name], reaction), _clipping(heard[name], reaction)]
            before = clipped.get(name, (0.0, 0.0))
            clipped[name] = (before[0] + sides[0] / probes, before[1] + sides[1] / probes)
    return {
        name: Reaction(
            gain,
            min(float(heard[name].min()), 0.0),
            max(float(heard[name].max()), 0.0),
            *clipped[name],
        )
        for name, gain in gains.items()
    }


def _signs(generator: np.random.Generator, value: Array, outputs: int) -> Array:
    """Random signs, sized so that their reactions are noise-to-signal of one of several outputs."""
    power = float(np.square(value, dtype=np.float64).sum()) / len(value)
    signs = generator.integers(0, 2, value.shape) * 2.0 - 1.0
    return (signs / np.sqrt(max(power, 1e-30) * outputs)).astype(value.dtype)


def _clipping(value: Array, reaction: Array) -> Array:
    """Noise [levels] of clipping from above at LEVELS times the largest value."""
    largest = float(value.max())
    if largest <= 0.0:
        return np.zeros(len(LEVELS))
    flat, back = value.reshape(len(value), -1), reaction.reshape(len(value), -1)
    noise = np.zeros(len(LEVELS))
    for one, pull in zip(flat, back, strict=True):
        over = np.flatnonzero(one > LEVELS[0] * largest)
        beyond = np.maximum(one[over, None].astype(np.float64) - LEVELS * largest, 0.0)
        noise += np.square(pull[over].astype(np.float64) @ beyond) / len(value)
    return noise
