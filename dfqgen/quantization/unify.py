"""Which tensors must share one integer type, and where a change of type is worth its cost.

An operator that only moves elements gives its output the type of its input, so whole families of tensors
share one. A concatenation joins families. That is free, and rounds once instead of twice, where nothing
else looks at them: the layers that requantize anyway aim at the common range. A family that something
else reads too would lose resolution there; it is left alone when the common range is much wider, and a
`Rescale` (a table of 256 entries) goes in front of the concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.rewrite import fresh_name
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.movement import Pad
from dfqgen.ops.multiply import Mul
from dfqgen.quantization.ranges import activation_type
from dfqgen.quantization.real_ports import sum_types
from dfqgen.quantization.wide import wide_families
from dfqgen.recipe.records import ActivationsRecipe
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.saturation import lost_anyway

Range = tuple[float, float]

NOTHING_STATED: Mapping[str, QType] = MappingProxyType({})
WIDE_HEADROOM = 2.0
"""An int16 range reaches this much further than int8's: a bit of 16 is a small price for no clipping."""
WIDE_REACH = 4.0
"""As much further where values get no further than that: one more bit, and rare extremes are not clipped."""
PRODUCT_ROOM = 4.0
"""The least scale of a product of int16, of those of its operands'."""
WIDENING = 1.25
"""A family with other readers joins a range up to this much wider than its own: a third of a bit."""


class Families:
    """Tensors that share one integer type, as sets with a representative (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, tensor: str) -> str:
        """The representative of the tensor's family."""
        self._parent.setdefault(tensor, tensor)
        while self._parent[tensor] != tensor:
            self._parent[tensor] = self._parent[self._parent[tensor]]
            tensor = self._parent[tensor]
        return tensor

    def join(self, first: str, second: str) -> None:
        """The families of both become one, represented by the first's."""
        self._parent[self.find(second)] = self.find(first)


@dataclass(slots=True)
class _Family:
    """What is known of a family while it grows: its range, and its types where an operator fixes them, or
    the model states one.

    `fixed` has the type for either width; it is empty where the range decides.
    """

    range: Range
    fixed: Mapping[IntType, QType] = field(default_factory=dict)
    stated: bool = False

    @property
    def width(self) -> float:
        return self.range[1] - self.range[0]


def hull(a: Range, b: Range) -> Range:
    """The smallest range that holds both."""
    return min(a[0], b[0]), max(a[1], b[1])


def wide_range(narrow: Range, bounds: Range) -> Range:
    """The range of int16 where int8's is `narrow` and values stay within `bounds`."""
    ends = [
        bound if WIDE_HEADROOM * abs(end) < abs(bound) <= WIDE_REACH * abs(end) else WIDE_HEADROOM * end
        for end, bound in zip(narrow, bounds, strict=True)
    ]
    return ends[0], ends[1]


def insert_rescales(
    graph: Graph,
    statistics: Mapping[str, ChannelStatistics],
    clips: Mapping[str, Node],
    ranges: Mapping[str, Range],
    stated: Mapping[str, QType] = NOTHING_STATED,
) -> tuple[Graph, dict[str, ChannelStatistics]]:
    """The graph where every concatenation's inputs can have one type, and the statistics of its tensors.

    `clips` are the fused activations by the tensor they take over (`quantize.fused_clips`), `ranges` what
    each tensor would have by itself (`tensor_ranges`), `stated` the types that the model states.
    """
    walk = _Walk(graph, statistics, clips, ranges, stated)
    for node in graph.nodes:
        walk.visit(node)
    return graph.with_nodes(walk.nodes), walk.statistics


