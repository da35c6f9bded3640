"""The real range that each tensor's integers represent: the least error that is predicted at the outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.graph.ir import Graph
from dfqgen.ops.lookup import Clip
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.ranges import choose_range, extremes, sigma_range
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.reactions import LEVELS, Reaction
from dfqgen.statistics.saturation import heard_statistics

Range = tuple[float, float]

KNOWN_SIGMA = 4.0
"""Where some ten thousand values of a normal distribution end: as far as a known deviation is evidence."""
SCORE_SIGMA = 8.0
"""The same for a network's last layers, where deviations alone decide: their rare extremes are the answer."""
SURPRISE_SHARE = 0.2
SURPRISE_OCTAVES = 0.8
USUAL_OCTAVES = 0.3
"""How real extremes compare with the evidence for them, in octaves: most fall around it with the deviation
USUAL_OCTAVES, a share lies above it, exponentially distributed with the mean SURPRISE_OCTAVES. Fitted to the
real extremes of the tensors of five networks (docs/accuracy.md has the halves)."""
DAMAGE = 0.005
"""Noise-to-signal at the outputs where one tensor's rare values are cut to nothing. What samples show of
clipping is counted by itself; this is for what they do not show."""
CANDIDATES = 2.0 ** np.arange(-0.5, 4.01, 0.125)
"""What the evidence is multiplied by."""

_QUANTILES = (np.arange(40) + 0.5) / 40
SURPRISES = 2.0 ** np.concatenate(
    [USUAL_OCTAVES * ndtri(_QUANTILES), -SURPRISE_OCTAVES * np.log(1.0 - _QUANTILES)]
)
WEIGHTS = np.repeat([(1.0 - SURPRISE_SHARE) / 40, SURPRISE_SHARE / 40], 40)
TINY = 1e-30


def tensor_ranges(prepared: Prepared, recipe: ActivationsRecipe) -> dict[str, Range]:
    """The range of every tensor of the graph by itself, before families of tensors share one."""
    graph = prepared.graph
    inputs, scores = {port.tensor for port in graph.fed}, score_tensors(graph)
    ranges: dict[str, Range] = {}
    for tensor, known in prepared.statistics.items():
        statistics = heard_statistics(graph, tensor, known)
        stated = recipe.n_sigma_scores if tensor in scores else None
        stated = recipe.n_sigma if stated is None else stated
        # What trades extremes away is wrong where they are the answer. An input has all its stated range.
        extreme = tensor in scores or tensor in inputs
        usual = SCORE_SIGMA if tensor in scores else KNOWN_SIGMA
        if recipe.range_method != "predicted":
            method = "sigma" if extreme else recipe.range_method
            ranges[tensor] = choose_range(statistics, method, stated or usual, IntType.INT8)
        elif stated is not None:
            ranges[tensor] = sigma_range(statistics, stated)
        elif tensor in prepared.reactions and tensor not in inputs:
            reaction = prepared.reactions[tensor]
            ranges[tensor] = (
                observed_range(statistics, reaction, prepared.caution)
                if prepared.real
                else predicted_range(statistics, reaction)
            )
        elif prepared.real:
            ranges[tensor] = extremes(statistics)
        else:
            ranges[tensor] = sigma_range(statistics, usual)
        if ranges[tensor] == (0.0, 0.0):
            ranges[tensor] = range_at_rest(graph, tensor, ranges)
    for before, after in graph.kept:
        ranges[before.tensor] = ranges[after.tensor]
    return ranges


def range_at_rest(graph: Graph, tensor: str, ranges: Mapping[str, Range]) -> Range:
    """Of a clip that nothing ever left zero on: as far as what it reads reaches to the other side."""
    node = graph.producers.get(tensor)
    if node is None or not isinstance(node.op, Clip):
        return 0.0, 0.0
    reach = max(abs(end) for end in ranges[node.inputs[0]])
    return max(-reach, float(node.op.lo.min())), min(reach, float(node.op.hi.max()))


