"""Operators on each element: normalization, activations, arithmetic, softmax."""

from __future__ import annotations

import math

import numpy as np

from dfqgen.frontend.importers.constants import affine
from dfqgen.frontend.importers.functions import lane_axis, pairwise, scaled
from dfqgen.frontend.importers.marks import COARSE, HALVES
from dfqgen.frontend.importers.norms import multiplied_out, of_unit_length, written_out
from dfqgen.frontend.importers.registry import OnnxNode, Refused, importer
from dfqgen.graph.ir import Op
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.divide import Div
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.multiply import Mul
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.take import Take

FLOAT32_MAX = float(np.finfo(np.float32).max)


@importer("BatchNormalization", batch_first=True)
def batch_normalization(node: OnnxNode) -> str:
    """On axis 1 of any rank from 2."""
    node.needs_single_output()
    if node.flag("training_mode", default=False) or not node.flag("spatial", default=True):
        raise Refused("is in training mode or not spatial; export the model for inference (model.eval())")
    scale, bias, mean, variance = (
        node.weight(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    epsilon = node.number("epsilon", 1e-5)
    if np.any(variance + epsilon <= 0):
        raise Refused("holds a negative variance; the file is damaged")
    if len(node.shape()) < 2:
        raise Refused("needs a channel axis")
    channels = node.shape()[1]
    if any(parameter.shape != (channels,) for parameter in (scale, bias, mean, variance)):
        shapes = ", ".join(str(list(parameter.shape)) for parameter in (scale, bias, mean, variance))
        raise Refused(f"its parameters have shapes {shapes}; its input has {channels} channels")
    x = node.to_channels_last(node.tensor())
    return node.to_channels_first(node.emit(BatchNorm(scale, bias, mean, variance, epsilon), x))


@importer("Relu")
def relu(node: OnnxNode) -> str:
    return node.emit(Clip.of(0.0, np.inf), node.tensor())


@importer("Clip")
def clip_attributes(node: OnnxNode) -> str:
    return _clip(node, node.number("min", -np.inf), node.number("max", np.inf))


@importer("Clip", since=11)
def clip_inputs(node: OnnxNode) -> str:
    ends = []
    for index, default in ((1, -np.inf), (2, np.inf)):
        bound = node.constant(index, "bound") if node.has_input(index) else np.float32(default)
        if bound.size != 1:
            raise Refused(f"its bound has {bound.size} values; one is expected")
        ends.append(float(bound.reshape(())))
    return _clip(node, *ends)


def _clip(node: OnnxNode, lo: float, hi: float) -> str:
    if np.isnan(lo) or np.isnan(hi):
        raise Refused("clips at NaN; the file is damaged")
    # The largest float stands for "no bound" in many files. ONNX gives hi when the bounds cross.
    lo = -np.inf if lo <= -FLOAT32_MAX else min(lo, hi)
    hi = np.inf if hi >= FLOAT32_MAX else hi
    return node.emit(Clip.of(lo, hi), node.tensor())


@importer("Add", "Sub", "Mul", "Div")
def arithmetic(node: OnnxNode) -> str:
    """Two activations, or one and a constant, broadcast as numpy does."""
    kind = node.op_type
    if node.proto.doc_string == HALVES:
        return node.tensor(0)
    if node.is_constant(0) or node.is_constant(1):
        return _with_constant(node, 0 if node.is_constant(0) else 1)
    if kind in ("Mul", "Div"):
        known = _moments(node) or (_normalized(node) if kind == "Div" else of_unit_length(node))
        if known is not None:
            return known
    if kind == "Sub" and (known := _log_softmax(node)) is not None:
        return known
    if kind == "Add" and (known := multiplied_out(node)) is not None:
        return known
    coarse = node.proto.doc_string == COARSE
    ops: dict[str, Op] = {"Mul": Mul(), "Div": Div(), "Add": Add(1, coarse), "Sub": Add(-1, coarse)}
    return pairwise(node, ops[kind], node.tensor(0), node.tensor(1))


def _moments(node: OnnxNode) -> str | None:
    """Layer normalization and its like, written out: a quotient, or a product with one over a root."""
    first, second = node.proto.input
    if node.op_type == "Div":
        return written_out(node, first, root=second)
    pairs = ((first, second), (second, first))
    found = (written_out(node, x, reciprocal_root=root) for x, root in pairs)
    return next((result for result in found if result is not None), None)


def _log_softmax(node: OnnxNode) -> str | None:
    """x less its ReduceLogSumExp, as skl2onnx writes it; None for another difference."""
    producers = node.builder.producers
    maker = producers.get(node.proto.input[1])
    while maker is not None and maker.op_type in ("Identity", "Reshape", "Unsqueeze"):
        maker = producers.get(maker.input[0])
    if maker is None or maker.op_type != "ReduceLogSumExp" or maker.input[0] != node.proto.input[0]:
        return None
    inner = OnnxNode(maker, node.builder, node.lead)
    axes = inner.optional_integers(1, "axes")
    x, shape = node.tensor(0), node.shape(0)
    if axes is None or len(axes) != 1 or node.shape(1) != (*shape[:-1], 1):
        return None
    axis = inner.axis(axes[0], len(shape))
    return node.emit(LogSoftmax(axis), x) if axis == len(shape) - 1 else None


def _normalized(node: OnnxNode) -> str | None:
    """x / max(|x|, epsilon) as torch.nn.functional.normalize exports it; None for another quotient."""
    x, tensor = node.tensor(0), node.tensor(1)
    producers = {made.output: made for made in node.builder.nodes}
    while tensor not in node.builder.lengths and tensor in producers:
        made = producers[tensor]
        if not isinstance(made.op, Take | Clip | Affine):  # an expansion, a small bound from below
            break
        tensor = made.inputs[0]
    length = node.builder.lengths.get(tensor)
    if (
        length is None
        or length.source != x
        or node.shape_of(x) != np.broadcast_shapes(node.shape(0), node.shape(1))
    ):
        return None
    return node.emit(LpNormalize(length.axis, length.p), x)


def _with_constant(node: OnnxNode, constant_index: int) -> str:
    value = node.weight(constant_index, "constant").astype(np.float64)
    x = node.tensor(1 - constant_index)
    one, zero = np.ones_like(value), np.zeros_like(value)
    if node.op_type == "Add":
        scale, shift = one, value
    elif node.op_type == "Sub":
        scale, shift = (one, -value) if constant_index == 1 else (-one, value)
    elif node.op_type == "Mul":
        scale, shift = value, zero
    elif constant_index == 1:
        if not np.all(value):
            raise Refused("divides by a constant zero")
        scale, shift = 1.0 / value, zero
    else:
        x = node.emit(Elementwise("reciprocal"), x)
        scale, shift = value, zero
    return affine(node, x, scale, shift)


@importer("Softmax")
def softmax_of_matrix(node: OnnxNode) -> str:
    """Before opset 13: over all axes from `axis` on, as if they were one."""
    shape = node.shape()
    axis = lane_axis(node, 1)
    flat = node.reshape(node.tensor(), (1, math.prod(shape[1:axis]), math.prod(shape[axis:])))
    return node.reshape(node.emit(Softmax(2), flat), shape)


@importer("Softmax", since=13)
def softmax(node: OnnxNode) -> str:
    return node.emit(Softmax(lane_axis(node, -1)), node.tensor())


def _masked(node: OnnxNode, index: int, mask: str) -> str:
    """One of the inputs where the mask, of 0 and 1, is 1; zero elsewhere."""
    if not node.is_constant(index):
        return pairwise(node, Mul(), mask, node.tensor(index))
    value = node.weight(index, "constant").astype(np.float64)
    return affine(node, mask, value, np.zeros_like(value))


@importer("Where")
def where(node: OnnxNode) -> str:
    """mask * a + (1 - mask) * b, of activations and constants; the mask may be either too."""
    if not node.is_constant(0):
        truth = node.tensor(0)
        opposite = scaled(node, truth, -1.0, 1.0)
        return pairwise(node, Add(), _masked(node, 1, truth), _masked(node, 2, opposite))
    mask = node.constant(0, "mask").astype(np.float64)
    if not node.is_constant(1) and not node.is_constant(2):
        first, second = (
            affine(node, node.tensor(i), part, np.zeros_like(mask))
            for i, part in ((1, mask), (2, 1.0 - mask))
        )
        return pairwise(node, Add(), first, second)
    index = 2 if node.is_constant(1) else 1
    value = node.weight(3 - index, "constant").astype(np.float64)
    kept = mask if index == 1 else 1.0 - mask
    scale, shift = np.broadcast_arrays(kept, (1.0 - kept) * value)
    return affine(node, node.tensor(index), scale, shift)
