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
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.windows import pad_image, taps
from dfqgen.statistics.channel import by_channel
from dfqgen.statistics.pullback import Backward
from dfqgen.statistics.saturation import heads, heard_values
from dfqgen.statistics.silence import judged_at

PROBES = 4
"""Random sign patterns at the outputs, of all together: a large tensor's gain is then known to 1 dB."""
FEWEST_PROBES = 2
"""At each output."""
LEVELS = 2.0 ** np.arange(-1.5, 0.01, 0.125)
"""Where clipping is tried, as parts of the largest value."""


@dataclass(frozen=True, slots=True, eq=False)
class Reaction:
    """Reaction of the outputs to one tensor, as noise-to-signal power of each [H], mean over samples.

    `gain` [H, C] is what errors of variance 1 in all elements of a channel, independent of each other, make.
    `above` and `below` [H, levels] are what clipping at `LEVELS` times `hi` and at `LEVELS` times `lo` makes;
    lo <= 0 <= hi are the samples' extremes. `weights` [H, Cout, Cin/groups], of a convolution's output, is
    what errors of variance 1 in all weights between two channels make, the bias making up for their mean.
    """

    gain: Array
    lo: float
    hi: float
    below: Array
    above: Array
    weights: Array | None = None

    def rounding(self, lo: float | Array, hi: float | Array, levels: int = 255) -> Array:
        """Noise [H] of rounding to so many steps over a range; [H, K] of K ranges."""
        return np.asarray(np.multiply.outer(self.gain.sum(axis=1), ((hi - lo) / levels) ** 2) / 12.0)

    def clipping(self, lo: float | Array, hi: float | Array) -> Array:
        """Noise [H] of clipping the samples' values to a range; [H, K] of K ranges."""
        below, above = _between(self.below, -self.lo, np.negative(lo)), _between(self.above, self.hi, hi)
        return np.add(below.T, above.T).T  # one end may be the same for all ranges


def _between(noise: Array, extreme: float, bound: float | Array) -> Array:
    """Noise [H, ...] of bounds [...] on the side of an extreme, beyond which nothing is clipped."""
    if extreme <= 0.0:
        return np.zeros((len(noise), *np.shape(bound)))
    return np.array([np.interp(np.asarray(bound) / extreme, LEVELS, row) for row in noise])


