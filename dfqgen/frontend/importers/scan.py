"""Scan around TensorFlow's recurrent cells, as tf2onnx writes LSTMCell and GRUCell, one or several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import numpy_helper

from dfqgen.frontend.importers.cells import UNKNOWN, CellReader, computed
from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Reshape


@importer("Scan", since=9)
def scan(node: OnnxNode) -> tuple[str, ...]:
    """Hidden states of cells that begin with zeros: those after the last step, or of every step."""
    body = Body.of(node)
    if len(body.scanned) != 1:
        raise Refused(f"scans {len(body.scanned)} sequences; one is supported")
    if node.is_constant(len(body.states)):
        raise Refused(
            "scans a constant, as nearest neighbours go through all samples they were fitted to; that is "
            "not supported"
        )
    cells: dict[str, str] = {}
    reader = CellReader(body)

    def sequence(name: str) -> str:
        """Of a cell's hidden states, or of the input: [1,T,H]."""
        if name == body.scanned[0]:
            x = node.tensor(len(body.states))
            shape = node.shape_of(x)[node.lead :]
            if len(shape) != 3 or shape[1] != 1:
                raise Refused(f"scans {list(shape)}, which is no sequence of one sample")
            return node.emit(Reshape((1, shape[0], shape[2])), x)
        if name not in cells:
            cell = reader.read(name)
            cells[name] = node.emit(cell.op, sequence(cell.x))
        return cells[name]

    def result(index: int) -> str:
        name = body.source(body.outputs[index])
        whole = sequence(name)
        _, steps, width = node.shape_of(whole)
        lead = (1,) * node.lead
        if index >= len(body.states):
            return node.reshape(whole, (*lead, steps, 1, width))
        cell = reader.read(name)
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
    _computed: dict[str, Array | None] = field(default_factory=dict)

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
        value = self._value(self.source(name))
        return None if value is None or value.dtype.kind not in "fiu" else value.astype(np.float64)

    def _value(self, name: str) -> Array | None:
        """The body's own, one from around it, or what a node of the body makes of such."""
        value = self.own.get(name, self.node.builder.model.constants.get(name))
        maker = self.makers.get(name)
        if value is not None or maker is None:
            return value
        if name not in self._computed:
            feeds = {i: self._value(self.source(i)) for i in maker.input if i}
            known = {i: given for i, given in feeds.items() if given is not None}
            self._computed[name] = computed(maker, known, name) if len(known) == len(feeds) else None
        return self._computed[name]

    def width(self, name: str) -> int | None:
        """Elements of a state, or of what is scanned; of a product of two tensors, those of either."""
        if name in self.states and self.node.is_constant(self.states[name]):
            return int(self.node.constant(self.states[name], "state").size)
        if name in self.scanned:
            return int(self.node.shape_of(self.node.tensor(len(self.states)))[-1])
        maker = self.makers.get(name)
        factors = [] if maker is None or maker.op_type != "Mul" else [self.source(i) for i in maker.input]
        return next((width for width in map(self.width, factors) if width is not None), None)

    def is_leaf(self, name: str) -> bool:
        """The sequence, states, and what the step makes of states: another cell may read that."""
        after = (self.source(self.outputs[place]) for place in self.states.values())
        return name in self.scanned or name in self.states or name in after

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
