"""Prepared graph -> the integer type of every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.contract import Note
from dfqgen.quantization.evidence import Evidence
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.stated import settle, stated_notes
from dfqgen.quantization.tensor_ranges import tensor_ranges
from dfqgen.quantization.unify import insert_rescales, unified_types
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.statistics.channel import ChannelStatistics


@dataclass(frozen=True, eq=False)
class Typed:
    """A prepared graph whose tensors have their integer types; the weights are still float.

    `graph` is the prepared one with rescales where types must change, `clips` the fused activations by the
    tensor they take over: such a tensor never exists as integers, so `types` lacks it. `notes` say which
    types are the model's own. `real_inputs`, `real_outputs`: those of the network are float32 in C.
    `stated` are the tensors whose types are the model's own. `written`: see `Prepared`.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    clips: Mapping[str, Node]
    types: Mapping[str, QType]
    notes: tuple[Note, ...] = ()
    real_inputs: bool = False
    real_outputs: bool = False
    stated: frozenset[str] = frozenset()
    written: bool = False

    def states(self, layer: str, weight: QuantizedWeight) -> bool:
        """Whether these are the integers that the model states for the layer (by its output tensor)."""
        op = self.graph.producers[layer].op
        stated = op.stated_integers if isinstance(op, Conv2D) else None
        return stated is not None and np.array_equal(stated, weight.values)

    @cached_property
    def evidence(self) -> Evidence:
        """What layers see, measured when somebody asks."""
        return Evidence(self.graph, self.statistics, written=self.written)


def assign_types(prepared: Prepared, recipe: ActivationsRecipe) -> Typed:
    """The model's own type for every tensor where it states one, else one of our choice; and the rescales
    that are needed.
    """
    settled = settle(prepared.graph)
    clips = fused_clips(settled.graph)
    ranges = tensor_ranges(prepared, recipe)
    graph, statistics = insert_rescales(settled.graph, prepared.statistics, clips, ranges, settled.types)
    types = unified_types(graph, statistics, clips, ranges, recipe, settled.types)
    real = (recipe.input_type == "float32", recipe.output_type == "float32")
    stated = frozenset(settled.types)
    return Typed(graph, statistics, clips, types, stated_notes(settled), *real, stated, prepared.written)


def fused_clips(graph: Graph) -> dict[str, Node]:
    """The Clip node that becomes the bounds of each requantization, by the output tensor it takes over."""
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        reader = graph.sole_consumer(node.output)
        if node.op.fuses_clip and reader is not None and isinstance(reader.op, Clip):
            fused[node.output] = reader
    return fused
