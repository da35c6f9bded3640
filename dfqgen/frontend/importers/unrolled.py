"""Recurrent layers written out as nodes: found, and imported as layers.

Keras unrolls them: a step whose cell has the weights of the step before, and reads the next place of the
same sequence, belongs to one loop with it. The first step often looks different, since its states are
constants: it stays as it is, and its states are where the loop begins. Streaming networks, torch's LSTMCell
and its GRUCell have one step, whose states come from outside: a sequence of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from dfqgen.frontend.importers.cells import SAME, CellReader
from dfqgen.frontend.importers.registry import Builder, OnnxNode, Refused
from dfqgen.frontend.importers.selection import select
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Reshape
from dfqgen.ops.recurrent import Recurrent

MOVES = SAME | {"Slice", "Split", "Gather", "Transpose"}
"""What takes a state out of an input that has several."""


@dataclass(frozen=True, slots=True)
class Place:
    """One step of a sequence: `axis` of the model's tensor `source` counts them."""

    source: str
    axis: int
    step: int


@dataclass(eq=False)
class Chain:
    """Steps with one op, from `first` on: `hidden` are their hidden states, `begins` those before them, and
    `cell` what an LSTM's cell is after them.
    """

    op: Recurrent
    first: Place
    begins: tuple[str, ...]
    hidden: list[str] = field(default_factory=list)
    cell: str = ""
    inputs: tuple[str, ...] = ()
    tensors: dict[str, str] = field(default_factory=dict)
    """Ours, once they are emitted: what the layer reads, and what it gives by the name of that."""

    def goes_on(self, op: Recurrent, place: Place, before: str) -> bool:
        """Whether this is its next step."""
        follows = replace(self.first, step=self.first.step + len(self.hidden)) == place
        return follows and self.hidden[-1] == before and self.op.is_layer_of(op)


class _Nodes:
    """The model's nodes, as the reader of cells sees them."""

    def __init__(self, builder: Builder) -> None:
        self.makers: Mapping[str, onnx.NodeProto] = {
            name: node for name, node in builder.producers.items() if _is_whole(node)
        }
        self.before: dict[str, str] = {}
        self._states: set[str] = set()
        self._constants = builder.model.constants
        self._shapes = builder.model.shapes
        self._inputs = frozenset(builder.model.inputs)
        self._columns = self._find_columns()
        self._mixed = {
            self.source(name)
            for node in self.makers.values()
            if node.op_type in ("Mul", "Sub")
            for name in node.input
        }
        self._given = {self._unshaped(name) for name in builder.model.outputs}

    def _find_columns(self) -> frozenset[str]:
        """What matrices are multiplied with: a gate is one such product, whatever made its column."""
        found: set[str] = set()
        for node in self.makers.values():
            if node.op_type in ("MatMul", "Gemm") and self.constant(node.input[1]) is not None:
                name = self.source(node.input[0])
                maker = self.makers.get(name)
                parts = [name] if maker is None or maker.op_type != "Concat" else maker.input
                found.update(map(self.source, parts))
        return frozenset(found)

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
        return name in self._states or name in self._columns or self.place_of(name) is not None

    def is_gate(self, name: str) -> bool:
        """A sigmoid, or a part of one."""
        if self.kind(name) in ("Split", "Slice"):
            name = self.makers[self.source(name)].input[0]
        return self.kind(name) == "Sigmoid"

    def origin(self, name: str) -> str:
        """The input of the network that a tensor is a part of, "" where it is computed."""
        name = self.source(name)
        while name in self.makers and self.makers[name].op_type in MOVES:
            name = self.source(self.makers[name].input[0])
        return name if name in self._inputs else ""

    def is_vector(self, name: str, width: int) -> bool:
        """Whether a tensor is known to be one vector of so many elements."""
        shape = self._shapes.get(name)
        return shape is not None and math.prod(shape) == width == shape[-1]

    def is_mixed(self, name: str) -> bool:
        """Whether a gate may let it pass, as it does an LSTM's and a GRU's candidates and squashed cells."""
        return name in self._mixed

    def is_given(self, name: str) -> bool:
        """Whether it leaves the network, in whatever shape."""
        return name in self._given

    def kind(self, name: str) -> str:
        maker = self.makers.get(self.source(name))
        return "" if maker is None else str(maker.op_type)

    def factors(self, name: str) -> list[str]:
        """Of a product of two."""
        maker = self.makers.get(self.source(name))
        found = [] if maker is None or maker.op_type != "Mul" else [self.source(i) for i in maker.input]
        return found if len(found) == 2 else []

    def _unshaped(self, name: str) -> str:
        name = self.source(name)
        while name in self.makers and self.makers[name].op_type in SAME:
            name = self.makers[name].input[0]
        return name

    def place_of(self, name: str) -> Place | None:
        """Which step of which sequence a tensor is."""
        name = self._unshaped(name)
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