def measure_reactions(
    graph: Graph, samples: Mapping[str, Array], *, probes: int = PROBES, seed: int = 0
) -> dict[str, Reaction]:
    """Each head's reaction to every tensor that reaches it, at samples [N, ...] by input tensor."""
    values: dict[str, Array] = {port.tensor: samples[port.tensor] for port in graph.inputs}

    def keep(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        values[node.output] = output

    graph.evaluate(samples, keep)
    heard = {name: heard_values(graph, name, value) for name, value in values.items()}
    judged = dict(judged_at(graph, head, heard) for head in heads(graph))
    each = max(FEWEST_PROBES, probes // len(judged))
    generator = np.random.default_rng(seed)
    sums: dict[str, _Sums] = {}
    way_back = Backward(graph, values)
    for index, (head, signal) in enumerate(judged.items()):
        for probe in range(each):
            reactions = way_back.reactions({head: _signs(generator, signal)})
            for name, reaction in reactions.items():
                if name not in sums:
                    sums[name] = _Sums(len(judged), heard[name], _layer(graph, name))
                source = graph.producers[name].inputs[0] if name in graph.producers else name
                sums[name].add(index, reaction)
                if probe == 0:
                    sums[name].add_weights(index, reaction, values[source])
    return {name: found.reaction(each) for name, found in sums.items()}


def _layer(graph: Graph, tensor: str) -> Conv2D | None:
    node = graph.producers.get(tensor)
    return node.op if node is not None and isinstance(node.op, Conv2D) else None


class _Sums:
    """Over probes, of one tensor."""

    def __init__(self, heads: int, heard: Array, layer: Conv2D | None) -> None:
        self.layer = layer
        self.lo, self.hi = min(float(heard.min()), 0.0), max(float(heard.max()), 0.0)
        self.gain = np.zeros((heads, by_channel(heard).shape[1]))
        self.below, self.above = np.zeros((2, heads, len(LEVELS)))
        self.over, self.under = _Beyond(heard), _Beyond(-heard)
        rows = None if layer is None else (heads, layer.out_channels, layer.weight.shape[3])
        self.weights = None if rows is None else np.zeros(rows)

    def add(self, head: int, reaction: Array) -> None:
        """One probe's `reaction` of one head."""
        rows = by_channel(reaction)
        self.gain[head] += np.einsum("nc,nc->c", rows, rows, dtype=np.float64) / len(reaction)
        self.below[head] += self.under.noise(rows)
        self.above[head] += self.over.noise(rows)

    def add_weights(self, head: int, reaction: Array, source: Array) -> None:
        """The same for a layer's weights; one probe is enough for their many. `source` is its input."""
        if self.layer is not None and self.weights is not None:
            self.weights[head] = weight_reaction(self.layer, source, reaction)

    def reaction(self, probes: int) -> Reaction:
        return Reaction(
            self.gain / probes, self.lo, self.hi, self.below / probes, self.above / probes, self.weights
        )


def weight_reaction(conv: Conv2D, x: Array, back: Array) -> Array:
    """Squared reaction [Cout, Cin/groups] to errors of the weights, summed over taps, mean over samples.

    A weight's error is the same everywhere, so what it does adds up over pixels before it is squared. The
    mean of what the layer sees is taken off: the bias makes up for that.
    """
    count, group_in = len(x), conv.weight.shape[3]
    per_group = conv.out_channels // conv.groups
    values = x.size // x.shape[-1]
    # The mean of few values takes some of their own deviation with it.
    centred = (x - x.mean(axis=(0, 1, 2))) * np.sqrt(values / (values - 1)) if values > 1 else x
    centred = centred.astype(x.dtype, copy=False)
    found = np.zeros((conv.out_channels, group_in))
    views = taps(pad_image(centred, conv.pads, 0.0), conv.kernel, conv.stride, conv.dilation)
    for view in (view for line in views for view in line):
        if conv.depthwise:
            found[:, 0] += np.square(np.einsum("nhwc,nhwc->nc", view, back), dtype=np.float64).sum(axis=0)
            continue
        seen = view.reshape(count, -1, conv.groups, group_in).transpose(0, 2, 3, 1)
        pulled = back.reshape(count, -1, conv.groups, per_group).transpose(0, 2, 1, 3)
        sums = seen @ pulled  # [N, groups, Cin/groups, Cout/groups]
        squares = np.square(sums, dtype=np.float64).sum(axis=0)
        found += squares.transpose(0, 2, 1).reshape(conv.out_channels, group_in)
    return found / count


def _signs(generator: np.random.Generator, value: Array) -> Array:
    """Random signs, sized so that their reactions are noise-to-signal."""
    power = float(np.square(value, dtype=np.float64).sum()) / len(value)
    signs = generator.integers(0, 2, value.shape) * 2.0 - 1.0
    return (signs / np.sqrt(max(power, 1e-30))).astype(value.dtype)


class _Beyond:
    """The values of a tensor [N, ...] beyond `LEVELS` times the largest, which are all that clipping from
    above changes: found once for all probes.
    """

    def __init__(self, value: Array) -> None:
        largest = float(value.max())
        self.count, self.levels = len(value), LEVELS * largest
        flat = value.reshape(-1)
        self.places = np.flatnonzero(flat > self.levels[0]) if largest > 0.0 else np.zeros(0, np.intp)
        self.values = flat[self.places]
        # Of each value its sample and how many levels it is beyond, as one number.
        passed = np.searchsorted(self.levels, self.values)
        self.bins = self.places // (flat.size // self.count) * (len(LEVELS) + 1) + passed

    def noise(self, reaction: Array) -> Array:
        """Noise [levels] of clipping each sample's values at each level: the square of what adds up."""
        if not self.places.size:
            return np.zeros(len(LEVELS))
        pull = reaction.reshape(-1)[self.places].astype(np.float64)
        pulls, reach = self._beyond(pull), self._beyond(pull * self.values)
        return np.asarray(np.square(reach - pulls * self.levels).sum(axis=0) / self.count)

    def _beyond(self, numbers: Array) -> Array:
        """Sums [N, levels] of one number a value over those beyond each level."""
        size = len(LEVELS) + 1
        sums = np.bincount(self.bins, numbers, self.count * size).reshape(self.count, size)
        return np.cumsum(sums[:, :0:-1], axis=1)[:, ::-1]
