"""Channels that carry nothing are taken out of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.chains import Chain, find_chains
from dfqgen.passes.contract import Passed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics

# Kernels work on blocks of channels: a ragged number of them costs more than a few idle ones.
CHANNEL_BLOCK = 8


def remove_dead_channels(graph: Graph, known: Statistics, *, block: int = CHANNEL_BLOCK) -> Passed:
    """Take out channels whose weights are zero on both sides, as `fold_dead_channels` leaves them.

    A depthwise convolution passes channels on one to one, so the chains before and after it lose the same
    channels. The number that stays is a multiple of `block`, or all. Same function.
    """
    statistics = dict(known)
    ops: dict[str, Op] = {}
    removed = 0

    def op_of(name: str) -> Op:
        return ops.get(name, graph.producers[name].op)

    for run in _runs(graph):
        keep = _kept(graph, run, block)
        removed += int(np.count_nonzero(~keep)) * len(run)
        if keep.all():
            continue
        for position, chain in enumerate(run):
            first, second = op_of(chain.first), op_of(chain.second)
            assert isinstance(first, Conv2D)
            assert isinstance(second, Conv2D)
            if position == 0:  # later ones are depthwise, and were the second of the chain before
                ops[chain.first] = replace(first, weight=first.weight[keep], bias=first.bias[keep])
            if position < len(run) - 1:
                groups = int(np.count_nonzero(keep))
                ops[chain.second] = replace(
                    second, weight=second.weight[keep], bias=second.bias[keep], groups=groups
                )
            else:
                ops[chain.second] = replace(second, weight=second.weight[..., keep])
            for tensor in chain.between:
                ops[tensor] = op_of(tensor).selected(np.flatnonzero(keep))
            for tensor in chain.tensors:
                if tensor in statistics:
                    statistics[tensor] = _selected(statistics[tensor], keep)
    return Passed(graph.replace_ops(ops), statistics, f"{removed} taken out")


def _runs(graph: Graph) -> Iterator[list[Chain]]:
    """Chains joined at depthwise convolutions: dense -> depthwise -> ... -> dense."""
    chains = list(find_chains(graph))
    by_first = {chain.first: chain for chain in chains}

    def conv(name: str) -> Conv2D:
        op = graph.producers[name].op
        assert isinstance(op, Conv2D)
        return op

    for chain in chains:
        if conv(chain.first).groups != 1:
            continue
        run = [chain]
        while conv(run[-1].second).depthwise and run[-1].second in by_first:
            run.append(by_first[run[-1].second])
        if conv(run[-1].second).groups == 1:
            yield run


def _kept(graph: Graph, run: Sequence[Chain], block: int) -> Array:
    """Channels [C] that stay: all that carry something, and the first idle ones up to a full block."""
    dead = np.ones(graph.shapes[run[0].first][-1], bool)
    for position, chain in enumerate(run):
        first, second = graph.producers[chain.first].op, graph.producers[chain.second].op
        assert isinstance(first, Conv2D)
        assert isinstance(second, Conv2D)
        dead &= ~first.weight.any(axis=(1, 2, 3)) & (first.bias == 0)
        last = position == len(run) - 1
        dead &= ~second.weight.any(axis=(0, 1, 2)) if last else ~second.weight.any(axis=(1, 2, 3))
    spare = -int(np.count_nonzero(~dead)) % block
    dead[np.flatnonzero(dead)[: spare if dead.sum() >= spare else len(dead)]] = False
    if dead.all():  # a layer of no channels is none
        dead[:block] = False
    return ~dead


def _selected(statistics: ChannelStatistics, keep: Array) -> ChannelStatistics:
    return ChannelStatistics(
        statistics.mean[keep], statistics.std[keep], statistics.lo[keep], statistics.hi[keep]
    )
