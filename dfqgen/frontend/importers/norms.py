"""Normalization by the input's own moments: as operators, and as exporters write it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from dfqgen.frontend.importers.registry import FirstAxisMoved, OnnxNode, Refused, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.standardize import Standardize

ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)
SMALLEST_EPSILON = 1e-12
"""In place of none at all."""


@importer("LayerNormalization")
def layer_normalization(node: OnnxNode) -> str:
    """Over the axes from `axis` on."""
    node.needs_single_output()
    return _over_last_axes(node, node.weight(2, "bias") if node.has_input(2) else ZERO, centered=True)


@importer("RMSNormalization")
def rms_normalization(node: OnnxNode) -> str:
    """The same without a mean."""
    return _over_last_axes(node, ZERO, centered=False)


def _over_last_axes(node: OnnxNode, bias: Array, *, centered: bool) -> str:
    shape = node.shape()
    axis = node.axis(node.integer("axis", -1), len(shape))
    if axis == 0:
        raise FirstAxisMoved("normalizes over the batch axis")
    size = math.prod(shape[axis:])
    scale = node.weight(1, "scale")
    lead = shape[axis:]
    if any(np.broadcast_shapes(p.shape, lead) != lead for p in (scale, bias)):
        raise Refused(f"its scale {list(scale.shape)} and bias {list(bias.shape)} do not fit {list(lead)}")
    gamma, beta = (one_or_all(np.broadcast_to(p, lead).ravel()) for p in (scale, bias))
    flat = node.reshape(node.tensor(), (*shape[:axis], size))
    op = Standardize(axis, gamma, beta, centered=centered, epsilon=node.number("epsilon", 1e-5))
    return node.reshape(node.emit(op, flat), shape)


@importer("InstanceNormalization", batch_first=True)
def instance_normalization(node: OnnxNode) -> str:
    """Each channel of [1,C,...] by itself."""
    shape = node.shape()
    if len(shape) < 3:
        raise Refused(f"works on images and sequences, not on {list(shape)}")
    scale, bias = (one_or_all(node.weight(i, what)) for i, what in ((1, "scale"), (2, "bias")))
    epsilon = node.number("epsilon", 1e-5)
    if scale.size == bias.size == 1:  # channels alike: torch writes group normalization so, on groups
        rows = node.reshape(node.tensor(), (1, shape[1], math.prod(shape[2:])))
        return node.reshape(node.emit(Standardize(2, scale, bias, epsilon=epsilon), rows), shape)
    op = Standardize(1, scale, bias, groups=shape[1], epsilon=epsilon)
    return node.to_channels_first(node.emit(op, node.to_channels_last(node.tensor())))


@importer("GroupNormalization", batch_first=True)
def group_normalization(node: OnnxNode) -> str:
    """Scale and bias are by group before opset 21, by channel since."""
    channels, groups = node.shape()[1], node.integer("num_groups", 1)
    if groups < 1 or channels % groups:
        raise Refused(f"{groups} groups do not divide {channels} channels")
    scale, bias = node.weight(1, "scale"), node.weight(2, "bias")
    if node.opset < 21:
        scale, bias = (np.repeat(p, channels // groups) for p in (scale, bias))
    op = Standardize(1, one_or_all(scale), one_or_all(bias), groups, epsilon=node.number("epsilon", 1e-5))
    return node.to_channels_first(node.emit(op, node.to_channels_last(node.tensor())))


@importer("MeanVarianceNormalization")
def mean_variance_normalization(node: OnnxNode) -> str:
    """Over `axes`, all but the channels where it says nothing; a moment of the batch is none."""
    axes = node.integers("axes") or (0, 2, 3)
    places = tuple(sorted({node.axis(a, len(node.shape())) for a in axes} - {0}))
    return _over_axes(node, node.tensor(), places, centered=True, epsilon=1e-9)


def one_or_all(values: Array) -> Array:
    """One number where all are the same."""
    return values[:1] if np.all(values == values[0]) else values


def _over_axes(node: OnnxNode, x: str, axes: tuple[int, ...], *, centered: bool, epsilon: float) -> str:
    """Without scale and shift, over any axes: those are moved to the end and taken as one."""
    shape = node.shape_of(x)
    kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
    permutation = (*kept, *axes)
    moved = node.transpose(x, permutation)
    whole = node.shape_of(moved)
    op = Standardize(len(kept), ONE, ZERO, centered=centered, epsilon=max(epsilon, SMALLEST_EPSILON))
    flat = node.reshape(moved, (*whole[: len(kept)], math.prod(whole[len(kept) :])))
    back = tuple(int(a) for a in np.argsort(permutation))
    return node.transpose(node.reshape(node.emit(op, flat), whole), back)


# --- written out ---


@dataclass(frozen=True, slots=True)
class Moments:
    """(x - mean) / sqrt(variance + epsilon) over `axes` of the model's tensor x, or without the mean."""

    x: str
    axes: tuple[int, ...]
    centered: bool
    epsilon: float