def unified_types(
    graph: Graph,
    statistics: Mapping[str, ChannelStatistics],
    clips: Mapping[str, Node],
    ranges: Mapping[str, Range],
    options: ActivationsRecipe,
    stated: Mapping[str, QType] = NOTHING_STATED,
) -> dict[str, QType]:
    """The integer type of every tensor that exists in the program; `graph` is from `insert_rescales`."""
    walk = _Walk(graph, statistics, clips, ranges, stated, insert=False)
    for node in graph.nodes:
        walk.visit(node)
    walk.tie_states()
    wide = wide_families(graph, clips, walk.tensors, walk.sets.find, options)
    bounds: dict[str, Range] = {}
    for tensor in walk.tensors:
        root, known = walk.sets.find(tensor), walk.statistics[tensor]
        own = float(known.lo.min()), float(known.hi.max())
        bounds[root] = hull(bounds.get(root, own), own)
    types: dict[str, QType] = {}
    for tensor in walk.tensors:
        root = walk.sets.find(tensor)
        family, lo_hi = walk.families[root], walk.families[root].range
        dtype = IntType.INT16 if root in wide else IntType.INT8
        lo, hi = wide_range(lo_hi, bounds[root]) if root in wide else lo_hi
        types[tensor] = family.fixed.get(dtype) or activation_type(
            lo, hi, power_of_two=options.power_of_two, dtype=dtype
        )
    for node in graph.nodes:
        if isinstance(node.op, Mul):
            widen_product(node, clips, types, walk.sets)
    if options.output_type == "float32":
        types |= sum_types(graph, clips, types, power_of_two=options.power_of_two)
    return types


def widen_product(node: Node, clips: Mapping[str, Node], types: dict[str, QType], families: Families) -> None:
    """An int16 product of int16 fills 31 bits: where its factor would need a shift, the output's scale gives
    way, and that of its family. Powers of two stay such.
    """
    output = clips[node.output].output if node.output in clips else node.output
    y, operands = types[output], [types[name] for name in node.inputs]
    if any(qtype.dtype is not IntType.INT16 for qtype in (y, *operands)):
        return
    least = PRODUCT_ROOM * operands[0].scale * operands[1].scale
    if y.scale < least:
        scale = y.scale * 2.0 ** math.ceil(math.log2(least / y.scale))
        root = families.find(output)
        family = [name for name in types if families.find(name) == root]
        types |= dict.fromkeys(family, replace(y, scale=scale))


WIDTHS = (IntType.INT8, IntType.INT16)


def fixed_types(op: Op) -> dict[IntType, QType]:
    """The output's type for either width, where the operator fixes it."""
    found = {dtype: op.output_type(dtype) for dtype in WIDTHS}
    return {dtype: qtype for dtype, qtype in found.items() if qtype is not None}


