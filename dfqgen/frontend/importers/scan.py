"""Scan around TensorFlow's recurrent cells, as tf2onnx writes LSTMCell and GRUCell, one or several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import numpy_helper

from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Reshape
from dfqgen.ops.recurrent import GRU, LSTM, Recurrent

UNKNOWN = "its body is none of TensorFlow's recurrent cells; export the layer as ONNX's LSTM, GRU or RNN"


@importer("Scan", since=9)
def scan(node: OnnxNode) -> tuple[str, ...]:
    """Hidden states of cells that begin with zeros: those after the last step, or of every step."""
    body = Body.of(node)
    if len(body.scanned) != 1:
        raise Refused(f"scans {len(body.scanned)} sequences; one is supported")
    cells: dict[str, str] = {}

    def sequence(name: str) -> str:
        """Of a cell's hidden states, or of the input: [1,T,H]."""
        if name == body.scanned[0]:
            x = node.tensor(len(body.states))
            shape = node.shape_of(x)[node.lead :]
            if len(shape) != 3 or shape[1] != 1:
                raise Refused(f"scans {list(shape)}, which is no sequence of one sample")
            return node.emit(Reshape((1, shape[0], shape[2])), x)
        if name not in cells:
            cell = read_cell(body, name)
            cells[name] = node.emit(cell.op, sequence(cell.x))
        return cells[name]

    def result(index: int) -> str:
        name = body.source(body.outputs[index])
        whole = sequence(name)
        _, steps, width = node.shape_of(whole)
        lead = (1,) * node.lead
        if index >= len(body.states):
            return node.reshape(whole, (*lead, steps, 1, width))
        cell = read_cell(body, name)
        last = node.emit(replace(cell.op, gives="last"), sequence(cell.x))  # type: ignore[type-var]
        return node.reshape(last, (*lead, 1, width))

    return tuple(result(i) if node.is_read(i) else "" for i in range(len(body.outputs)))


@dataclass(frozen=True, eq=False)
class Body:
    """The nodes of a Scan's body by what they give; constants are its own or from around it."""

    node: OnnxNode
    makers: dict[str, onnx.NodeProto]
    own: dict[str, Array]
    states: dict[str, int]
    scanned: list[str]
    outputs: list[str]

    @classmethod
    def of(cls, node: OnnxNode) -> Body:
        graph = node.attributes.get("body")
        if not isinstance(graph, onnx.GraphProto):
            raise Refused("has no body; the file is damaged")
        count = len(graph.input) - node.integer("num_scan_inputs", 0)
        names = [value.name for value in graph.input]
        if any(node.attributes.get(name) for name in ("scan_input_directions", "scan_output_directions")):
            raise Refused("scans backwards")
        return cls(
            node,
            {name: made for made in graph.node for name in made.output},
            {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer},
            {name: i for i, name in enumerate(names[:count])},
            names[count:],
            [value.name for value in graph.output],
        )

    def source(self, name: str) -> str:
        """The tensor behind Identity."""
        while name in self.makers and self.makers[name].op_type == "Identity":
            name = self.makers[name].input[0]
        return name

    def constant(self, name: str) -> Array | None:
        """Its value as float64, None where it is none."""
        value = self.own.get(name, self.node.builder.model.constants.get(name))
        return None if value is None else value.astype(np.float64)

    def made(self, name: str, kind: str) -> list[str]:
        """The inputs of the node of this kind that gives the tensor."""
        name = self.source(name)
        maker = self.makers.get(name)
        if maker is None or maker.op_type != kind:
            raise Refused(UNKNOWN)
        return [self.source(i) for i in maker.input]

    def is_made(self, name: str, kind: str) -> bool:
        maker = self.makers.get(self.source(name))
        return maker is not None and maker.op_type == kind

    def other(self, inputs: list[str], one: str) -> str:
        """Of two inputs, the one that is not `one`."""
        if len(inputs) != 2 or one not in inputs:
            raise Refused(UNKNOWN)
        return inputs[1 - inputs.index(one)]

    def order(self, inputs: list[str], kind: str) -> tuple[str, str]:
        """Two inputs, the one that a node of this kind gives first."""
        found = [name for name in inputs if self.is_made(name, kind)]
        if len(inputs) != 2 or len(found) != 1:
            raise Refused(UNKNOWN)
        return found[0], self.other(inputs, found[0])

    def begins_with_zeros(self, state: str) -> bool:
        place = self.states[state]
        return self.node.is_constant(place) and not self.node.constant(place, "state").any()

    def state_of(self, output: str) -> str:
        """The state whose next value this is; it must begin with zeros."""
        for state, place in self.states.items():
            if self.source(self.outputs[place]) == output:
                if not self.begins_with_zeros(state):
                    raise Refused("has an initial state that is not zero")
                return state
        raise Refused(UNKNOWN)


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent layer and the tensor of the body that it reads."""

    op: Recurrent
    x: str


@dataclass(eq=False)
class Sum:
    """What a gate adds up: a part of a product, a constant, and a multiple of the cell."""

    product: str = ""
    part: int = 0
    constant: Array = field(default_factory=lambda: np.zeros(1))
    peephole: Array | None = None


def read_cell(body: Body, hidden: str) -> Cell:
    """The cell whose new hidden state this is."""
    state = body.state_of(hidden)
    return _gru(body, hidden, state) if body.is_made(hidden, "Add") else _lstm(body, hidden, state)


def _product(body: Body, name: str) -> tuple[str, str, Array, Array]:
    """[x, h] @ kernel + bias: x, h, kernel [I + H, G H], bias."""
    kind = "Gemm" if body.is_made(name, "Gemm") else "MatMul"
    joined, *rest = body.made(name, kind)
    x, h = body.made(joined, "Concat")
    kernel = body.constant(rest[0])
    if kernel is None or kernel.ndim != 2:
        raise Refused(UNKNOWN)
    bias = body.constant(rest[1]) if len(rest) > 1 else np.zeros(kernel.shape[1])
    if bias is None:
        raise Refused(UNKNOWN)
    return x, h, kernel, np.broadcast_to(bias.ravel(), kernel.shape[1:])


def _gru(body: Body, hidden: str, state: str) -> Cell:
    """h' = u * h + (1 - u) * tanh([x, r * h] @ K + b); r, u = split(sigmoid([x, h] @ K' + b'))."""
    first, second = body.made(hidden, "Add")
    kept, fresh = (first, second) if state in body.made(first, "Mul") else (second, first)
    update = body.other(body.made(kept, "Mul"), state)
    candidate, rest = body.order(body.made(fresh, "Mul"), "Tanh")
    one, same = body.made(rest, "Sub")
    value = body.constant(one)
    if same != update or value is None or not np.all(value == 1.0):
        raise Refused(UNKNOWN)
    x, reset_h, last, last_bias = _product(body, body.made(candidate, "Tanh")[0])
    reset = body.other(body.made(reset_h, "Mul"), state)
    split = body.makers[update]
    if [body.source(name) for name in split.output] != [reset, update] or split.op_type != "Split":
        raise Refused(UNKNOWN)
    gates = body.made(body.source(split.input[0]), "Sigmoid")[0]
    same_x, h, kernel, bias = _product(body, gates)
    units = last.shape[1]
    if (same_x, h) != (x, state) or kernel.shape != (last.shape[0], 2 * units):
        raise Refused(UNKNOWN)
    # TensorFlow has r before u, ONNX z (u) before r.
    whole = np.concatenate([kernel[:, units:], kernel[:, :units], last], axis=1).T
    biases = np.concatenate([bias[units:], bias[:units], last_bias])
    features = len(last) - units
    return Cell(GRU(whole[:, :features], whole[:, features:], biases, np.zeros(units)), x)