def written_out(node: OnnxNode, numerator: str, *, root: str = "", reciprocal_root: str = "") -> str | None:
    """The normalization that a numerator over a root, or times one over it, is; None where it is another."""
    trace = _Trace(node)
    variance = trace.root_of(root) if root else trace.reciprocal_root_of(reciprocal_root)
    found = None if variance is None else trace.moments(numerator, variance)
    if found is None or found.x not in node.builder.tensors:
        return None
    place = next(i for i, name in enumerate(node.proto.input) if name)
    x = OnnxNode(onnx.NodeProto(input=[found.x], output=node.proto.output), node.builder, node.lead).tensor()
    rank = len(node.shape_of(x))
    if len(node.shape(place)) != rank:
        return None
    axes = tuple(sorted(node.axis(axis, rank) for axis in found.axes))
    if axes[0] == 0:
        return None
    return _over_axes(node, x, axes, centered=found.centered, epsilon=found.epsilon)


class _Trace:
    """Looks back from a node of the model."""

    def __init__(self, node: OnnxNode) -> None:
        self._builder = node.builder
        self._producers = node.builder.producers

    def _writer(self, name: str) -> onnx.NodeProto | None:
        """The node that gives a tensor; those that change nothing are looked through."""
        writer = self._producers.get(name)
        while writer is not None and writer.op_type in ("Identity", "Cast", "Dropout"):
            name = writer.input[0]
            writer = self._producers.get(name)
        return writer

    def _is(self, name: str, *kinds: str) -> onnx.NodeProto | None:
        writer = self._writer(name)
        return writer if writer is not None and writer.op_type in kinds else None

    def _number(self, name: str) -> float | None:
        value = self._builder.model.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def _power(self, name: str, exponent: float) -> str | None:
        """What is raised to this power."""
        power = self._is(name, "Pow")
        return power.input[0] if power is not None and self._number(power.input[1]) == exponent else None

    def root_of(self, name: str) -> str | None:
        """v of sqrt(v)."""
        root = self._is(name, "Sqrt")
        return root.input[0] if root is not None else self._power(name, 0.5)

    def reciprocal_root_of(self, name: str) -> str | None:
        """v of 1 / sqrt(v)."""
        inverse = self._is(name, "Reciprocal")
        if inverse is not None:
            return self.root_of(inverse.input[0])
        quotient = self._is(name, "Div")
        if quotient is not None and self._number(quotient.input[0]) == 1.0:
            return self.root_of(quotient.input[1])
        return self._power(name, -0.5)

    def moments(self, numerator: str, variance: str) -> Moments | None:
        """Of a numerator and the variance, with its epsilon, below the root."""
        epsilon = 0.0
        total = self._is(variance, "Add")
        if total is not None:
            for name, other in (tuple(total.input), tuple(reversed(total.input))):
                number = self._number(name)
                if number is not None:
                    epsilon, variance = number, other
        found = self._mean(variance)
        if found is None or epsilon < 0.0:
            return None
        squares, axes = found
        base = self._power(squares, 2.0)
        product = self._is(squares, "Mul")
        if base is None and product is not None and product.input[0] == product.input[1]:
            base = product.input[0]
        if base is None:
            return None
        source, other = self._centered(numerator), self._centered(base)
        if source is not None and source == other and source[1] == axes:
            return Moments(source[0], axes, centered=True, epsilon=epsilon)
        if self._name(base) == self._name(numerator):
            return Moments(self._name(numerator), axes, centered=False, epsilon=epsilon)
        return None

    def _name(self, name: str) -> str:
        """The tensor before nodes that change nothing."""
        while (writer := self._producers.get(name)) is not None and writer.op_type in ("Identity", "Cast"):
            name = writer.input[0]
        return name

    def _centered(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes of x - mean(x)."""
        difference = self._is(name, "Sub")
        mean = None if difference is None else self._mean(difference.input[1])
        if difference is None or mean is None or self._name(mean[0]) != self._name(difference.input[0]):
            return None
        return self._name(difference.input[0]), mean[1]

    def _mean(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes of a mean that keeps them, counted from the front."""
        mean = self._is(name, "ReduceMean", "GlobalAveragePool")
        if mean is None:
            return None
        tensor = self._builder.tensors.get(mean.input[0])
        if tensor is None:
            return None
        rank = len(self._builder.shapes[tensor]) - (tensor in self._builder.lifted)
        if mean.op_type == "GlobalAveragePool":
            return mean.input[0], tuple(range(2, rank))
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in mean.attribute}
        axes = attributes.get("axes")
        if len(mean.input) > 1 and mean.input[1] in self._builder.model.constants:
            axes = self._builder.model.constants[mean.input[1]].ravel().tolist()
        if not attributes.get("keepdims", 1) or not axes:
            return None
        return mean.input[0], tuple(sorted(axis % rank for axis in axes))