def _is_whole(node: onnx.NodeProto) -> bool:
    """Whether it has the inputs that a cell's node of its kind has; others are the importers' to refuse."""
    count = len(node.input)
    if node.op_type in ("Add", "Sub", "Mul", "Gather"):
        return count == 2
    return count >= (2 if node.op_type in ("MatMul", "Gemm") else 1)


def find_chains(builder: Builder) -> dict[str, Chain]:
    """The recurrent layers, by each of their hidden states and by their last cell."""
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
        if place is None and nodes.is_vector(cell.x, cell.op.weight.shape[1]):
            place = Place(cell.x, 0, 0)
        sizes = zip(begins, cell.op.widths, strict=True)
        if place is None or not all(nodes.is_vector(name, width) for name, width in sizes):
            continue
        chain = by_last.pop(begins[0], None)
        if chain is None or not chain.goes_on(cell.op, place, begins[0]):
            chain = Chain(cell.op, place, begins)
            chains.append(chain)
        chain.hidden.append(hidden)
        chain.cell = next(
            (new for new, before in nodes.before.items() if before == begins[-1] != begins[0]), ""
        )
        by_last[hidden] = chain
    found = {hidden: chain for chain in chains for hidden in chain.hidden}
    return found | {chain.cell: chain for chain in chains if chain.cell}


