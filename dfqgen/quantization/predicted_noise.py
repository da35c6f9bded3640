"""Noise that is predicted at a network's outputs: of activations in their integer types, and of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.ranges import sigma_range
from dfqgen.quantization.tensor_ranges import KNOWN_SIGMA, unseen_clipping
from dfqgen.quantization.types import Typed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.reactions import Reaction, heads

WEIGHT_SAMPLES = 2
"""Samples on which the noise of weights is measured."""


def activation_noise(statistics: ChannelStatistics, reaction: Reaction, qtype: QType) -> float:
    """Noise-to-signal at the outputs of rounding and clipping one tensor to a type.

    The same three parts that `tensor_ranges` weighs: rounding, clipping that samples show, and that of
    rarer values.
    """
    lo, hi = qtype.real_range
    levels = qtype.dtype.maximum - qtype.dtype.minimum
    noise = float((reaction.rounding(lo, hi, levels) + reaction.clipping(lo, hi)).mean())
    low, high = sigma_range(statistics, KNOWN_SIGMA)
    bounds = (-float(statistics.lo.min()), float(statistics.hi.max()))
    for limit, evidence, bound in zip((-lo, hi), (-low, high), bounds, strict=True):
        if evidence > 0.0:
            noise += unseen_clipping(max(limit, 0.0), evidence, max(bound, evidence))
    return noise


def weight_noise(typed: Typed, weights: Mapping[str, QuantizedWeight]) -> float:
    """Noise-to-signal at the outputs of rounded weights alone, measured on procedural samples."""
    samples = {name: value[:WEIGHT_SAMPLES] for name, value in typed.evidence.samples.items()}
    ops: dict[str, Op] = {}
    for node in typed.graph.nodes:
        if isinstance(node.op, Conv2D) and node.output in weights:
            ops[node.output] = replace(node.op, weight=weights[node.output].dequantize())
    ends = heads(typed.graph)
    exact, changed = (_values(graph, samples, ends) for graph in (typed.graph, typed.graph.replace_ops(ops)))
    shares = [
        float(np.mean((changed[end] - exact[end]) ** 2) / max(np.mean(exact[end] ** 2), 1e-30))
        for end in ends
    ]
    return float(np.mean(shares))


def _values(graph: Graph, samples: Mapping[str, Array], tensors: tuple[str, ...]) -> dict[str, Array]:
    found = {name: np.asarray(value, np.float64) for name, value in samples.items() if name in tensors}

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        if node.output in tensors:
            found[node.output] = output.astype(np.float64)

    graph.evaluate(samples, watch)
    return found
