"""How an ONNX node becomes operators of ours: the registry, and what an importer sees of its node."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from dfqgen.fixedpoint.qtype import Coding
from dfqgen.frontend.fold import FoldedModel, Grid
from dfqgen.frontend.limits import LARGEST_LAYER_READS, LARGEST_TENSOR_ELEMENTS, LONGEST_LIST
from dfqgen.frontend.read import node_label
from dfqgen.graph.ir import Array, Node, Op, Shape
from dfqgen.graph.rewrite import fresh_name
from dfqgen.ops.movement import Reshape, Transpose


class Refused(Exception):
    """This node cannot be imported; the text says why and what to do."""


class FirstAxisMoved(Refused):
    """The node treats the first axis as one like others: it is imported again with one more in front."""


def along_first_axis(node: OnnxNode, what: str) -> Refused:
    """To raise where a node works along the first axis: of a batch, that is no function of one sample."""
    batch = node.builder.model.batch
    if batch == 1:
        return FirstAxisMoved(what)
    return Refused(
        f"{what}, of which the file has {batch} samples and the C takes one; if that axis counts no samples, "
        "say so with --input-shape"
    )


# Gives the tensor of the node's first output (in ONNX's axis order), or one for each output, "" where nothing
# reads it.
Importer = Callable[["OnnxNode"], "str | tuple[str, ...]"]

_IMPORTERS: dict[str, dict[int, Importer]] = {}
_BATCH_FIRST: set[Importer] = set()


def importer(*operators: str, since: int = 1, batch_first: bool = False) -> Callable[[Importer], Importer]:
    """Register a function for ONNX operators, from this opset version of the model on.

    With `batch_first` the operator's first axis is always the batch: a layer, a pool. Others must do with
    `OnnxNode.lead`.
    """

    def register(function: Importer) -> Importer:
        if batch_first:
            _BATCH_FIRST.add(function)
        for operator in operators:
            _IMPORTERS.setdefault(operator, {})[since] = function
        return function

    return register


def find_importer(operator: str, opset: int) -> Importer | None:
    """The importer for the newest version of the operator that is not newer than `opset`."""
    versions = _IMPORTERS.get(operator, {})
    usable = [since for since in versions if since <= opset]
    return versions[max(usable)] if usable else None


def takes_batch_first(function: Importer) -> bool:
    """Whether it was registered with `batch_first`."""
    return function in _BATCH_FIRST


def supported_operators() -> tuple[str, ...]:
    """Names of all ONNX operators with an importer."""
    return tuple(sorted(_IMPORTERS))


def channels_last(rank: int) -> tuple[int, ...]:
    """The transpose that moves axis 1 to the end."""
    return (0, *range(2, rank), 1)


def channels_first(rank: int) -> tuple[int, ...]:
    """The transpose that moves the last axis to place 1."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True, slots=True)
class Length:
    """A tensor that is the p-norm of `source` along `axis`, that axis kept."""

    source: str
    axis: int
    p: int


@dataclass
class Builder:
    """The graph under construction. `tensors` maps ONNX's names to ours, in ONNX's axis order.

    A tensor of ours has a batch of 1 as its first axis. ONNX's has it too, or the tensor is in `lifted`:
    then ours has one axis more, in front. `codings` are those of ONNX's tensors of integers, by ONNX's name:
    ours hold the reals that these stand for. `lengths` are the norms found so far: a division by one is a
    normalization.
    """

    model: FoldedModel
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    lengths: dict[str, Length] = field(default_factory=dict)
    lifted: set[str] = field(default_factory=set)
    codings: dict[str, Coding] = field(default_factory=dict)

    @cached_property
    def producers(self) -> Mapping[str, onnx.NodeProto]:
        """The model's node that gives each of its tensors."""
        return {name: node for node in self.model.nodes for name in node.output if name}

    def add_input(self, name: str, shape: Shape) -> str:
        """A tensor that comes from outside, of this shape in ONNX."""
        tensor = fresh_name(name, self.names)
        if not shape or shape[0] != 1:
            self.lifted.add(tensor)
            shape = (1, *shape)
        self.shapes[tensor] = shape
        self.tensors[name] = tensor
        return tensor

    def emit(self, op: Op, inputs: Sequence[str], node_name: str, output_hint: str) -> str:
        """Append a node; gives its output tensor. ValueError when the shapes do not fit."""
        shape = op.infer_shape(*(self.shapes[name] for name in inputs))
        if math.prod(shape) > LARGEST_TENSOR_ELEMENTS:
            raise ValueError(f"gives a tensor of shape {list(shape)}, too large for any target")
        output = fresh_name(output_hint, self.names)
        self.nodes.append(Node(node_name, op, tuple(inputs), output))
        self.shapes[output] = shape
        return output


