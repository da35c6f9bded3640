"""Types that the model states, each where its tensor is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.rewrite import ANY, Result, Row, pattern, rewrite
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.movement import Pad


def state_types_once(graph: Graph) -> Graph:
    """Every FakeQuantize directly behind what computes its tensor, and all readers behind it.

    Tools round in front of a reader, of each reader, or behind operators that only move elements. A tensor
    that is rounded for some readers and not for others is rounded for all: it will be integers anyway.
    """
    return rewrite(share_rounding(graph), lift_rounding, drop_second_rounding)


def share_rounding(graph: Graph) -> Graph:
    """The graph where a tensor that is rounded to one type is read rounded only. Others stay as they are."""
    rounded: dict[str, Node] = {}
    for tensor, readers in graph.consumers.items():
        rounders = [node for node in readers if isinstance(node.op, FakeQuantize)]
        producer = graph.producers.get(tensor)
        if len(rounders) == 1 and not (producer is not None and isinstance(producer.op, FakeQuantize)):
            rounded[tensor] = rounders[0]
    early = {node.output for node in rounded.values()}
    nodes = [rounded[port.tensor] for port in graph.inputs if port.tensor in rounded]
    for node in graph.nodes:
        if node.output in early:
            continue
        inputs = tuple(rounded[name].output if name in rounded else name for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        if node.output in rounded:
            nodes.append(rounded[node.output])
    outputs = tuple(
        replace(port, tensor=rounded[port.tensor].output) if port.tensor in rounded else port
        for port in graph.outputs
    )
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


@pattern(ANY, FakeQuantize, read_once=True)
def lift_rounding(row: Row, mover: Op, rounding: FakeQuantize) -> Result:
    """Rounding what was only moved is moving what was rounded; the largest of rounded values is rounded."""
    if not mover.keeps_type:
        return None
    if isinstance(mover, Pad):
        value = rounding.qtype.dequantize(rounding.qtype.quantize(np.array(mover.value)))
        mover = replace(mover, value=float(value))
    before = [row.scope.fresh(f"{name}/rounded") for name in row.first.inputs]
    return [
        *(
            Node(row.last.name, rounding, (name,), inner)
            for name, inner in zip(row.first.inputs, before, strict=True)
        ),
        Node(row.first.name, mover, tuple(before), row.last.output),
    ]


@pattern(FakeQuantize)
def drop_second_rounding(row: Row, rounding: FakeQuantize) -> Result:
    """What was rounded to this type, and perhaps moved since, is not rounded again."""
    tensor = row.last.inputs[0]
    source = row.scope.producers.get(tensor)
    while (
        source is not None
        and len(source.inputs) == 1
        and source.op.keeps_type
        and not isinstance(source.op, Pad)
    ):
        source = row.scope.producers.get(source.inputs[0])
    first = source.op if source is not None else None
    return tensor if isinstance(first, FakeQuantize) and first.qtype == rounding.qtype else None
