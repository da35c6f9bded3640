"""Cross-layer equalization (Nagel et al. 2019, section 4.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.chains import Chain, find_chains, input_channel_ranges, scale_input_channels
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics

MAX_SWEEPS = 60
CONVERGED = 1e-3


def equalize(
    graph: Graph, known: Statistics, *, max_sweeps: int = MAX_SWEEPS
) -> tuple[Graph, dict[str, ChannelStatistics]]:
    """Make the weight ranges of neighbouring layers' channels equal: s_i = sqrt(r1_i / r2_i).

    W1 <- W1 / s, b1 <- b1 / s, W2 <- W2 s (input channels), with r the largest |weight| of a channel,
    swept over all chains until no factor changes. A depthwise layer is the second of one chain and the
    first of the next. An upper clip between the layers (ReLU6) becomes one clip 6 / s_i a channel: the
    function stays exactly the same. Chains whose tensors have other readers are left alone.
    """
    chains = list(find_chains(graph))
    for _ in range(max_sweeps):
        ops: dict[str, Op] = {}
        largest_change = 0.0
        for chain in chains:
            first = ops.get(chain.first, graph.producers[chain.first].op)
            second = ops.get(chain.second, graph.producers[chain.second].op)
            assert isinstance(first, Conv2D)
            assert isinstance(second, Conv2D)
            scale = _equalizing_scale(first, second)
            largest_change = max(largest_change, float(np.abs(np.log(scale)).max()))
            ops[chain.first] = replace(
                first, weight=first.weight / scale[:, None, None, None], bias=first.bias / scale
            )
            ops[chain.second] = replace(second, weight=scale_input_channels(second, scale))
            known = rescale_tensors(known, chain, 1.0 / scale)
            for tensor in chain.between:
                op = ops.get(tensor, graph.producers[tensor].op)
                if isinstance(op, Clip):
                    ops[tensor] = rescale_clip(op, 1.0 / scale)
        graph = graph.replace_ops(ops)
        if largest_change < CONVERGED:
            break
    return graph, dict(known)


def _equalizing_scale(first: Conv2D, second: Conv2D) -> Array:
    r1 = np.abs(first.weight).max(axis=(1, 2, 3))
    r2 = input_channel_ranges(second)
    usable = (r1 > 0) & (r2 > 0)
    return np.sqrt(np.where(usable, r1, 1.0) / np.where(usable, r2, 1.0))


def rescale_clip(clip: Clip, factor: Array) -> Clip:
    """The clip after its input's channels were multiplied by `factor`; bounds 0 and infinity stay shared."""

    def bound(values: Array) -> Array:
        if values.size == 1 and (values[0] == 0.0 or np.isinf(values[0])):
            return values
        return values * factor

    return Clip(bound(clip.lo), bound(clip.hi))


def rescale_tensors(known: Statistics, chain: Chain, factor: Array) -> dict[str, ChannelStatistics]:
    """Statistics of a chain's tensors after their channels were multiplied by `factor`."""
    return {
        name: statistics.scale_shift(factor) if name in chain.tensors else statistics
        for name, statistics in known.items()
    }