class OnnxNode:
    """One ONNX node while it is imported: its attributes, constants and tensors, and ways to emit ours.

    `lead` is the number of axes that all its tensors and shapes here have in front of ONNX's: 1 where
    ONNX's first axis is not the batch, else 0.
    """

    def __init__(self, proto: onnx.NodeProto, builder: Builder, lead: int = 0) -> None:
        self.lead = lead
        self.proto = proto
        self.op_type = proto.op_type
        self.opset = builder.model.opset
        self.builder = builder
        self.attributes: Mapping[str, Any] = {
            a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute
        }
        self.name = proto.name or f"{proto.op_type}:{node_label(proto)}"
        self.output = node_label(onnx.NodeProto(output=proto.output))

    # --- attributes ---

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise Refused(f"its attribute {name} is no integer; the file is damaged")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """An integer attribute that is 0 or 1."""
        value = self.integer(name, int(default))
        if value not in (0, 1):
            raise Refused(f"its attribute {name} is {value}, neither 0 nor 1; the file is damaged")
        return bool(value)

    def number(self, name: str, default: float) -> float:
        """A finite number, or the default."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float) or not (name not in self.attributes or math.isfinite(value)):
            raise Refused(f"its attribute {name} is no finite number; the file is damaged")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        if not isinstance(value, bytes | str):
            raise Refused(f"its attribute {name} is no text; the file is damaged")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list attribute, None when it is absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > LONGEST_LIST or any(type(v) is not int for v in value):
            raise Refused(f"its attribute {name} is no short list of integers; the file is damaged")
        return tuple(value)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A list of finite numbers, None when it is absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        numeric = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
        if not numeric or len(value) > LONGEST_LIST or not all(map(math.isfinite, value)):
            raise Refused(f"its attribute {name} is no short list of finite numbers; the file is damaged")
        return tuple(float(v) for v in value)

    # --- inputs ---

    def has_input(self, index: int) -> bool:
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def is_constant(self, index: int) -> bool:
        return self.has_input(index) and self.proto.input[index] in self.builder.model.constants

    def tensor(self, index: int = 0) -> str:
        """Our tensor of an activation input, in ONNX's axis order, behind `lead`."""
        name = self.proto.input[index] if self.has_input(index) else ""
        if name not in self.builder.tensors:
            raise Refused(f"input {index} must be an activation, not a constant")
        tensor = self.builder.tensors[name]
        if self.lead and tensor not in self.builder.lifted:
            return self.emit(Reshape((1, *self.shape_of(tensor))), tensor)
        return tensor

    def shape(self, index: int = 0) -> Shape:
        return self.builder.shapes[self.tensor(index)]

    def constant(self, index: int, what: str) -> Array:
        """A constant input; Refused when it is computed from the network's input."""
        if not self.is_constant(index):
            raise Refused(f"its {what} must be a constant, but depends on the network's input")
        return self.builder.model.constants[self.proto.input[index]]

    def weight(self, index: int, what: str = "weight") -> Array:
        """A constant float32 parameter, checked for NaN and infinity."""
        value = self.constant(index, what)
        label = f"{what} {self.proto.input[index]!r}"
        if value.dtype != np.float32:
            raise Refused(f"{label} is {value.dtype}, not float32; export the model in float32")
        bad = value.size - int(np.count_nonzero(np.isfinite(value)))
        if bad:
            raise Refused(
                f"{label} holds {bad} NaN or infinite values of {value.size}; training or export failed"
            )
        return value

    def bias(self, index: int) -> Array:
        """A constant bias: float32, or float64 where it is of integers."""
        value = self.weight(index, "bias")
        return self.builder.model.biases.get(self.proto.input[index], value)

    def grid(self, index: int) -> Grid | None:
        """What integers a constant parameter is made of, where the model states them."""
        return self.builder.model.grids.get(self.proto.input[index])

    def behind_lead(self, constant: Array) -> Array:
        """A constant with as many axes in front as the node's tensors have."""
        return constant.reshape((1,) * self.lead + constant.shape)

    def optional_integers(self, index: int, attribute: str) -> tuple[int, ...] | None:
        """A list that older opsets give as an attribute and newer ones as a constant input."""
        return self.list_input(index, attribute) if self.has_input(index) else self.integers(attribute)

    def folded_batch(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that the model states, for a batch of 1 where the model's own was made one."""
        batch = self.builder.model.batch
        return (1, *shape[1:]) if batch > 1 and shape[:1] == (batch,) else shape

    def list_input(self, index: int, what: str) -> tuple[int, ...]:
        """A constant input that lists axes or sizes."""
        value = self.constant(index, what)
        if value.dtype.kind not in "iu" or value.ndim > 1 or value.size > LONGEST_LIST:
            raise Refused(f"its {what} must be a short list of integers")
        return tuple(int(v) for v in value.ravel())

    def axis(self, value: int, rank: int) -> int:
        """ONNX's axis of a tensor that has `rank` here, from the front; Refused when there is none."""
        rank -= self.lead
        if not -rank <= value < rank:
            raise Refused(f"axis {value} does not exist in a tensor of {rank} axes")
        return value % rank + self.lead

    def check_reads(self, reads: int) -> None:
        """Refuse a layer that would read so many elements for one input."""
        if reads > LARGEST_LAYER_READS:
            raise Refused(f"would take {reads:,} steps for one input; at most {LARGEST_LAYER_READS:,} do")

    def needs_single_output(self) -> None:
        """Refuse the node when something reads a second output of it."""
        for index in range(1, len(self.proto.output)):
            if self.is_read(index):
                name = self.proto.output[index]
                raise Refused(f"its output {name!r} is used; only the first output is supported")

    def is_read(self, index: int) -> bool:
        """Whether a node reads this output of the node, or it is the network's."""
        name = self.proto.output[index] if index < len(self.proto.output) else ""
        model = self.builder.model
        return bool(name) and (name in model.outputs or any(name in node.input for node in model.nodes))

    # --- emitting ---

    def emit(self, op: Op, *inputs: str) -> str:
        """Append one of our operators; gives its output tensor."""
        return self.builder.emit(op, inputs, self.name, self.output)

    def shape_of(self, tensor: str) -> Shape:
        return self.builder.shapes[tensor]

    def transpose(self, tensor: str, permutation: tuple[int, ...]) -> str:
        if permutation == tuple(range(len(permutation))):
            return tensor
        return self.emit(Transpose(permutation), tensor)

    def reshape(self, tensor: str, shape: Shape) -> str:
        """Reshape one sample; the batch must stay the first axis."""
        if self.shape_of(tensor) == shape:
            return tensor
        if not shape or shape[0] != 1:
            raise FirstAxisMoved(f"gives shape {list(shape)}, which has no batch of 1 in front")
        return self.emit(Reshape(shape), tensor)

    def to_channels_last(self, tensor: str) -> str:
        """[N,C,...] -> [N,...,C]."""
        return self.transpose(tensor, channels_last(len(self.shape_of(tensor))))

    def to_channels_first(self, tensor: str) -> str:
        """[N,...,C] -> [N,C,...]."""
        return self.transpose(tensor, channels_first(len(self.shape_of(tensor))))

    def to_image(self, tensor: str) -> str:
        """[N,C,H,W] or [N,C,L] -> [N,H,W,C], H = 1 for a sequence."""
        rank = len(self.shape_of(tensor))
        if rank not in (3, 4):
            raise Refused(f"works on {rank - 2} spatial axes; 1 and 2 are supported")
        last = self.to_channels_last(tensor)
        n, *space, c = self.shape_of(last)
        return self.reshape(last, (n, *([1] * (4 - rank)), *space, c))

    def from_image(self, tensor: str, rank: int) -> str:
        """[N,H,W,C] -> [N,C,H,W], or [N,C,L] when `rank` is 3."""
        if rank == 3:
            n, _, w, c = self.shape_of(tensor)
            tensor = self.reshape(tensor, (n, w, c))
        return self.to_channels_first(tensor)
