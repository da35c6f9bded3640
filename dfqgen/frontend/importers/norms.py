"""Normalization by the input's own moments: as operators, and as exporters write it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from dfqgen.frontend.importers.constants import affine
from dfqgen.frontend.importers.registry import FirstAxisMoved, OnnxNode, Refused, importer
from dfqgen.graph.ir import Array
from dfqgen.ops.normalize import LpNormalize
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


def multiplied_out(node: OnnxNode) -> str | None:
    """x * k + (beta - mean * k), k = gamma / sqrt(variance + epsilon), as TensorFlow has it; else None."""
    trace = _Trace(node)
    for product, rest in (tuple(node.proto.input), tuple(reversed(node.proto.input))):
        parts = trace.shifted(product, rest)
        if parts is None:
            continue
        found, gamma, beta = parts
        x = OnnxNode(
            onnx.NodeProto(input=[found.x], output=node.proto.output), node.builder, node.lead
        ).tensor()
        rank = len(node.shape_of(x))
        axes = tuple(sorted(node.axis(axis, rank) for axis in found.axes))
        if axes[0] > 0:
            result = _over_axes(node, x, axes, centered=True, epsilon=found.epsilon)
            constants = np.broadcast_arrays(gamma.astype(np.float64), beta.astype(np.float64))
            return affine(node, result, *constants)
    return None


def of_unit_length(node: OnnxNode) -> str | None:
    """x / sqrt(sum of x * x) written as a product, Keras' UnitNormalization; None for another product."""
    trace = _Trace(node)
    for i, (x, inverse) in enumerate((tuple(node.proto.input), tuple(reversed(node.proto.input)))):
        found = trace.length(inverse)
        if found is not None and trace.name(found[0]) == trace.name(x) and len(found[1]) == 1:
            axis = node.axis(found[1][0], len(node.shape(i)))
            return node.emit(LpNormalize(axis, 2), node.tensor(i)) if axis > 0 else None
    return None


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

    def shifted(self, product: str, rest: str) -> tuple[Moments, Array, Array] | None:
        """The moments, gamma and beta of x * k + (beta - mean * k), `product` being x * k."""
        factors = self._is(product, "Mul")
        beta = np.zeros(1)
        total = self._is(rest, "Add", "Sub")
        if total is not None:
            added = total.input[0] if total.op_type == "Sub" else self._one_constant(total)
            found = self._builder.model.constants.get(added)
            if found is None:
                return None
            beta = found
            rest = total.input[1] if added == total.input[0] else total.input[0]
        subtracted = self._is(rest, "Mul")
        if factors is None or subtracted is None:
            return None
        for x, k in (tuple(factors.input), tuple(reversed(factors.input))):
            means = [name for name in subtracted.input if name != k]
            if len(means) != 1:
                continue
            negative = self._is(means[0], "Neg")
            mean = means[0] if negative is None else negative.input[0]
            signed = (negative is not None) == (total is None or total.op_type == "Add")
            gamma, root = self._scale(k)
            variance = self.reciprocal_root_of(root)
            if not signed or variance is None:
                continue
            own = self._mean(mean)
            moments = None if own is None else self.moments("", variance, own)
            if moments is not None and moments.x == self.name(x):
                return moments, gamma, beta
        return None

    def _one_constant(self, node: onnx.NodeProto) -> str:
        return next((name for name in node.input if name in self._builder.model.constants), "")

    def _scale(self, name: str) -> tuple[Array, str]:
        """A constant, 1 without one, and what it multiplies, expanded or not."""
        gamma: Array = np.ones(1)
        product = self._is(name, "Mul")
        constant = "" if product is None else self._one_constant(product)
        if product is not None and constant:
            gamma = self._builder.model.constants[constant]
            name = product.input[1] if constant == product.input[0] else product.input[0]
        expanded = self._is(name, "Expand")
        return gamma, name if expanded is None else expanded.input[0]

    def moments(
        self, numerator: str, variance: str, mean: tuple[str, tuple[int, ...]] | None = None
    ) -> Moments | None:
        """Of a numerator and the variance, with its epsilon, below the root; or of x and axes of a mean."""
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
        if mean is not None:
            source = self.name(mean[0]), mean[1]
        if source is not None and source == other and source[1] == axes:
            return Moments(source[0], axes, centered=True, epsilon=epsilon)
        if self.name(base) == self.name(numerator):
            return Moments(self.name(numerator), axes, centered=False, epsilon=epsilon)
        return None

    def name(self, name: str) -> str:
        """The tensor before nodes that change nothing."""
        while (writer := self._producers.get(name)) is not None and writer.op_type in ("Identity", "Cast"):
            name = writer.input[0]
        return name

    def length(self, inverse: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes of 1 / sqrt(sum of x * x), perhaps bounded from above."""
        bounded = self._is(inverse, "Min")
        if bounded is not None:
            inverse = next((n for n in bounded.input if n not in self._builder.model.constants), inverse)
        total = self.reciprocal_root_of(inverse)
        found = None if total is None else self._reduced(total, "ReduceSum")
        product = None if found is None else self._is(found[0], "Mul")
        if found is None or product is None or product.input[0] != product.input[1]:
            return None
        return product.input[0], found[1]

    def _centered(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes of x - mean(x)."""
        difference = self._is(name, "Sub")
        mean = None if difference is None else self._mean(difference.input[1])
        if difference is None or mean is None or self.name(mean[0]) != self.name(difference.input[0]):
            return None
        return self.name(difference.input[0]), mean[1]

    def _mean(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes of a mean that keeps them, counted from the front."""
        return self._reduced(name, "ReduceMean", "GlobalAveragePool")

    def _reduced(self, name: str, *kinds: str) -> tuple[str, tuple[int, ...]] | None:
        mean = self._is(name, *kinds)
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