class _Walk:
    """Families over the nodes seen so far, in order."""

    def __init__(
        self,
        graph: Graph,
        statistics: Mapping[str, ChannelStatistics],
        clips: Mapping[str, Node],
        ranges: Mapping[str, Range],
        stated: Mapping[str, QType],
        *,
        insert: bool = True,
    ) -> None:
        self.graph, self.clips, self.ranges, self.insert = graph, clips, ranges, insert
        self.stated = stated
        self.statistics = dict(statistics)
        self.nodes: list[Node] = []
        self.tensors: list[str] = []
        self.sets = Families()
        self.families: dict[str, _Family] = {}
        self._names = set(graph.consumers)
        for port in graph.inputs:
            self._found(port.tensor, self._stated(port.tensor) or _Family(ranges[port.tensor]))

    def _stated(self, tensor: str) -> _Family | None:
        qtype = self.stated.get(tensor)
        return None if qtype is None else _Family(qtype.real_range, dict.fromkeys(WIDTHS, qtype), stated=True)

    def _found(self, tensor: str, family: _Family) -> None:
        self.tensors.append(tensor)
        self.families[self.sets.find(tensor)] = family

    def family(self, tensor: str) -> _Family:
        return self.families[self.sets.find(tensor)]

    def visit(self, node: Node) -> None:
        """Put the node's output into a family; a concatenation may get rescales in front."""
        if node.output in self.clips:
            self.nodes.append(node)
            return  # never exists: its clip's output does
        if isinstance(node.op, Concat) and self.insert:
            node = self._concatenation(node)
        elif self.insert and IntType.INT16 not in self._types(node):
            node = self._narrowed(node)
        self.nodes.append(node)
        if node.op.keeps_type:
            self._join(node)
            return
        family = self._stated(node.output)
        if family is None:
            fixed = fixed_types(node.op)
            # As int8's, which int16's does not always hold: of positions.
            family = _Family(fixed[IntType.INT8].real_range if fixed else self._range(node), fixed)
        self._found(node.output, family)

    def _range(self, node: Node) -> Range:
        if isinstance(node.op, Rescale):
            return self.family(node.inputs[0]).range
        return self.ranges[node.output]

    def _join(self, node: Node) -> None:
        """The output and all inputs of an operator that keeps the type are one family."""
        families = [self.family(name) for name in node.inputs]
        together = families[0].range
        for family in families:
            together = hull(together, family.range)
        if isinstance(node.op, Pad) and not lost_anyway(self.graph, node.output, node.op.value, together[0]):
            together = hull(together, (node.op.value, node.op.value))
        self.tensors.append(node.output)
        for name in (*node.inputs[1:], node.output):
            self.sets.join(node.inputs[0], name)
        self.families[self.sets.find(node.output)] = _Family(together, families[0].fixed, families[0].stated)

    def tie_states(self) -> None:
        """What comes in as a state has the type of what it was at the end of the step before."""
        for before, after in self.graph.kept:
            ends = self.family(before.tensor), self.family(after.tensor)
            self.sets.join(before.tensor, after.tensor)
            fixed = ends[1].fixed or ends[0].fixed
            self.families[self.sets.find(before.tensor)] = _Family(hull(ends[0].range, ends[1].range), fixed)

    def _concatenation(self, node: Node) -> Node:
        roots = [self.sets.find(name) for name in node.inputs]
        families = [self.families[root] for root in roots]
        if len(set(roots)) == 1:
            return node
        if families[0].fixed and all(f.fixed == families[0].fixed for f in families):
            return node
        together = families[0].range
        for family in families:
            together = hull(together, family.range)
        width = together[1] - together[0]
        inputs = list(node.inputs)
        for index, (name, family) in enumerate(zip(node.inputs, families, strict=True)):
            narrow = family.width * WIDENING < width and not self._only_moved(name)
            if family.fixed or narrow:
                inputs[index] = self._rescaled(node, name)
        return replace(node, inputs=tuple(inputs))

    def _types(self, node: Node) -> tuple[IntType, ...]:
        return node.op.activation_types(*(self.graph.shapes[name] for name in node.inputs))

    def _narrowed(self, node: Node) -> Node:
        """An operator that computes in int8 alone, behind tensors that the model states as int16."""
        families = [self.family(name) for name in node.inputs]
        wide = [f.stated and f.fixed[IntType.INT8].dtype is IntType.INT16 for f in families]
        inputs = (
            self._rescaled(node, name) if is_wide else name
            for name, is_wide in zip(node.inputs, wide, strict=True)
        )
        return replace(node, inputs=tuple(inputs))

    def _only_moved(self, tensor: str) -> bool:
        """Whether all that read the tensor's family only move its elements, and the outside sees none."""
        root = self.sets.find(tensor)
        # A rescale's output is not in the graph; nothing reads it but its concatenation.
        pending = [n for n in self.tensors if self.sets.find(n) == root and n in self.graph.consumers]
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.graph.output_tensors:
                return False
            for reader in self.graph.consumers[name]:
                if not reader.op.keeps_type:
                    return False
                if not isinstance(reader.op, Concat):  # where it goes on from there, it has the common type
                    pending.append(reader.output)
        return True

    def _rescaled(self, node: Node, name: str) -> str:
        output = fresh_name(f"{name}/rescaled", self._names)
        self.nodes.append(Node(f"{node.name}/rescale", Rescale(), (name,), output))
        self.statistics[output] = self.statistics[name]
        self._found(output, _Family(self.family(name).range))
        return output