def _states(nodes: _Nodes, builder: Builder) -> dict[str, tuple[str, ...]]:
    """Each hidden state that a cell may give, in order, and the states before it."""
    of_cell: dict[str, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for node in builder.model.nodes:
        output = node.output[0] if node.output else ""
        if node.op_type == "Mul":
            squashed = [name for name in nodes.factors(output) if nodes.kind(name) == "Tanh"]
            new = nodes.source(nodes.makers[squashed[0]].input[0]) if len(squashed) == 1 else ""
            fresh, cell = _lstm_parts(nodes, new)
            if cell:
                of_cell[new] = output
                before = of_cell[cell] if cell in of_cell else _fed_back(nodes, fresh, cell)
                if before:
                    found[output] = (before, cell)
                    nodes.follows(output, before)
                    nodes.follows(new, cell)
        elif node.op_type == "Add" and output in nodes.makers:
            state = _gru_state(nodes, output)
            if state:
                found[output] = (state,)
                nodes.follows(output, state)
        elif node.op_type == "Tanh" and output in nodes.makers and not nodes.is_mixed(output):
            state = _rnn_state(nodes, output)
            if state:
                found[output] = (state,)
                nodes.follows(output, state)
    return found


def _lstm_parts(nodes: _Nodes, total: str) -> tuple[str, str]:
    """Of a new cell, f * c + i * tanh(g): the tensor tanh(g), and c; empty where it is none."""
    if nodes.kind(total) != "Add":
        return "", ""
    products = [nodes.factors(name) for name in nodes.makers[total].input]
    for fresh, kept in (products, products[::-1]):
        candidates = [name for name in fresh if nodes.kind(name) == "Tanh"]
        others = [name for name in kept if not nodes.is_gate(name)]
        if len(candidates) == len(others) == 1 and sum(map(nodes.is_gate, (*fresh, *kept))) == 2:
            return candidates[0], others[0]
    return "", ""


def _gru_state(nodes: _Nodes, total: str) -> str:
    """The state h of z * h + (1 - z) * tanh(n), or of tanh(n) + z * (h - tanh(n)); "" where it is none."""
    ends = [nodes.source(name) for name in nodes.makers[total].input]
    products = [nodes.factors(name) for name in ends]
    for fresh, kept in (products, products[::-1]):
        if sorted(map(nodes.kind, fresh)) == ["Sub", "Tanh"]:
            others = [name for name in kept if not nodes.is_gate(name)]
            return others[0] if len(others) == 1 and len(kept) == 2 else ""
    for candidate, kept in zip(ends, products[::-1], strict=True):
        differences = [name for name in kept if nodes.kind(name) == "Sub"]
        if nodes.kind(candidate) == "Tanh" and len(differences) == 1:
            state, same = map(nodes.source, nodes.makers[differences[0]].input)
            return state if same == candidate else ""
    return ""


def _rnn_state(nodes: _Nodes, hidden: str) -> str:
    """The state h of tanh(W x + R h + b), "" where it is none: as wide as what comes of it, beside a step of
    a sequence; or alone from outside, where the result goes out again.
    """
    try:
        terms = CellReader(nodes).sum(nodes.makers[hidden].input[0]).terms
    except Refused:
        return ""
    fitting = [name for name, own in terms.items() if own is not None and own.shape[0] == own.shape[1]]
    beside = [name for name in fitting if nodes.place_of(name) is None]
    if len(terms) == 2 and len(beside) == 1 and any(nodes.place_of(name) for name in terms):
        return beside[0]
    given = [name for name in fitting if nodes.origin(name)]
    return given[0] if len(terms) == 2 and len(given) == 1 and nodes.is_given(hidden) else ""


def _fed_back(nodes: _Nodes, candidate: str, cell: str) -> str:
    """Which of the two tensors that an LSTM's candidate is made of is its hidden state, "" where unclear.

    It has as many elements as the cell and alone comes from outside the network, or alone with the cell.
    """
    try:
        terms = CellReader(nodes).sum(nodes.makers[candidate].input[0]).terms
    except Refused:
        return ""
    widths = {matrix.shape[1] for matrix in terms.values() if matrix is not None}
    fitting = [name for name, matrix in terms.items() if matrix is not None and {matrix.shape[0]} == widths]
    given = [name for name in fitting if nodes.origin(name)]
    beside = [name for name in given if nodes.origin(name) == nodes.origin(cell)]
    for names in (fitting, given, beside):
        if len(terms) == 2 and len(names) == 1:
            return names[0]
    return ""


def import_step(node: OnnxNode, chain: Chain) -> str:
    """The state that the node gives, [1,H] or as the model has it, from the layer, which the first of them
    emits.
    """
    name = node.proto.output[0]
    if name == chain.cell:
        state, width = _emitted(node, chain, "cell"), chain.op.hidden
    else:
        state = select(node, _emitted(node, chain, "sequence"), 1, [chain.hidden.index(name)])
        width = chain.op.width
    shape = node.builder.model.shapes.get(name, ())
    return node.reshape(
        state, tuple(shape) if shape and math.prod(shape) == width == shape[-1] else (1, width)
    )


def _emitted(node: OnnxNode, chain: Chain, gives: str) -> str:
    """Our tensor of the hidden states of all steps, or of the last cell."""
    if not chain.inputs:
        chain.inputs = _inputs(node, chain)
    if gives not in chain.tensors:
        op = replace(chain.op, gives=gives)  # type: ignore[type-var]
        chain.tensors[gives] = node.emit(op, *chain.inputs)
    return chain.tensors[gives]


def _inputs(node: OnnxNode, chain: Chain) -> tuple[str, ...]:
    """The steps [1,T,I] and the states before them [1,1,H]."""
    builder = node.builder
    x = builder.tensors[chain.first.source]
    shape = node.shape_of(x)
    steps = shape[1] if chain.first.axis == 1 or x in builder.lifted else shape[0]
    x = node.emit(Reshape((1, steps, shape[-1])), x)
    part = select(node, x, 1, range(chain.first.step, chain.first.step + len(chain.hidden)))
    states = [builder.tensors[name] for name in chain.begins]
    return part, *(node.emit(Reshape((1, 1, node.shape_of(state)[-1])), state) for state in states)
