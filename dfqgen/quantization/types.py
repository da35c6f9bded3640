"""Prepared graph -> the integer type of every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.ops.lookup import Clip
from dfqgen.quantization.evidence import Evidence
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.tensor_ranges import tensor_ranges
from dfqgen.quantization.unify import insert_rescales, unified_types
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, eq=False)
class Typed:
    """A prepared graph whose tensors have their integer types; the weights are still float.

    `graph` is the prepared one with rescales where types must change, `clips` the fused activations by the
    tensor they take over: such a tensor never exists as integers, so `types` lacks it.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    clips: Mapping[str, Node]
    types: Mapping[str, QType]

    @cached_property
    def evidence(self) -> Evidence:
        """What layers see, measured when somebody asks."""
        return Evidence(self.graph, self.statistics)


def assign_types(prepared: Prepared, recipe: ActivationsRecipe) -> Typed:
    """Choose the type of every tensor that the program will have, and insert the rescales it needs."""
    clips = fused_clips(prepared.graph)
    ranges = tensor_ranges(prepared, recipe)
    graph, statistics = insert_rescales(prepared.graph, prepared.statistics, clips, ranges)
    return Typed(graph, statistics, clips, unified_types(graph, statistics, clips, ranges, recipe))


def fused_clips(graph: Graph) -> dict[str, Node]:
    """The Clip node that becomes the bounds of each requantization, by the output tensor it takes over."""
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        reader = graph.sole_consumer(node.output)
        if node.op.fuses_clip and reader is not None and isinstance(reader.op, Clip):
            fused[node.output] = reader
    return fused
