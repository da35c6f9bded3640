"""Types that the model states: where they are, and where the graph takes ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.ops.concat import Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.lookup import Clip
from dfqgen.passes.contract import Note

MOST_NAMED = 6


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A graph without the roundings that the layers before them do, and the types stated of its tensors."""

    graph: Graph
    types: Mapping[str, QType]


def settle(graph: Graph) -> Settled:
    """Each FakeQuantize becomes the type of what it rounds, where the operator before it can give any type
    and nothing else reads that. Others stay, as changes of type.
    """
    types = {port.tensor: port.coding.qtype for port in graph.inputs if port.coding is not None}
    inputs = {port.tensor for port in graph.inputs}
    read: dict[str, str] = {}  # what a dropped node gave -> what its readers get
    written: dict[str, str] = {}  # what it rounded -> what the operator before it gives now
    for node in graph.nodes:
        if not isinstance(node.op, FakeQuantize):
            continue
        source, qtype = read.get(node.inputs[0], node.inputs[0]), node.op.qtype
        alone = graph.sole_consumer(source) is node and source not in types
        if types.get(source) == qtype or (alone and source in inputs):
            types[source] = qtype
            read[node.output] = source
            continue
        types[node.output] = qtype
        if alone and _gives(graph, graph.producers[source], qtype):
            written[source] = node.output
    dropped = {*read, *written.values()}
    nodes = [
        replace(node, output=written.get(node.output, node.output))
        for node in graph.nodes
        if not (isinstance(node.op, FakeQuantize) and node.output in dropped)
    ]
    return Settled(graph.with_nodes(nodes).rename_tensors(read), types)


def _gives(graph: Graph, node: Node, qtype: QType) -> bool:
    """Whether the operator's integers can be of this type."""
    op = node.op
    if op.keeps_type or isinstance(op, FakeQuantize):
        return False
    if qtype.dtype not in op.activation_types(*(graph.shapes[name] for name in node.inputs)):
        return False
    fixed = op.output_type(qtype.dtype)
    return fixed is None or fixed == qtype or op.converts


def fully_stated(graph: Graph) -> bool:
    """Whether the model leaves no tensor's type to us."""
    settled = settle(graph)
    return not _ours(settled.graph, settled.types)


def stated_notes(settled: Settled) -> tuple[Note, ...]:
    """What the model states and what it does not, for the report; nothing where it states nothing."""
    graph, types = settled.graph, settled.types
    layers = [node for node in graph.nodes if isinstance(node.op, Conv2D)]
    free = [node.name for node in layers if isinstance(node.op, Conv2D) and node.op.weight_scale is None]
    if not types and len(free) == len(layers):
        return ()
    ours = _ours(graph, types)
    notes = [Note("types of the model", _share(len(types), ours, "tensors"))]
    if layers:
        notes.append(Note("weights of the model", _share(len(layers) - len(free), free, "layers")))
    return tuple(notes)


def _share(stated: int, ours: list[str], what: str) -> str:
    text = f"{stated} of {stated + len(ours)} {what} as the model has them"
    if not ours:
        return text
    more = f" and {len(ours) - MOST_NAMED} more" if len(ours) > MOST_NAMED else ""
    return f"{text}; ours: {', '.join(ours[:MOST_NAMED])}{more}"


def _ours(graph: Graph, types: Mapping[str, QType]) -> list[str]:
    """Tensors whose type the model neither states nor implies."""
    known = set(types)
    found = [port.tensor for port in graph.inputs if port.tensor not in known]
    for node in graph.nodes:
        reader = graph.sole_consumer(node.output)
        fused = node.op.fuses_clip and reader is not None and isinstance(reader.op, Clip)
        moved = node.op.keeps_type and known.issuperset(node.inputs)
        if node.output in known or fused:
            continue
        if moved or node.op.output_type() is not None or isinstance(node.op, Rescale):
            known.add(node.output)
        else:
            found.append(node.output)
    return found
