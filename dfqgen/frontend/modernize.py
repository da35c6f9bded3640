"""Legal ONNX in forms that the rest of the frontend need not know: rewritten before anything else, in place.

Nodes in any order, sparse constants, axes that vectors do not have, an operator that ONNX lacks, half and
double precision, operator sets before the oldest that importers know.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, numpy_helper

OLDEST_OPSET = 7
CONVERTED_OPSET = 13
"""What models of older operator sets are converted to."""

OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Operators whose attribute is a type, by the attribute's name.
_TYPE_ATTRIBUTES = ("to", "dtype")


def nested_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among the node's attributes."""
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def names_read(node: onnx.NodeProto) -> set[str]:
    """Tensors the node may read: its inputs, and whatever graphs inside it name."""
    names = {name for name in node.input if name}
    for graph in nested_graphs(node):
        for inner in graph.node:
            names |= names_read(inner)
        names.update(value.name for value in graph.output)
    return names


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put each node behind those whose results it reads; the order stays where it can.

    Nodes in a circle, and those that read what nothing gives, stay at the end: the checks name them.
    """
    givers: dict[str, int] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            givers.setdefault(name, i)
    readers: list[list[int]] = [[] for _ in graph.node]
    missing = [0] * len(graph.node)
    for i, node in enumerate(graph.node):
        for giver in {givers[name] for name in names_read(node) if name in givers}:
            readers[giver].append(i)
            missing[i] += 1
    if all(giver < i for giver, after in enumerate(readers) for i in after):
        return
    order: list[int] = []
    ready = [i for i in reversed(range(len(missing))) if not missing[i]]
    while ready:
        i = ready.pop()
        order.append(i)
        for reader in reversed(readers[i]):
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    placed = set(order)
    order += [i for i in range(len(missing)) if i not in placed]
    nodes = [graph.node[i] for i in order]
    sorted_graph = onnx.GraphProto()
    sorted_graph.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(sorted_graph.node)


def sparse_to_nodes(graph: onnx.GraphProto) -> None:
    """Sparse initializers as Constant nodes in front, which constant folding makes dense."""
    constants = [
        onnx.helper.make_node("Constant", [], [sparse.values.name], sparse_value=sparse)
        for sparse in graph.sparse_initializer
    ]
    for node in reversed(constants):
        graph.node.insert(0, node)
    del graph.sparse_initializer[:]


def convert_old(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the operator set CONVERTED_OPSET, by ONNX's own converter."""
    return onnx.version_converter.convert_version(model, CONVERTED_OPSET)


def other_precisions(graph: onnx.GraphProto) -> bool:
    """Whether inputs, outputs or parameters have floats of half or double precision."""
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.type.tensor_type.elem_type for value in values}
    types |= {tensor.data_type for tensor in graph.initializer}
    return not types.isdisjoint(OTHER_FLOATS)


def to_single_precision(graph: onnx.GraphProto) -> None:
    """Half and double precision as float32 throughout: parameters, types, casts. In place.

    A value that float32 cannot hold becomes infinite, which the importers refuse by name.
    """
    for tensor in graph.initializer:
        _convert_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in OTHER_FLOATS:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in OTHER_FLOATS:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _convert_tensor(attribute.t)
            for tensor in attribute.tensors:
                _convert_tensor(tensor)
        for inner in nested_graphs(node):
            to_single_precision(inner)


def mend_axes(graph: onnx.GraphProto) -> None:
    """A DequantizeLinear of a vector has but one axis, whatever it says: tf2onnx gives biases the axis of
    their layer's weight, which onnxruntime refuses. In place.
    """
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input and node.input[0] in vectors:
            for attribute in node.attribute:
                if attribute.name == "axis":
                    attribute.i = 0


def erfc_to_erf(graph: onnx.GraphProto) -> None:
    """Erfc, which ONNX lacks, is 1 - erf: tf2onnx leaves TensorFlow's operator in an exact GELU. In place."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Erfc" or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
            continue
        erf, one = f"{node.output[0]}/erf", f"{node.output[0]}/one"
        value = numpy_helper.from_array(np.ones((), np.float32))
        nodes.append(onnx.helper.make_node("Erf", node.input, [erf], node.name))
        nodes.append(onnx.helper.make_node("Constant", [], [one], value=value))
        nodes.append(onnx.helper.make_node("Sub", [one, erf], node.output, node.name))
    if len(nodes) > len(graph.node):
        rewritten = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(rewritten.node)


def _convert_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type not in OTHER_FLOATS:
        return
    with np.errstate(over="ignore"):
        value = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
