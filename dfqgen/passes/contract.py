"""What a pass is: what it takes, what it returns, what it requires."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dfqgen.graph.ir import Graph, Op
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.propagate import Statistics


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report: a step and what it did."""

    step: str
    effect: str


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What a pass returns: the graph, what is known of its tensors now, and its effect in a few words.

    `known` holds statistics that do not follow from others: of inputs and of batch normalization.
    """

    graph: Graph
    known: Mapping[str, ChannelStatistics]
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Pass:
    """One step of the way: (graph, known statistics) -> Passed, named as in the literature.

    Nothing else goes in, and nothing is changed in place. A pass keeps the network's function, unless its
    own text says how far not. It may be given any well-formed graph without operators of the kinds in
    `without`; those belong to a pass before it. Its result is well-formed: `Graph.verify` checks each.
    """

    name: str
    apply: Callable[[Graph, Statistics], Passed]
    without: tuple[type[Op], ...] = ()

    def __call__(self, graph: Graph, known: Statistics) -> Passed:
        """Apply the pass; AssertionError where it is given or makes what it must not."""
        for node in graph.nodes:
            assert not isinstance(node.op, self.without), f"{self.name} comes before {node.name} is gone"
        result = self.apply(graph, known)
        result.graph.verify()
        return result


def of_graph(name: str, function: Callable[[Graph], Graph], without: tuple[type[Op], ...] = ()) -> Pass:
    """A pass that neither needs statistics nor invalidates any."""
    return Pass(name, lambda graph, known: Passed(function(graph), known), without)


def apply_passes(
    passes: Iterable[Pass], graph: Graph, known: Statistics
) -> tuple[Graph, Statistics, tuple[Note, ...]]:
    """All of them in order; a note of each that has something to say."""
    notes: list[Note] = []
    for step in passes:
        result = step(graph, known)
        graph, known = result.graph, result.known
        if result.effect:
            notes.append(Note(step.name, result.effect))
    return graph, known, tuple(notes)
