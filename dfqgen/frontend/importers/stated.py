"""Types that the model states: QuantizeLinear and DequantizeLinear at activations, integers of weights."""

from __future__ import annotations

import contextlib
from typing import TypedDict

import numpy as np

from dfqgen.fixedpoint.qtype import Coding, IntType
from dfqgen.frontend.fold import FoldedModel, Grid
from dfqgen.frontend.importers.registry import Builder, OnnxNode, Refused, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.movement import Pad
from dfqgen.ops.tabulated import Tabulated

CODED = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
"""The integer types that activations may have."""


class StatedWeight(TypedDict):
    """Fields of a Conv2D."""

    weight_scale: Array | None
    weight_type: IntType


def stated_weight(weight: Array, grid: Grid | None) -> StatedWeight:
    """What a Conv2D with this weight [Cout, ...] says of the integers it is made of; `grid` is of its shape.

    Nothing where a filter has several scales: such weights get integers of ours.
    """
    free = StatedWeight(weight_scale=None, weight_type=IntType.INT8)
    if grid is None or grid.scale.size == 0:
        return free
    rows = grid.scale.reshape(len(weight), -1).astype(np.float64)
    scale = rows.max(axis=1)
    if np.any((rows != scale[:, None]) & (rows != 0.0)):
        return free
    dtype = IntType.INT8
    if grid.bits <= IntType.INT4.bits:
        integers = np.rint(weight.reshape(len(weight), -1) / scale[:, None])
        narrow = integers.min() >= IntType.INT4.minimum and integers.max() <= IntType.INT4.maximum
        dtype = IntType.INT4 if narrow else dtype
    return StatedWeight(weight_scale=scale, weight_type=dtype)


@importer("QuantizeLinear")
def quantize_linear(node: OnnxNode) -> str:
    """Reals rounded; the result's tensor still holds reals, of which `codings` tells the integers."""
    coding = _coding(node, default="uint8")
    node.builder.codings[node.proto.output[0]] = coding
    return node.emit(FakeQuantize.of(coding.qtype), node.tensor())


@importer("DequantizeLinear")
def dequantize_linear(node: OnnxNode) -> str:
    """The reals that its input's integers stand for: nothing to do where it reads them as they were made."""
    known = node.builder.codings.get(node.proto.input[0])
    if known is None:
        _coding(node, default="uint8")  # what is wrong with its own scale comes first
        raise Refused("reads integers that are neither constants, nor an input, nor from a QuantizeLinear")
    dtype = next(name for name, ends in CODED.items() if ends == (known.lo, known.hi))
    if _coding(node, default=dtype) != known:
        raise Refused("has another scale or zero point than the QuantizeLinear before it")
    return node.tensor()


def _coding(node: OnnxNode, default: str) -> Coding:
    """Scale, zero point and integer type of a node; the type is the zero point's."""
    scale = node.weight(1, "scale")
    if scale.size != 1:
        raise Refused(f"has {scale.size} scales for an activation; one is supported")
    zero_point, dtype = np.zeros((), np.int64), default
    if node.has_input(2):
        zero_point = node.constant(2, "zero point")
        dtype = zero_point.dtype.name
    if dtype not in CODED or zero_point.size != 1:
        raise Refused(f"gives or takes {dtype}; activations of {', '.join(CODED)} are supported")
    real = float(scale.reshape(()))
    if real <= 0.0:
        raise Refused(f"its scale is {real:g}, not positive; the file is damaged")
    lo, hi = CODED[dtype]
    return Coding(real, int(zero_point.reshape(())), lo, hi)


def table_of_integers(node: OnnxNode) -> str:
    """Gather from a constant with quantized integers as places: any function of one value, as its table."""
    before = node.builder.codings[node.proto.input[1]]
    table = node.constant(0, "table")
    readers = [p for p in node.builder.model.nodes if p.input and p.input[0] == node.proto.output[0]]
    dequantizer = next((p for p in readers if p.op_type == "DequantizeLinear"), None)
    if before.hi - before.lo != 255 or table.shape != (256,) or dequantizer is None:
        raise Refused("reads a table with integers; one of 256 integers behind 8 bits is supported")
    after = _coding(OnnxNode(dequantizer, node.builder), default=table.dtype.name)
    if (table.min(), table.max()) < (after.lo, after.lo) or table.max() > after.hi:
        raise Refused("reads a table of integers that its type cannot hold; the file is damaged")
    values = after.decode(table[np.arange(before.lo, before.hi + 1)])
    node.builder.codings[node.proto.output[0]] = after
    source = before.qtype
    result = node.emit(Tabulated(values.astype(np.float64), source.scale, source.zero_point), node.tensor(1))
    return node.emit(FakeQuantize.of(after.qtype), result)


def code_inputs(model: FoldedModel, builder: Builder) -> None:
    """Inputs of integers that a DequantizeLinear reads, perhaps moved before: ours are the reals."""
    codings: dict[str, Coding] = {}
    for name in model.integer_inputs:
        moved = {name}
        for proto in model.nodes:
            if proto.input and proto.input[0] in moved:
                if proto.op_type == "DequantizeLinear":
                    with contextlib.suppress(Refused):  # which the node itself says in its turn
                        codings[name] = _coding(OnnxNode(proto, builder), default="uint8")
                    break
                if proto.op_type in MOVERS:
                    moved.update(proto.output)
    builder.codings.update(codings)


ON_INTEGERS = frozenset(("QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger"))
MOVERS = frozenset(
    ("Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "MaxPool")
)


def pass_on_codings(node: OnnxNode, first: int) -> None:
    """The coding of a node's outputs, if its inputs have one: it may only move integers, not compute on them.

    `first` is the place of the first operator that it emitted. Raises Refused.
    """
    builder = node.builder
    names = [name for name in node.proto.input if name in builder.tensors]
    found = [builder.codings.get(name) for name in names]
    if not any(found) or node.op_type in ON_INTEGERS or node.proto.output[0] in builder.codings:
        return
    coding = found[0]
    moves = all(made.op.keeps_type and not isinstance(made.op, Pad) for made in builder.nodes[first:])
    if coding is None or any(other != coding for other in found) or not moves:
        raise Refused("computes on integers of quantized tensors; put a DequantizeLinear in front of it")
    builder.codings.update({name: coding for name in node.proto.output if name})
