"""Float graph and statistics -> fixed-point program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.site import QuantizedWeight, Site
from dfqgen.ops.lookup import Clip
from dfqgen.passes.correct_bias import correct_bias
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.unify import insert_rescales, unified_types
from dfqgen.quantization.weights import bound_biases, quantize_weights
from dfqgen.quantization.widths import range_widths
from dfqgen.statistics.channel import ChannelStatistics

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A prepared graph whose tensors have their integer types; the weights are still float.

    `clips` are the fused activations by the tensor they take over.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    clips: Mapping[str, Node]
    types: Mapping[str, QType]


def assign_types(prepared: Prepared, options: QuantizeOptions) -> Typed:
    """Choose the type of every tensor that the program will have (and insert the rescales it needs)."""
    clips = fused_clips(prepared.graph)
    widths = range_widths(prepared.graph, prepared.trusted, options)
    graph, statistics = insert_rescales(prepared.graph, prepared.statistics, clips, widths, options)
    return Typed(graph, statistics, clips, unified_types(graph, statistics, clips, widths, options))


def quantize_graph(
    prepared: Prepared,
    options: QuantizeOptions,
    *,
    bits: Mapping[str, IntType] | None = None,
    weights: Mapping[str, QuantizedWeight] | None = None,
) -> Program:
    """Lower every node to integers. The program is verified (no accumulator can overflow).

    Raises UserError where a layer's numbers are so far out of proportion that its arithmetic has no room.
    By output tensor of the layer, `bits` gives weights another width than 8, and `weights` ready integers
    (AdaRound's, for instance). Who rounded these saw to the layer's bias too: it is not corrected again.
    """
    typed = assign_types(prepared, options)
    graph, clips, types = typed.graph, typed.clips, typed.types
    graph = bound_biases(graph, types, clips)
    rounded = quantize_weights(graph, types, clips, options, bits or {}, skip=(weights or {}).keys())
    if options.correct_bias:
        means = {name: channels.moments()[0] for name, channels in typed.statistics.items()}
        graph = correct_bias(graph, means, {name: weight.dequantize() for name, weight in rounded.items()})
    rounded.update(weights or {})
    tensors = {name: QTensor(name, graph.shapes[name], qtype) for name, qtype in types.items()}

    try:
        ops = _lowered(graph, clips, tensors, rounded)
        program = Program(
            name=graph.name,
            inputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.inputs),
            outputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.outputs),
            tensors={name: tensors[name] for name in _written(graph, ops)},
            ops=tuple(ops),
        )
        program.verify()
    except ProgramError as error:
        raise UserError(
            f"this network leaves 32-bit arithmetic: {error}",
            "Its numbers are out of proportion there: look at that layer's parameters in a viewer, and at "
            "--input-mean, --input-std and --input-range.",
        ) from error
    return program


def _lowered(
    graph: Graph,
    clips: Mapping[str, Node],
    tensors: Mapping[str, QTensor],
    weights: Mapping[str, QuantizedWeight],
) -> list[QOp]:
    """The integer operators of every node, in order."""
    ops: list[QOp] = []
    absorbed = {clip.output for clip in clips.values()}
    for node in graph.nodes:
        if node.output in absorbed:
            continue
        clip = clips.get(node.output)
        site = Site(
            name=node.name,
            inputs=tuple(tensors[name] for name in node.inputs),
            output=tensors[clip.output if clip else node.output],
            clip=_bounds(clip),
            weight=weights.get(node.output),
        )
        ops.extend(node.op.lower(site))
    return ops


def _bounds(clip: Node | None) -> tuple[Array, Array]:
    if clip is None:
        return UNCLIPPED
    assert isinstance(clip.op, Clip)
    return clip.op.lo, clip.op.hi


def _written(graph: Graph, ops: list[QOp]) -> list[str]:
    return [port.tensor for port in graph.inputs] + [op.output for op in ops]


def fused_clips(graph: Graph) -> dict[str, Node]:
    """The Clip node that becomes the bounds of each requantization, by the output tensor it takes over."""
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        reader = graph.sole_consumer(node.output)
        if node.op.fuses_clip and reader is not None and isinstance(reader.op, Clip):
            fused[node.output] = reader
    return fused
