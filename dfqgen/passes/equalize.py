"""Cross-layer equalization (Nagel et al. 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.chains import Chain, find_chains, scale_input_channels
from dfqgen.passes.contract import Passed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics

MAX_SWEEPS = 60
CONVERGED = 1e-3


def equalize(graph: Graph, known: Statistics, *, max_sweeps: int = MAX_SWEEPS) -> Passed:
    """Make the weight ranges of neighbouring layers' channels equal: s_i = sqrt(r1_i / r2_i).

    W1 <- W1 / s, b1 <- b1 / s, W2 <- W2 s (input channels), with r the largest |weight| of a channel,
    swept over all chains until no factor changes. A depthwise layer is the second of one chain and the
    first of the next. An upper clip between the layers (ReLU6) becomes one clip 6 / s_i a channel: the
    function stays exactly the same. Chains whose tensors have other readers are left alone.
    """
    chains = list(find_chains(graph))
    scales = equalizing_scales(graph, chains, max_sweeps)
    ops: dict[str, Op] = {}
    for chain, scale in zip(chains, scales, strict=True):
        first = ops.get(chain.first, graph.producers[chain.first].op)
        second = ops.get(chain.second, graph.producers[chain.second].op)
        assert isinstance(first, Conv2D)
        assert isinstance(second, Conv2D)
        ops[chain.first] = replace(
            first, weight=first.weight / scale[:, None, None, None], bias=first.bias / scale
        )
        ops[chain.second] = replace(second, weight=scale_input_channels(second, scale))
        known = rescale_tensors(known, chain, 1.0 / scale)
        for tensor in chain.between:
            node = graph.producers[tensor]
            scaled = node.op.scaled(1.0 / scale, graph.shapes[node.inputs[0]])
            assert scaled is not None, "a chain goes through what can be scaled"
            ops[tensor] = scaled
    spread, graph = weight_spread(graph), graph.replace_ops(ops)
    return Passed(graph, known, f"channel range spread {spread:.1f}x -> {weight_spread(graph):.1f}x")


def weight_spread(graph: Graph) -> float:
    """Geometric mean over convolutions of (largest / median range of an output channel)."""
    spreads = []
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            ranges = np.abs(node.op.weight).max(axis=(1, 2, 3))
            alive = ranges[ranges > 0]
            if alive.size:
                spreads.append(np.log(alive.max() / np.median(alive)))
    return float(np.exp(np.mean(spreads))) if spreads else 1.0


def equalizing_scales(graph: Graph, chains: Sequence[Chain], max_sweeps: int) -> list[Array]:
    """The factor s [channels] of every chain at which all its ranges are equal.

    Works on max |W| over the window, [Cout, Cin/groups] a layer, since only ranges matter.
    """
    ranges: dict[str, _Ranges] = {}
    for name in {name for chain in chains for name in (chain.first, chain.second)}:
        conv = graph.producers[name].op
        assert isinstance(conv, Conv2D)
        ranges[name] = _Ranges(np.abs(conv.weight).max(axis=(1, 2)).astype(np.float64), conv.groups)
    scales = [np.ones(graph.shapes[chain.first][-1]) for chain in chains]
    for _ in range(max_sweeps):
        largest_change = 0.0
        for index, chain in enumerate(chains):
            first, second = ranges[chain.first], ranges[chain.second]
            r1, r2 = first.of_outputs(), second.of_inputs()
            usable = (r1 > 0) & (r2 > 0)
            factor = np.sqrt(np.where(usable, r1, 1.0) / np.where(usable, r2, 1.0))
            first.scale_outputs(1.0 / factor)
            second.scale_inputs(factor)
            scales[index] = scales[index] * factor
            largest_change = max(largest_change, float(np.abs(np.log(factor)).max()))
        if largest_change < CONVERGED:
            break
    return scales


class _Ranges:
    """max |W| over the window of one convolution, [groups, Cout/groups, Cin/groups], scaled in place."""

    def __init__(self, largest: Array, groups: int) -> None:
        self._largest = largest.reshape(groups, largest.shape[0] // groups, largest.shape[1])

    def of_outputs(self) -> Array:
        return self._largest.max(axis=2).reshape(-1)

    def of_inputs(self) -> Array:
        return self._largest.max(axis=1).reshape(-1)

    def scale_outputs(self, factor: Array) -> None:
        self._largest *= factor.reshape(self._largest.shape[:2])[:, :, None]

    def scale_inputs(self, factor: Array) -> None:
        self._largest *= factor.reshape(self._largest.shape[0], 1, self._largest.shape[2])


def rescale_tensors(known: Statistics, chain: Chain, factor: Array) -> dict[str, ChannelStatistics]:
    """Statistics of a chain's tensors after their channels were multiplied by `factor`."""
    return {
        name: statistics.scale_shift(factor) if name in chain.tensors else statistics
        for name, statistics in known.items()
    }
