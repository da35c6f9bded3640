"""A float graph ready to be quantized, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfqgen.graph.ir import Graph
from dfqgen.passes.contract import Note
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.reactions import Reaction


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A float graph with the function of the model, statistics of all its tensors, and what was done.

    Inner tensors of the program are compared with this graph's: equalization changed the model's own.
    `reactions` are the outputs' to errors in each tensor; none where statistics are in closed form. `real`
    says that samples were: that statistics are measured on them alone, and no value beyond them is expected;
    `caution` is what clipping them then counts, in multiples of what is predicted. `written` says that
    procedural images have writing on them, `resting` which outputs (tensors) no sample moves all the same.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    notes: tuple[Note, ...]
    reactions: Mapping[str, Reaction] = field(default_factory=dict)
    real: bool = False
    caution: float = 1.0
    written: bool = False
    resting: frozenset[str] = frozenset()