def predicted_range(statistics: ChannelStatistics, reaction: Reaction) -> Range:
    """The range of least predicted noise: of rounding, of clipping what samples show, and what they may not.

    The evidence for an extreme is the larger of the samples' and of a known deviation's. How far a real one
    lies beyond is uncertain (`SURPRISES`), so a tensor to which the outputs hardly react gets much
    headroom, and one whose rounding they hear gets little. Hard bounds hold.
    """
    candidates, surprises = possible_reach(statistics, CANDIDATES), possible_reach(statistics, SURPRISES)
    chosen = [float(ends[0]) for ends in possible_reach(statistics, np.ones(1))]
    for side in (1, 0, 1, 0):
        if candidates[side].any():
            chosen[side] = _least_noise(candidates[side], surprises[side], chosen, side, reaction)
    return 0.0 - chosen[0], chosen[1]


def possible_reach(statistics: ChannelStatistics, surprise: Array) -> tuple[Array, Array]:
    """How far below and above zero values get where they go so many times as far as the evidence.

    From zero; but from each channel's mean where a mean lies farther on the other side than any value on
    this one, as a detector's scores do where there is nothing to detect: zero is no end of theirs.
    """
    low, high = statistics.interval(KNOWN_SIGMA)
    mean = np.clip(statistics.moments()[0], low, high)
    return (
        _farthest(-low, -mean, -statistics.lo, surprise),
        _farthest(high, mean, statistics.hi, surprise),
    )


def _farthest(extreme: Array, mean: Array, bound: Array, surprise: Array) -> Array:
    """Of all channels [C], at each surprise [S]; not below zero."""
    far = np.minimum(extreme.max() * surprise, bound.max())
    if -mean.min() > extreme.max():
        across = np.maximum(-mean, 0.0)[:, None] * np.maximum(surprise - 1.0, 0.0)
        far = np.minimum(extreme[:, None] * surprise + across, bound[:, None]).max(axis=0)
    return np.asarray(np.maximum(far, 0.0))


def observed_range(statistics: ChannelStatistics, reaction: Reaction, caution: float = 1.0) -> Range:
    """The range of least predicted noise where real samples show all that there is: within their extremes.

    What clipping does is known of the few samples that reactions were measured on; of all it is taken to do
    the same in parts of the extreme, `caution` times as much as is predicted.
    """
    low, high = extremes(statistics)
    ends = (max(-low, 0.0), max(high, 0.0))
    parts = (LEVELS if end > 0.0 else np.ones(1) for end in ends)
    below, above = (grid.reshape(-1) for grid in np.meshgrid(*parts, indexing="ij"))
    lo, hi = -ends[0] * below, ends[1] * above
    clipped = reaction.clipping(reaction.lo * below, reaction.hi * above)
    noise = (reaction.rounding(lo, hi) + caution * clipped).mean(axis=0)
    best = np.flatnonzero(noise == noise.min())[-1]  # of equals the widest
    return float(lo[best]), float(hi[best])


def unseen_noise(statistics: ChannelStatistics, chosen: Range) -> float:
    """Expected noise of a range on both sides where real values reach beyond what samples show."""
    limits = (max(-chosen[0], 0.0), max(chosen[1], 0.0))
    return sum(
        float(unseen_clipping(limit, real))
        for limit, real in zip(limits, possible_reach(statistics, SURPRISES), strict=True)
    )


def _least_noise(
    candidates: Array, surprises: Array, chosen: list[float], side: int, reaction: Reaction
) -> float:
    candidates = np.unique(candidates)
    lo, hi = (-candidates, chosen[1]) if side == 0 else (-chosen[0], candidates)
    seen = reaction.rounding(lo, hi) + reaction.clipping(lo, hi)
    noise = seen.mean(axis=0) + unseen_clipping(candidates, surprises)
    return float(candidates[int(np.argmin(noise))])


def unseen_clipping(limit: float | Array, real: Array) -> Array:
    """Expected noise of clipping at each `limit` [...] where real values reach so far, by `SURPRISES`."""
    limits = np.asarray(limit)[..., None]
    cut = np.where(real > limits, 1.0 - limits / np.maximum(real, TINY), 0.0)
    return DAMAGE * np.asarray(np.sum(WEIGHTS * cut**2, axis=-1))


def score_tensors(graph: Graph) -> frozenset[str]:
    """Tensors that leave the network as they are, or through a softmax: what decides is their extremes."""
    scores = {port.tensor for port in graph.given}
    for node in reversed(graph.nodes):
        if node.output in scores and (node.op.keeps_type or node.op.reads_scores):
            scores.update(node.inputs)
    return frozenset(scores)
