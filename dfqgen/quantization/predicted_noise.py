"""Noise that is predicted at a network's outputs: of activations in their integer types, and of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.graph.steps import with_states
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.contract import Note
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.ranges import sigma_range
from dfqgen.quantization.rounding import Rounded
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


def weight_noise(typed: Typed, rounded: Rounded) -> float:
    """Noise-to-signal at the outputs of rounded weights alone, measured on procedural samples."""
    drawn = {name: value[:WEIGHT_SAMPLES] for name, value in typed.evidence.samples.items()}
    samples = with_states(typed.graph, drawn)
    ops: dict[str, Op] = {}
    for node in rounded.graph.nodes:
        if isinstance(node.op, Conv2D) and node.output in rounded.weights:
            ops[node.output] = replace(node.op, weight=rounded.weights[node.output].dequantize())
    ends = heads(typed.graph)
    graphs = (typed.graph, rounded.graph.replace_ops(ops))
    exact, changed = (_values(graph, samples, ends) for graph in graphs)
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


def predicted_sqnr(
    prepared: Prepared, typed: Typed, weights: Mapping[str, QuantizedWeight]
) -> dict[str, float]:
    """SQNR in dB of each output by port name, to first order; nothing where reactions are not known.

    Rounding and clipping of all activations in their types, and rounding of the weights, biases corrected.
    An output behind a softmax or its like is judged before it (`heads`); what samples do not show of
    clipping is left out.
    """
    ends = heads(prepared.graph)
    total = np.zeros(len(set(ends)))
    for tensor, qtype in typed.types.items():
        node = typed.graph.producers.get(tensor)
        reaction = prepared.reactions.get(tensor)
        if reaction is None or (node is not None and node.op.keeps_type):
            continue
        lo, hi = qtype.real_range
        levels = qtype.dtype.maximum - qtype.dtype.minimum
        total = total + reaction.rounding(lo, hi, levels) + reaction.clipping(lo, hi)
    for layer, weight in weights.items():
        reaction = prepared.reactions.get(layer)
        if reaction is not None and reaction.weights is not None:
            steps = np.broadcast_to(np.asarray(weight.scale, np.float64), weight.values.shape[:1])
            total = total + reaction.weights.sum(axis=2) @ steps**2 / 12.0
    if not total.any():
        return {}
    places = {end: index for index, end in enumerate(dict.fromkeys(ends))}
    noises = dict(
        zip(sorted(prepared.graph.output_tensors), (total[places[end]] for end in ends), strict=True)
    )
    return {
        port.name: float(-10.0 * np.log10(max(noises[port.tensor], 1e-30))) for port in prepared.graph.outputs
    }


def predicted_note(sqnr_db: Mapping[str, float]) -> tuple[Note, ...]:
    """For the report and the terminal."""
    values = ", ".join(f"{name} {value:.1f} dB" for name, value in sqnr_db.items())
    return (Note("predicted", f"{values}, by the noise model"),) if values else ()
