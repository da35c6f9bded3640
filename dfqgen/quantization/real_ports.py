"""float32 network inputs and outputs: what their integers are, and the operators between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.rewrite import fresh_name
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.ops.movement import Reshape
from dfqgen.ops.real import REAL, QDequantize, QQuantize

SUM_BITS = 26
"""Of the largest sum a layer can have, in an int32 output: room for the shift that its factor needs."""


def sum_types(
    graph: Graph, clips: Mapping[str, Node], types: Mapping[str, QType], *, power_of_two: bool
) -> dict[str, QType]:
    """int32 types of outputs that are a convolution's sums: no range is needed, and nothing is clipped.

    The scale follows from the largest sum there can be; such outputs are read by nobody, or reshaped only.
    """
    found: dict[str, QType] = {}
    written = {_output(node, clips): node for node in graph.nodes if isinstance(node.op, Conv2D)}
    for port in graph.given:
        tensors = list(_reshaped_from(graph, port.tensor))
        writer = written.get(tensors[-1])
        if writer is None or not _uniform(clips.get(writer.output)) or not _unread(graph, tensors):
            continue
        scale = _largest_sum(writer, types[writer.inputs[0]]) * 2.0**-SUM_BITS
        if power_of_two:
            scale = 2.0 ** math.ceil(math.log2(scale))
        found |= dict.fromkeys(tensors, QType(IntType.INT32, scale, 0))
    return found


def _output(node: Node, clips: Mapping[str, Node]) -> str:
    return clips[node.output].output if node.output in clips else node.output


def _reshaped_from(graph: Graph, tensor: str) -> Iterator[str]:
    """The tensor, and what it is a reshape of."""
    yield tensor
    while (node := graph.producers.get(tensor)) is not None and isinstance(node.op, Reshape):
        tensor = node.inputs[0]
        yield tensor


def _unread(graph: Graph, tensors: list[str]) -> bool:
    """Whether nobody reads the first, nobody but a reshape the others, and none is a state."""
    kept = {port.tensor for ports in graph.kept for port in ports}
    readers = [len(graph.consumers[tensor]) for tensor in tensors]
    outside = [tensor in graph.output_tensors for tensor in tensors[1:]]
    return readers == [0, *[1] * (len(tensors) - 1)] and not any(outside) and not kept & set(tensors)


def _uniform(clip: Node | None) -> bool:
    """Whether all channels have one clip."""
    return clip is None or (isinstance(clip.op, Clip) and not clip.op.per_channel)


def _largest_sum(node: Node, x: QType) -> float:
    """In reals, whatever the integers of x are."""
    assert isinstance(node.op, Conv2D)
    reach = x.scale * (-x.dtype.minimum + abs(x.zero_point))
    weights = np.abs(node.op.weight.astype(np.float64)).sum(axis=(1, 2, 3))
    return max(float((reach * weights + np.abs(node.op.bias)).max()), 1e-6)


def with_real_ports(program: Program, *, inputs: bool, outputs: bool) -> Program:
    """The program with float32 inputs or outputs around its own; ports keep their tensors' names."""
    ports = (*(program.inputs if inputs else ()), *(program.outputs if outputs else ()))
    names = set(program.tensors)
    renamed = {port.tensor: fresh_name(f"{port.tensor}/integers", names) for port in ports}

    def new(name: str) -> str:
        return renamed.get(name, name)

    tensors = {new(name): replace(tensor, name=new(name)) for name, tensor in program.tensors.items()}
    ops = [_renamed(op, new) for op in program.ops]
    first: list[QOp] = []
    last: list[QOp] = []
    for port in dict.fromkeys(program.inputs if inputs else ()):
        first.append(QQuantize.of(port.name, port.tensor, tensors[new(port.tensor)]))
    for port in dict.fromkeys(program.outputs if outputs else ()):
        last.append(QDequantize.of(port.name, tensors[new(port.tensor)], port.tensor))
    for tensor in renamed:
        tensors[tensor] = QTensor(tensor, program.tensors[tensor].shape, REAL)
    states = tuple(replace(s, input=new(s.input), output=new(s.output)) for s in program.states)
    return replace(program, tensors=tensors, ops=(*first, *ops, *last), states=states)


def _renamed(op: QOp, new: Callable[[str], str]) -> QOp:
    inputs = tuple(new(name) for name in op.inputs)
    return replace(op, inputs=inputs, output=new(op.output))  # type: ignore[type-var]
