"""Recurrent layers written out step by step, as Keras unrolls them: found, and imported as loops.

A step whose cell has the weights of the step before, and reads the next place of the same sequence, belongs
to one loop with it. The first step often looks different, since its states are constants: it stays as it is,
and its states are where the loop begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import onnx

from dfqgen.frontend.importers.cells import SAME, CellReader
from dfqgen.frontend.importers.registry import Builder, OnnxNode, Refused
from dfqgen.frontend.importers.selection import select
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Reshape
from dfqgen.ops.recurrent import Recurrent

FEWEST = 3
"""Steps that are worth a loop."""


@dataclass(frozen=True, slots=True)
class Place:
    """One step of a sequence: `axis` of the model's tensor `source` counts them."""

    source: str
    axis: int
    step: int


@dataclass(eq=False)
class Chain:
    """Steps with one op, from `first` on: `hidden` are their hidden states, `begins` those before them."""

    op: Recurrent
    first: Place
    begins: tuple[str, ...]
    hidden: list[str] = field(default_factory=list)
    tensor: str = ""
    """Ours, of the hidden states of all steps, once they are emitted."""

    def goes_on(self, op: Recurrent, place: Place, before: str) -> bool:
        """Whether this is its next step."""
        follows = replace(self.first, step=self.first.step + len(self.hidden)) == place
        return follows and self.hidden[-1] == before and _equal(self.op, op)


class _Nodes:
    """The model's nodes, as the reader of cells sees them."""

    def __init__(self, builder: Builder) -> None:
        self.makers: Mapping[str, onnx.NodeProto] = builder.producers
        self.before: dict[str, str] = {}
        self._states: set[str] = set()
        self._constants = builder.model.constants
        self._shapes = builder.model.shapes

    def follows(self, output: str, before: str) -> None:
        """An output is the next value of a state."""
        self.before[output] = before
        self._states.add(before)

    def source(self, name: str) -> str:
        while name in self.makers and self.makers[name].op_type == "Identity":
            name = self.makers[name].input[0]
        return name

    def constant(self, name: str) -> Array | None:
        value = self._constants.get(name)
        return None if value is None or value.dtype.kind not in "fiu" else value.astype(np.float64)

    def width(self, name: str) -> int | None:
        shape = self._shapes.get(name)
        return None if shape is None else int(shape[-1])

    def state_of(self, output: str) -> str:
        if output not in self.before:
            raise Refused("no step of a loop")
        return self.before[output]

    def is_leaf(self, name: str) -> bool:
        return name in self._states or self.place_of(name) is not None

    def kind(self, name: str) -> str:
        maker = self.makers.get(self.source(name))
        return "" if maker is None else str(maker.op_type)

    def factors(self, name: str) -> list[str]:
        """Of a product of two."""
        maker = self.makers.get(self.source(name))
        found = [] if maker is None or maker.op_type != "Mul" else [self.source(i) for i in maker.input]
        return found if len(found) == 2 else []

    def place_of(self, name: str) -> Place | None:
        """Which step of which sequence a tensor is."""
        name = self.source(name)
        while name in self.makers and self.makers[name].op_type in SAME:
            name = self.makers[name].input[0]
        maker = self.makers.get(name)
        if maker is None or maker.op_type not in ("Split", "Gather") or not maker.input:
            return None
        source = self.source(maker.input[0])
        shape = self._shapes.get(source, ())
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 0)
        if len(shape) != 3 or axis not in (0, 1) or shape[1 - axis] != 1:
            return None
        if maker.op_type == "Split":
            places = list(maker.output)
            return Place(source, axis, places.index(name)) if len(places) == shape[axis] else None
        number = self._constants.get(maker.input[1])
        return (
            Place(source, axis, int(number.max()) % shape[axis])
            if number is not None and number.size == 1
            else None
        )


def find_chains(builder: Builder) -> dict[str, Chain]:
    """The chains that are worth a loop, by each of their hidden states."""
    nodes = _Nodes(builder)
    states = _states(nodes, builder)
    by_last: dict[str, Chain] = {}
    chains: list[Chain] = []
    for hidden, begins in states.items():
        try:
            cell = CellReader(nodes).read(hidden)
        except Refused:
            continue
        place = nodes.place_of(cell.x)
        if place is None:
            continue
        chain = by_last.pop(begins[0], None)
        if chain is None or not chain.goes_on(cell.op, place, begins[0]):
            chain = Chain(cell.op, place, begins)
            chains.append(chain)
        chain.hidden.append(hidden)
        by_last[hidden] = chain
    return {hidden: chain for chain in chains if len(chain.hidden) >= FEWEST for hidden in chain.hidden}


def _states(nodes: _Nodes, builder: Builder) -> dict[str, tuple[str, ...]]:
    """Each hidden state that an LSTM or a GRU may give, in order, and the states before it."""
    of_cell: dict[str, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for node in builder.model.nodes:
        output = node.output[0] if node.output else ""
        if node.op_type == "Mul":
            squashed = [name for name in nodes.factors(output) if nodes.kind(name) == "Tanh"]
            new = nodes.source(nodes.makers[squashed[0]].input[0]) if len(squashed) == 1 else ""
            cell = _kept(nodes, new, "Sigmoid") if nodes.kind(new) == "Add" else ""
            if cell:
                of_cell[new] = output
                if cell in of_cell:
                    found[output] = (of_cell[cell], cell)
                    nodes.follows(output, of_cell[cell])
                    nodes.follows(new, cell)
        elif node.op_type == "Add":
            state = _kept(nodes, output, "Sub")
            if state and nodes.kind(state) == "Add":
                found[output] = (state,)
                nodes.follows(output, state)
    return found


def _kept(nodes: _Nodes, total: str, gate: str) -> str:
    """What a sum of two products keeps of the state before: the other product has a Tanh and this gate."""
    maker = nodes.makers[nodes.source(total)]
    products = [nodes.factors(name) for name in maker.input]
    fresh = [p for p in products if sorted(map(nodes.kind, p)) == sorted(("Tanh", gate))]
    kept = [p for p in products if p and p not in fresh]
    if len(fresh) != 1 or len(kept) != 1:
        return ""
    others = [name for name in kept[0] if nodes.kind(name) not in ("Sigmoid", "Split", "Slice")]
    return others[0] if len(others) == 1 else ""


def _equal(a: Recurrent, b: Recurrent) -> bool:
    """Whether two cells have the same weights."""
    return type(a) is type(b) and all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        for f in fields(a)  # type: ignore[arg-type]
    )


def import_step(node: OnnxNode, chain: Chain) -> str:
    """The hidden state that the node gives, [1,H], from the loop, which the first of them emits."""
    builder = node.builder
    if not chain.tensor:
        x = builder.tensors[chain.first.source]
        shape = node.shape_of(x)
        steps = shape[1] if chain.first.axis == 1 or x in builder.lifted else shape[0]
        x = node.emit(Reshape((1, steps, shape[-1])), x)
        end = chain.first.step + len(chain.hidden)
        part = select(node, x, 1, range(chain.first.step, end))
        states = [builder.tensors[name] for name in chain.begins]
        begins = [node.emit(Reshape((1, 1, node.shape_of(state)[-1])), state) for state in states]
        chain.tensor = node.emit(chain.op, part, *begins)
    place = chain.hidden.index(node.proto.output[0])
    state = select(node, chain.tensor, 1, [place])
    return node.reshape(state, (1, node.shape_of(state)[-1]))
