"""Channels that are constant go into the next layer's bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.chains import find_chains, scale_input_channels
from dfqgen.passes.contract import Passed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics, propagate

DEAD_RATIO = 1e-5


def fold_dead_channels(graph: Graph, known: Statistics) -> Passed:
    """Fold constant channels into the next convolution's bias.

    MobileNets trained with weight decay have them: running variance ~0, folded weights ~1e-12, and next
    layers' weights for them that nothing ever trained down, which ruin ranges and equalization. The
    constant goes through the activation into the bias and both layers' weights of the channel become 0.
    Same function but at zero-padded borders.
    """
    statistics = dict(known)
    folded = 0
    for chain in find_chains(graph):
        first, second = graph.producers[chain.first], graph.producers[chain.second]
        assert isinstance(first.op, Conv2D)
        assert isinstance(second.op, Conv2D)
        dead = _is_constant(first.op, statistics.get(chain.first))
        # Nothing to do where both sides are zero already.
        reaching = (
            np.abs(second.op.weight).max(axis=(1, 2)).reshape(second.op.groups, -1, second.op.weight.shape[3])
        )
        dead &= (reaching.max(axis=1).reshape(-1) > 0) | (np.abs(first.op.weight).max(axis=(1, 2, 3)) > 0)
        if not dead.any() or dead.all():
            continue
        everywhere = propagate(graph, statistics)
        constant = np.where(dead, everywhere[second.inputs[0]].moments()[0], 0.0)
        alive = np.where(dead, 0.0, 1.0)
        ops: dict[str, Op] = {
            chain.first: replace(
                first.op,
                weight=first.op.weight * alive[:, None, None, None],
                bias=np.where(dead, 0.0, first.op.bias),
            ),
            chain.second: replace(
                second.op,
                weight=scale_input_channels(second.op, alive),
                bias=second.op.bias + second.op.window_sum(constant),
            ),
        }
        graph = graph.replace_ops(ops)
        if chain.first in statistics:
            before = statistics[chain.first]
            statistics[chain.first] = ChannelStatistics(
                before.mean * alive, before.std * alive, before.lo, before.hi
            )
        folded += int(dead.sum())
    return Passed(graph, statistics, f"{folded} constant channels moved into biases")


def _is_constant(conv: Conv2D, known: ChannelStatistics | None) -> Array:
    """Output channels [Cout] that never vary: by batch normalization, or by weights of (almost) zero.

    A deviation that was only propagated proves nothing: it shrinks from layer to layer where inputs
    are correlated.
    """
    largest = np.abs(conv.weight).max(axis=(1, 2, 3))
    constant = largest <= DEAD_RATIO * largest.max(initial=0.0)
    if known is not None:
        constant |= known.std <= DEAD_RATIO * known.std.max(initial=0.0)
    return constant
