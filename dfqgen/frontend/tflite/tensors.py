"""A TFLite model while it is written as ONNX: its tensors, as integers and as the reals they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dfqgen.errors import ModelFileError
from dfqgen.frontend.limits import MOST_NODES
from dfqgen.graph.ir import Array, Shape
from dfqgen.graph.rewrite import fresh_name

OPSET = 21
IR_VERSION = 10

ELEMENTS = {
    "FLOAT32": (np.float32, TensorProto.FLOAT),
    "FLOAT16": (np.float16, TensorProto.FLOAT16),
    "INT8": (np.int8, TensorProto.INT8),
    "UINT8": (np.uint8, TensorProto.UINT8),
    "INT16": (np.int16, TensorProto.INT16),
    "INT32": (np.int32, TensorProto.INT32),
    "INT64": (np.int64, TensorProto.INT64),
    "BOOL": (np.bool_, TensorProto.BOOL),
}
CODED = ("INT8", "UINT8", "INT16")
"""Types of tensors that stand for reals by a scale and a zero point."""


class Refused(Exception):
    """This operator cannot be written as ONNX; the text says why."""


class Translation:
    """Nodes and constants so far. Tensors are called by their index in the model's first subgraph."""

    def __init__(self, schema: Any, model: Any, name: str) -> None:
        if not model.subgraphs:
            raise ModelFileError("the TFLite model holds no graph")
        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self.title = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._types = {value: key for key, value in vars(schema.TensorType).items() if key.isupper()}
        self._names: set[str] = set()
        self._real: dict[int, str] = {}
        self._constants: dict[int, Array] = {}
        self.names = [fresh_name(_text(t.name) or "tensor", self._names) for t in self.graph.tensors or []]
        if len(self.graph.operators or []) > MOST_NODES:
            raise ModelFileError(f"the TFLite model has more than {MOST_NODES:,} operators")
        for index in self.graph.inputs:
            self._add_input(int(index))

    # --- tensors ---

    def tensor(self, index: int) -> Any:
        if not 0 <= index < len(self.names):
            raise ModelFileError(f"the TFLite model reads tensor {index}, of {len(self.names)}")
        return self.graph.tensors[index]

    def kind(self, index: int) -> str:
        """The element type's name."""
        return str(self._types.get(self.tensor(index).type, "of an unknown type"))

    def shape(self, index: int) -> Shape:
        shape = self.tensor(index).shape
        return () if shape is None else tuple(int(n) for n in shape)

    def is_constant(self, index: int) -> bool:
        return index in self._constants or self._data(index) is not None

    def constant(self, index: int) -> Array:
        """The stored elements of a constant."""
        if index in self._constants:
            return self._constants[index]
        data = self._data(index)
        if data is None:
            raise Refused(f"{self.names[index]!r} must be a constant")
        kind = self.kind(index)
        if kind == "INT4":
            return _unpacked(data, self.shape(index))
        if kind not in ELEMENTS:
            raise Refused(f"{self.names[index]!r} is {kind}, which is not supported")
        return np.frombuffer(data, ELEMENTS[kind][0]).reshape(self.shape(index))

    def _data(self, index: int) -> bytes | None:
        """Of a constant; inside the flatbuffer, no other place is read."""
        buffer = self.model.buffers[self.tensor(index).buffer]
        return None if buffer.data is None or len(buffer.data) == 0 else bytes(buffer.data)

    def scale(self, index: int) -> Array | None:
        """float32 [1] or [channels]; None of a tensor that has none."""
        found = self.tensor(index).quantization
        if found is None or found.scale is None or len(found.scale) == 0:
            return None
        return np.asarray(found.scale, np.float32)

    def zero_point(self, index: int) -> Array:
        """int64, as many as scales."""
        found = self.tensor(index).quantization
        scale = self.scale(index)
        count = 1 if scale is None else len(scale)
        if found is None or found.zeroPoint is None or len(found.zeroPoint) == 0:
            return np.zeros(count, np.int64)
        zeros = np.asarray(found.zeroPoint, np.int64)
        return np.broadcast_to(zeros, (count,)) if len(zeros) == 1 else zeros

    # --- writing ---

    def fresh(self, wanted: str) -> str:
        return fresh_name(wanted, self._names)

    def stored(self, value: Array, name: str = "constant") -> str:
        """An initializer."""
        name = self.fresh(name)
        self.initializers.append(numpy_helper.from_array(np.array(value), name))
        return name

    def node(self, operator: str, *inputs: str, to: str = "", **fields: Any) -> str:
        """Append a node; gives its output."""
        output = to or self.fresh(f"{next((name for name in inputs if name), 'x')}/{operator}")
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **fields))
        return output

    def cast(self, tensor: str, element: int) -> str:
        """The same numbers in another type."""
        output = self.fresh(f"{tensor}/Cast")
        self.nodes.append(helper.make_node("Cast", [tensor], [output], name=output, to=element))
        return output

    def real(self, index: int) -> str:
        """The tensor's reals, float32, in TFLite's axes."""
        if index not in self._real:
            if not self.is_constant(index):
                raise ModelFileError(
                    f"the TFLite model reads {self.names[index]!r}, which nothing before it gives"
                )
            self._real[index] = self._constant_real(index)
        return self._real[index]

    def _constant_real(self, index: int) -> str:
        value, scale = self.constant(index), self.scale(index)
        if scale is None or value.dtype.kind == "f":
            return self.stored(value.astype(np.float32), self.names[index])
        return self.weight(index, tuple(range(value.ndim)))

    def weight(self, index: int, order: tuple[int, ...]) -> str:
        """A constant's reals with its axes in this order; integers and their scales stay where it has any."""
        value, scale = self.constant(index), self.scale(index)
        if value.ndim != len(order):
            raise Refused(f"its weight has {value.ndim} axes, not {len(order)}")
        moved = value.transpose(order)
        if scale is None or value.dtype.kind == "f":
            return self.stored(moved.astype(np.float32), self.names[index])
        if value.dtype == np.int64:
            return self.stored((moved * np.float64(scale[0])).astype(np.float32), self.names[index])
        zeros = self.zero_point(index).astype(value.dtype)
        axis = 0
        if len(scale) > 1:
            axis = order.index(int(self.tensor(index).quantization.quantizedDimension))
        else:
            scale, zeros = scale.reshape(()), zeros.reshape(())
        integers = self._narrow(moved, self.names[index]) if self.kind(index) == "INT4" else ""
        integers = integers or self.stored(moved, self.names[index])
        coding = [self.stored(scale, "scale")]
        if value.dtype != np.int32:
            coding.append(
                self._narrow(zeros, "zero_point")
                if self.kind(index) == "INT4"
                else self.stored(zeros, "zero_point")
            )
        return self.node("DequantizeLinear", integers, *coding, axis=axis)

    def _narrow(self, value: Array, name: str) -> str:
        name = self.fresh(name)
        elements = value.ravel().tolist()
        self.initializers.append(helper.make_tensor(name, TensorProto.INT4, value.shape, elements))
        return name

    def bias(self, index: int) -> str:
        """A bias as float32: integers times their scales, int64 ones too."""
        value, scale = self.constant(index), self.scale(index)
        real = value if scale is None else value.astype(np.float64) * scale.astype(np.float64)
        return self.stored(real.astype(np.float32), self.names[index])

    def alias(self, output: int, source: int) -> None:
        """The output is the input, as float: a constant stays one."""
        if self.is_constant(source):
            self._constants[output] = self.constant(source)
        self._real[output] = self.real(source)

    def produce(self, index: int, real: str) -> None:
        """What an operator computed is the tensor: rounded where the tensor is of integers."""
        if self.kind(index) in CODED and self.scale(index) is not None:
            coded = self.names[index]
            scale, zero = self._coding(index)
            self.node("QuantizeLinear", real, scale, zero, to=coded)
            self._real[index] = self.node("DequantizeLinear", coded, scale, zero)
        else:
            self._real[index] = self.node("Identity", real, to=self.names[index])

    def _coding(self, index: int) -> tuple[str, str]:
        scale, kind = self.scale(index), self.kind(index)
        if scale is None or len(scale) != 1:
            raise Refused(f"{self.names[index]!r} has not one scale")
        zero: Array = self.zero_point(index).astype(ELEMENTS[kind][0])
        return self.stored(scale.reshape(()), "scale"), self.stored(zero.reshape(()), "zero_point")

    def _add_input(self, index: int) -> None:
        kind, name = self.kind(index), self.names[index]
        if kind not in ELEMENTS:
            raise ModelFileError(f"the input {name!r} is {kind}, which is not supported")
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENTS[kind][1], self.shape(index)))
        if kind in CODED and self.scale(index) is not None:
            self._real[index] = self.node("DequantizeLinear", name, *self._coding(index))
        else:
            self._real[index] = name

    # --- states ---

    def kept(self, index: int, shape: Shape) -> str:
        """The reals of a variable tensor as the step before left them, zero at first: an input of its own."""
        name = self.fresh(f"{self.names[index]}/state_in")
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self.rounded(index, name)

    def keep(self, index: int, real: str, shape: Shape) -> None:
        """What a variable tensor is for the next step: an output that is called as its input is."""
        name = self.fresh(f"{self.names[index]}/state_out")
        self.node("Identity", self.rounded(index, real), to=name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def rounded(self, index: int, real: str) -> str:
        """Reals as integers of this tensor's type have them; as they are where it has none."""
        if self.kind(index) not in CODED or self.scale(index) is None:
            return real
        coding = self._coding(index)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", real, *coding), *coding)

    # --- layouts ---

    def channels_second(self, real: str) -> str:
        """[N,H,W,C] -> [N,C,H,W]."""
        return self.node("Transpose", real, perm=(0, 3, 1, 2))

    def channels_last(self, real: str) -> str:
        """[N,C,H,W] -> [N,H,W,C]."""
        return self.node("Transpose", real, perm=(0, 2, 3, 1))

    def reshaped(self, real: str, shape: Sequence[int]) -> str:
        return self.node("Reshape", real, self.stored(np.array(shape, np.int64), "shape"))

    def finished(self) -> onnx.ModelProto:
        """The model; its outputs are those of the subgraph, then its states."""
        states, self.outputs = self.outputs, []
        for index in self.graph.outputs:
            kind, name = self.kind(int(index)), self.names[int(index)]
            if kind not in ELEMENTS:
                raise ModelFileError(f"the output {name!r} is {kind}, which is not supported")
            self.outputs.append(
                helper.make_tensor_value_info(name, ELEMENTS[kind][1], self.shape(int(index)))
            )
        outputs = [*self.outputs, *states]
        graph = helper.make_graph(self.nodes, self.title, self.inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _unpacked(data: bytes, shape: Shape) -> Array:
    """Integers of four bits, two a byte, the lower half first."""
    packed = np.frombuffer(data, np.uint8)
    halves = np.stack([packed & 15, packed >> 4], axis=1).ravel()[: int(np.prod(shape))]
    return (halves.astype(np.int8) ^ 8).astype(np.int8).reshape(shape) - np.int8(8)


def _text(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return "" if name is None else str(name)
