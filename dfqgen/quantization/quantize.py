"""Float graph and statistics -> fixed-point program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.site import Site
from dfqgen.ops.lookup import Clip
from dfqgen.passes.correct_bias import correct_bias
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.ranges import activation_type, choose_range, sigma_range
from dfqgen.quantization.weights import quantize_weights
from dfqgen.statistics.channel import ChannelStatistics

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


def quantize_graph(prepared: Prepared, options: QuantizeOptions) -> Program:
    """Lower every node to integers. The program is verified (no accumulator can overflow)."""
    graph, statistics = prepared.graph, prepared.statistics
    clips = fused_clips(graph)
    types = activation_types(graph, statistics, clips, options)
    weights = quantize_weights(graph, types, options)
    if options.correct_bias:
        means = {name: channels.moments()[0] for name, channels in statistics.items()}
        graph = correct_bias(graph, means, {name: weight.dequantize() for name, weight in weights.items()})
    tensors = {name: QTensor(name, graph.shapes[name], qtype) for name, qtype in types.items()}

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
    program = Program(
        name=graph.name,
        inputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.inputs),
        outputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.outputs),
        tensors={name: tensors[name] for name in _written(graph, ops)},
        ops=tuple(ops),
    )
    program.verify()
    return program


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


def activation_types(
    graph: Graph,
    statistics: Mapping[str, ChannelStatistics],
    clips: Mapping[str, Node],
    options: QuantizeOptions,
) -> dict[str, QType]:
    """The integer type of every tensor that exists in the program."""
    types: dict[str, QType] = {}
    for port in graph.inputs:
        lo, hi = sigma_range(statistics[port.tensor], options.n_sigma)
        types[port.tensor] = activation_type(lo, hi, power_of_two=options.power_of_two)
    for node in graph.nodes:
        if node.output in clips:
            continue  # never exists: its clip's output does
        fixed = node.op.output_type()
        if fixed is not None:
            types[node.output] = fixed
        elif node.op.keeps_type:
            types[node.output] = types[node.inputs[0]]
        else:
            lo, hi = choose_range(
                statistics[node.output], options.range_method, options.n_sigma, IntType.INT8
            )
            types[node.output] = activation_type(lo, hi, power_of_two=options.power_of_two)
    return types
