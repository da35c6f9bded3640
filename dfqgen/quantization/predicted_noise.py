"""Noise that is predicted at a network's outputs: of activations in their integer types, weights, both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.graph.steps import with_states
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.recurrent import Recurrent
from dfqgen.passes.contract import Note
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Rounded
from dfqgen.quantization.tensor_ranges import TINY, unseen_noise
from dfqgen.quantization.types import Typed
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.reactions import Reaction
from dfqgen.statistics.saturation import heads, heard_values
from dfqgen.statistics.silence import rests, signal_of

WEIGHT_SAMPLES = 2
"""Samples on which the noise of weights is measured."""
FEWEST_SIMULATED = 4
SIMULATED_MACS = 1 << 28
"""Multiply-accumulates of all samples together, unless the fewest take more."""


def activation_noise(statistics: ChannelStatistics, reaction: Reaction, qtype: QType) -> Array:
    """Noise-to-signal at each output [H] of rounding and clipping one tensor to a type.

    The same three parts that `tensor_ranges` weighs: rounding, clipping that samples show, and that of
    rarer values.
    """
    lo, hi = qtype.real_range
    levels = qtype.dtype.maximum - qtype.dtype.minimum
    noise = reaction.rounding(lo, hi, levels) + reaction.clipping(lo, hi)
    return noise + unseen_noise(statistics, (lo, hi))


def weight_noise(typed: Typed, rounded: Rounded) -> Array:
    """Noise-to-signal at each head [H] of rounded weights alone, measured on procedural samples; of a head
    that rests beside the most that can be heard of it.
    """
    drawn = {name: value[:WEIGHT_SAMPLES] for name, value in typed.evidence.samples.items()}
    samples = with_states(typed.graph, drawn)
    ops: dict[str, Op] = {}
    for node in rounded.graph.nodes:
        if isinstance(node.op, Conv2D) and node.output in rounded.weights:
            ops[node.output] = replace(node.op, weight=rounded.weights[node.output].dequantize())
        elif isinstance(node.op, Recurrent):
            ops[node.output] = node.op.rounded(rounded.bits.get(node.output, IntType.INT8))
    ends = tuple(dict.fromkeys(heads(typed.graph)))
    graphs = (typed.graph, rounded.graph.replace_ops(ops))
    exact, changed = (_values(graph, samples, ends) for graph in graphs)
    shares = []
    for end in ends:
        heard = heard_values(typed.graph, end, exact[end])
        signal = heard if rests(typed.graph, end, heard) else exact[end]
        shares.append(np.mean((changed[end] - exact[end]) ** 2) / max(np.mean(signal**2), TINY))
    return np.array(shares)


def _values(
    graph: Graph,
    samples: Mapping[str, Array],
    tensors: tuple[str, ...],
    types: Mapping[str, QType] = MappingProxyType({}),
) -> dict[str, Array]:
    """Values of some tensors; those with one of the `types` are rounded to it where they are computed."""

    def rounded(name: str, value: Array) -> Array:
        return types[name].dequantize(types[name].quantize(value)).astype(value.dtype)

    given = {name: rounded(name, value) if name in types else value for name, value in samples.items()}
    found = {name: np.asarray(value, np.float64) for name, value in given.items() if name in tensors}

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> Array:
        result = rounded(node.output, output) if node.output in types else output
        if node.output in tensors:
            found[node.output] = result.astype(np.float64)
        return result

    graph.evaluate(given, watch)
    return found


def computed_tensors(typed: Typed) -> Iterator[str]:
    """Tensors whose integers are computed, not moved."""
    graph = typed.graph
    yield from (port.tensor for port in graph.inputs)
    for node in graph.nodes:
        if not node.op.keeps_type and node.output in typed.types:
            yield node.output


def first_order_sqnr(prepared: Prepared, typed: Typed, rounded: Rounded) -> dict[str, float]:
    """SQNR in dB of each output by port name, as its reactions to errors add up: no sample has to move it."""
    noise = weight_noise(typed, rounded)
    for tensor in computed_tensors(typed):
        reaction = prepared.reactions.get(tensor)
        if reaction is not None:
            noise = noise + activation_noise(typed.statistics[tensor], reaction, typed.types[tensor])
    ends = heads(typed.graph)
    noises = dict(zip(dict.fromkeys(ends), noise.tolist(), strict=True))
    by_output = dict(zip(sorted(typed.graph.output_tensors), ends, strict=True))
    return {port.name: _decibels(1.0, noises[by_output[port.tensor]]) for port in typed.graph.outputs}


def simulated_sqnr(
    prepared: Graph,
    program: Program,
    samples: Mapping[str, Array],
    counts: Array | None = None,
    stated: frozenset[str] = frozenset(),
) -> dict[str, float]:
    """SQNR in dB of each output by port name: the integers' on samples [N, ...] by tensor, states among them,
    of which each counts so much [N]. Outputs that rest on all of them are left out. Tensors whose types the
    model has `stated` are rounded in its float graph too: a zero point is its way to write a ReLU.

    An output behind a softmax or its like is judged before it (`heads`), without what that cannot tell apart
    (`heard_values`). Each step of a network with states starts from the exact ones.
    """
    ends = {
        output: end if end in program.tensors else output
        for output, end in zip(sorted(prepared.output_tensors), heads(prepared), strict=True)
    }
    types = {name: tensor.qtype for name, tensor in program.tensors.items() if name in stated}
    exact = _values(prepared, samples, tuple(ends.values()), types)
    found = {name: program.tensors[name].qtype.quantize(value) for name, value in samples.items()}
    program.run(dict(found), lambda op, value: found.__setitem__(op.output, value))
    decibels = {}
    for output, end in ends.items():
        real = program.tensors[end].qtype.dequantize(found[end])
        reference, value = (heard_values(prepared, end, x) for x in (exact[end], real))
        if rests(prepared, end, reference):
            continue
        noise, signal = (
            np.average(np.square(x).reshape(len(x), -1).sum(axis=1), weights=counts)
            for x in (value - reference, signal_of(prepared, end, reference))
        )
        decibels[output] = _decibels(signal, noise)
    return {port.name: decibels[port.tensor] for port in prepared.outputs if port.tensor in decibels}


def _decibels(signal: float, noise: float) -> float:
    return float(10.0 * np.log10(max(signal, TINY) / max(noise, TINY)))


def simulated_samples(program: Program) -> int:
    """How many a second or two can simulate."""
    return max(FEWEST_SIMULATED, SIMULATED_MACS // max(program.macs, 1))


def affordable(program: Program, samples: Mapping[str, Array]) -> dict[str, Array]:
    """As many of the samples as a second or two can simulate, from the first to the last."""
    given = len(next(iter(samples.values())))
    count = min(given, simulated_samples(program))
    spread = np.linspace(0, given - 1, count).round().astype(int)
    return {name: value[spread] for name, value in samples.items()}


def predicted_note(simulated: Mapping[str, float], estimated: Mapping[str, float]) -> tuple[Note, ...]:
    """For the report and the terminal. `estimated` are the outputs that no sample moves."""
    found = []
    for values, how in ((simulated, "simulated"), (estimated, "to first order: no sample moves it")):
        if values:
            words = ", ".join(f"{name} {value:.1f} dB" for name, value in values.items())
            found.append(f"{words}, {how}")
    return (Note("predicted", "; ".join(found)),) if found else ()
