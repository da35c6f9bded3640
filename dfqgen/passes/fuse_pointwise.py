"""Chains and little trees of element-wise operators on one tensor become one function, one table."""

from __future__ import annotations

from dfqgen.graph.ir import Graph, Node
from dfqgen.ops.lookup import Clip
from dfqgen.ops.pointwise import Pointwise, Step


def fuse_pointwise(graph: Graph) -> Graph:
    """x * sigmoid(x), x * clip(x / 6 + 1/2), 0.5 x (1 + erf(x / 1.414)), ... each as one Pointwise node.

    Exporters spell SiLU, hard swish, GELU and Mish so; nothing is recognised by name. A clip that the layer
    before it applies for free stays there. Same function.
    """
    place = {node.output: i for i, node in enumerate(graph.nodes)}
    fused: dict[str, Node] = {}
    absorbed: set[str] = set()
    for node in reversed(graph.nodes):
        if node.output in absorbed or not _is_pointwise(node, graph):
            continue
        group, source = _grow(node, graph, place)
        if group is None or source is None:
            continue
        fused[node.output] = Node(node.name, _function(group, source), (source,), node.output)
        absorbed.update(member.output for member in group if member is not node)
    return graph.with_nodes(
        fused.get(node.output, node) for node in graph.nodes if node.output not in absorbed
    )


def _is_pointwise(node: Node, graph: Graph) -> bool:
    """Whether each output element depends on the elements at its own place alone, the same way everywhere."""
    return node.op.pointwise and all(graph.shapes[name] == graph.shapes[node.output] for name in node.inputs)


def _grow(root: Node, graph: Graph, place: dict[str, int]) -> tuple[list[Node] | None, str | None]:
    """The largest group around `root`, in order, that is a function of one tensor, and that tensor."""
    group = {root.output: root}
    best: tuple[list[Node] | None, str | None] = (None, None)
    while True:
        outside = {name for node in group.values() for name in node.inputs if name not in group}
        if len(outside) == 1 and (len(group) > 1 or len(root.inputs) > 1):
            best = (sorted(group.values(), key=lambda node: place[node.output]), next(iter(outside)))
        # The input computed last is the only one that may depend on the others.
        last = max(outside, key=lambda name: place.get(name, -1))
        producer = graph.producers.get(last)
        if producer is None or not _may_join(producer, group, graph):
            return best
        group[last] = producer


def _may_join(node: Node, group: dict[str, Node], graph: Graph) -> bool:
    """Whether only the group reads this pointwise node, and no layer applies it for free."""
    if not _is_pointwise(node, graph) or node.output in graph.output_tensors:
        return False
    if any(reader.output not in group for reader in graph.consumers[node.output]):
        return False
    before = graph.producers.get(node.inputs[0])
    free = (
        isinstance(node.op, Clip)
        and before is not None
        and before.op.fuses_clip
        and not _is_pointwise(before, graph)
        and graph.sole_consumer(before.output) is node
    )
    return not free


def _function(group: list[Node], source: str) -> Pointwise:
    places = {source: 0} | {node.output: i + 1 for i, node in enumerate(group)}
    return Pointwise(tuple(Step(node.op, tuple(places[name] for name in node.inputs)) for node in group))