def _sum(body: Body, name: str, cell: str) -> Sum:
    """The addends of a gate."""
    found = Sum()
    pending = [name]
    while pending:
        term = pending.pop()
        value = body.constant(term)
        if value is not None:
            found.constant = found.constant + value.ravel()
        elif body.is_made(term, "Add"):
            pending += body.made(term, "Add")
        elif body.is_made(term, "Mul"):
            found.peephole = body.constant(body.other(body.made(term, "Mul"), cell))
        elif body.is_made(term, "Split"):
            maker = body.makers[term]
            found.product, found.part = body.source(maker.input[0]), list(maker.output).index(term)
        else:
            raise Refused(UNKNOWN)
    return found


def _lstm(body: Body, hidden: str, state: str) -> Cell:
    """c' = f * c + i * tanh(g), h' = o * tanh(c') @ projection; gates i, g, f, o of one product."""
    projection = None
    if body.is_made(hidden, "MatMul"):
        hidden, kernel = body.made(hidden, "MatMul")
        projection = body.constant(kernel)
    out, squashed = body.order(body.made(hidden, "Mul"), "Sigmoid")
    new = body.made(squashed, "Tanh")[0]
    cell = body.state_of(new)
    first, second = body.made(new, "Add")
    kept, fresh = (first, second) if cell in body.made(first, "Mul") else (second, first)
    forget = body.other(body.made(kept, "Mul"), cell)
    into, candidate = body.order(body.made(fresh, "Mul"), "Sigmoid")
    arguments = [body.made(gate, "Sigmoid")[0] for gate in (into, out, forget)]
    sums = [_sum(body, arguments[0], cell), _sum(body, arguments[1], new), _sum(body, arguments[2], cell)]
    sums.append(_sum(body, body.made(candidate, "Tanh")[0], cell))
    if len({found.product for found in sums}) != 1 or sums[3].peephole is not None:
        raise Refused(UNKNOWN)
    x, h, kernel_of_all, bias = _product(body, sums[0].product)
    units = kernel_of_all.shape[1] // 4
    if h != state or sorted(found.part for found in sums) != [0, 1, 2, 3]:
        raise Refused(UNKNOWN)
    parts = [slice(found.part * units, (found.part + 1) * units) for found in sums]
    rows = np.concatenate([kernel_of_all[:, part] for part in parts], axis=1).T
    biases = np.concatenate([bias[part] + found.constant for part, found in zip(parts, sums, strict=True)])
    peepholes = [np.zeros(units) if s.peephole is None else s.peephole.ravel() for s in sums[:3]]
    peephole = np.stack(peepholes) if any(p.any() for p in peepholes) else None
    features = rows.shape[1] - (units if projection is None else projection.shape[1])
    turned = None if projection is None else projection.T
    return Cell(LSTM(rows[:, :features], rows[:, features:], biases, peephole, turned), x)
