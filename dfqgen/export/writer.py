"""An ONNX model under construction: tensors of a program, each as integers and as the reals they stand for.

Tensors of four axes have their channels second there, as ONNX's layers want them; others keep their axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.graph.ir import Shape
from dfqgen.graph.rewrite import fresh_name

OPSET = 21
"""The first with integers of 4 and of 16 bits."""
IR_VERSION = 10

ELEMENT = {
    IntType.INT8: TensorProto.INT8,
    IntType.INT16: TensorProto.INT16,
    IntType.FLOAT32: TensorProto.FLOAT,
}


def stored_axes(rank: int) -> tuple[int, ...]:
    """The permutation from a program's axes to those that its tensors have in the file."""
    return (0, 3, 1, 2) if rank == 4 else tuple(range(rank))


def program_axes(rank: int) -> tuple[int, ...]:
    """The way back."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


class Writer:
    """Nodes and constants so far. `coded` and `real` name each tensor's integers and reals in the file."""

    def __init__(self, reserved: Sequence[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.coded: dict[str, str] = {}
        self.real: dict[str, str] = {}
        self._names = set(reserved)
        self._node_names: set[str] = set()

    def name(self, wanted: str) -> str:
        """A tensor name like this one, of which there is no other."""
        return fresh_name(wanted, self._names)

    def constant(self, value: Array, name: str) -> str:
        """An initializer."""
        name = self.name(name)
        self.initializers.append(numpy_helper.from_array(np.array(value), name))
        return name

    def narrow(self, value: Array, name: str) -> str:
        """An initializer of 4 bits."""
        name = self.name(name)
        self.initializers.append(
            helper.make_tensor(name, TensorProto.INT4, value.shape, value.ravel().tolist())
        )
        return name

    def node(self, operator: str, *inputs: str, of: QOp | None = None, to: str = "", **fields: Any) -> str:
        """Append a node; gives its output, `to` or a fresh name."""
        label = of.name if of is not None else operator
        output = to or self.name(f"{of.output if of is not None else inputs[0]}/{operator}")
        name = fresh_name(label, self._node_names)
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, **fields))
        return output

    def transposed(self, tensor: str, permutation: tuple[int, ...]) -> str:
        if permutation == tuple(range(len(permutation))):
            return tensor
        return self.node("Transpose", tensor, perm=permutation)

    def scale_and_zero(self, qtype: QType, name: str) -> tuple[str, str]:
        scale = self.constant(np.array(qtype.scale, np.float32), f"{name}/scale")
        return scale, self.constant(np.array(qtype.zero_point, qtype.dtype.carrier), f"{name}/zero_point")

    def quantized(self, real: str, tensor: QTensor) -> None:
        """The tensor, from its reals: QuantizeLinear, DequantizeLinear; a float32 one as they are."""
        if tensor.qtype.dtype.real:
            self.dequantized(self.node("Identity", real, to=self.name(f"{tensor.name}/reals")), tensor)
            return
        if tensor.qtype.dtype not in ELEMENT:
            raise UserError(
                f"tensor {tensor.name!r} is {tensor.qtype.dtype}, which QuantizeLinear does not give",
                "Build with --output-type int16.",
            )
        scale, zero = self.scale_and_zero(tensor.qtype, tensor.name)
        coded = self.node("QuantizeLinear", real, scale, zero, to=self.name(f"{tensor.name}/integers"))
        self.dequantized(coded, tensor, (scale, zero))

    def dequantized(self, coded: str, tensor: QTensor, coding: tuple[str, str] | None = None) -> None:
        """The tensor, from its integers: DequantizeLinear; of a float32 one, from itself."""
        if tensor.qtype.dtype.real:
            self.coded[tensor.name] = self.real[tensor.name] = coded
            return
        coding = coding or self.scale_and_zero(tensor.qtype, tensor.name)
        self.coded[tensor.name] = coded
        self.real[tensor.name] = self.node("DequantizeLinear", coded, *coding, to=self.name(tensor.name))

    def weight(self, integers: Array, scale: Array, dtype: IntType, name: str) -> str:
        """A weight [Cout, ...] of integers and a scale for each output channel, as reals."""
        narrow = dtype.bits <= IntType.INT4.bits
        stored = self.narrow(integers, name) if narrow else self.constant(integers.astype(np.int8), name)
        steps = self.constant(scale.astype(np.float32), f"{name}/scale")
        return self.node("DequantizeLinear", stored, steps, axis=0)

    def cast(self, tensor: str, to: str, element: int = TensorProto.INT32) -> None:
        """The same numbers in another type."""
        name = fresh_name("Cast", self._node_names)
        self.nodes.append(helper.make_node("Cast", [tensor], [to], name=name, to=element))

    # --- ports ---

    def add_input(self, port: QPort, tensor: QTensor) -> None:
        """A float input in the model's own axes, quantized."""
        order = port.permutation or tuple(range(len(tensor.shape)))
        shape = tuple(int(n) for n in np.array(tensor.shape)[np.argsort(order)])
        self.inputs.append(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, shape))
        to_stored = tuple(order[axis] for axis in stored_axes(len(order)))
        self.quantized(self.transposed(port.name, to_stored), tensor)

    def add_coded_input(self, tensor: QTensor) -> None:
        """The tensor's integers as an input, in the axes that they have in the file."""
        name = self.name(f"{tensor.name}/given")
        self.inputs.append(
            helper.make_tensor_value_info(name, ELEMENT[tensor.qtype.dtype], stored_shape(tensor.shape))
        )
        self.dequantized(name, tensor)

    def add_output(self, port: QPort, tensor: QTensor) -> None:
        """The tensor's reals as an output in the model's own axes."""
        rank = len(tensor.shape)
        order = np.argsort(port.permutation or tuple(range(rank)))
        to_model = tuple(int(program_axes(rank)[axis]) for axis in order)
        real = self.transposed(self.real[tensor.name], to_model)
        self.node("Identity", real, to=port.name)
        shape = tuple(int(n) for n in np.array(tensor.shape)[order])
        self.outputs.append(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, shape))

    def add_coded_output(self, tensor: QTensor) -> str:
        name = self.coded[tensor.name]
        shape = stored_shape(tensor.shape)
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT[tensor.qtype.dtype], shape))
        return name

    def model(self, name: str) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="dfqgen",
        )


def stored_shape(shape: Shape) -> Shape:
    """A program's shape in the axes that the file has."""
    return tuple(shape[axis] for axis in stored_axes(len(shape)))
