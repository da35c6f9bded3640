"""Reverse-mode derivatives of the float operators, in numpy: how outputs react to every inner value.

One backward pass tells the reaction to all tensors at once; what passes share, the slopes at these values, is
found once for all of them. It serves the noise model
(`statistics.reactions`); operators without a rule of their own get one that keeps the power of the
reaction but not its direction, which is all that random probes need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.divide import Div
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.pointwise import Pointwise
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.resize import ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.standardize import Standardize, as_blocks
from dfqgen.ops.tabulated import Tabulated
from dfqgen.ops.take import Take
from dfqgen.ops.windows import Pads, pad_image, spread_depthwise, taps

STEP = 1e-3
"""Of a tensor's deviation: the step of the differences that stand for derivatives of functions."""

Pullback = Callable[[Array], tuple[Array, ...]]
"""What a reaction to an operator's output [N, ...] is as one to each of its inputs."""


@singledispatch
def pullback(op: Op, inputs: tuple[Array, ...], output: Array) -> Pullback:
    """How a reaction to the output [N, ...] becomes one to each input, at these values.

    Without a rule: signs are random, the power is that of a random change of the input pushed forward.
    """
    generator = np.random.default_rng(0)
    changes = []
    for index, x in enumerate(inputs):
        signs = generator.integers(0, 2, x.shape) * 2.0 - 1.0
        step = STEP * float(x.std() + 1e-6)
        moved = list(inputs)
        moved[index] = (x + step * signs).astype(x.dtype)
        changes.append((x, signs, (op.evaluate(*moved) - output) / step))

    def pull(back: Array) -> tuple[Array, ...]:
        found = []
        for x, signs, change in changes:
            # Each input value reacts with sum over outputs of (derivative * back)^2; alike for all inputs.
            power = float(np.sum(np.square(change) * np.square(back)) / max(1, x.size))
            found.append((np.sqrt(power) * signs).astype(x.dtype))
        return tuple(found)

    return pull


@pullback.register
def _conv(op: Conv2D, inputs: tuple[Array, ...], output: Array) -> Pullback:
    (x,) = inputs
    weight = op.weight.astype(x.dtype, copy=False)
    group_in, per_group = weight.shape[3], op.out_channels // op.groups

    def pull(back: Array) -> tuple[Array, ...]:
        padded = pad_image(np.zeros_like(x), op.pads, 0.0)
        views = taps(padded, op.kernel, op.stride, op.dilation)
        if op.depthwise:
            spread_depthwise(back, weight[..., 0], views)
            return (_inside(padded, op.pads),)
        flat = back.reshape(-1, op.out_channels)
        for i, line in enumerate(views):
            for j, view in enumerate(line):
                for g in range(op.groups):
                    rows = slice(g * per_group, (g + 1) * per_group)
                    columns = slice(g * group_in, (g + 1) * group_in)
                    product = flat[:, rows] @ weight[rows, i, j]
                    view[..., columns] += product.reshape(*back.shape[:-1], group_in)
        return (_inside(padded, op.pads),)

    return pull


def _inside(padded: Array, pads: Pads) -> Array:
    height, width = padded.shape[1:3]
    return padded[:, pads.top : height - pads.bottom, pads.left : width - pads.right]


@pullback.register
def _average(op: AveragePool, inputs: tuple[Array, ...], output: Array) -> Pullback:
    (x,) = inputs
    counts = op.counts(x.shape[1:3])[:, :, None]

    def pull(back: Array) -> tuple[Array, ...]:
        padded = pad_image(np.zeros_like(x), op.pads, 0.0)
        share = back / counts.astype(back.dtype)
        for line in taps(padded, op.kernel, op.stride, (1, 1)):
            for view in line:
                view += share
        return (_inside(padded, op.pads),)

    return pull


@pullback.register
def _maximum_of_window(op: MaxPool, inputs: tuple[Array, ...], output: Array) -> Pullback:
    (x,) = inputs
    values = taps(pad_image(x, op.pads, -np.inf), op.kernel, op.stride, op.dilation)
    # The first of equal values takes it all.
    winner = np.full(output.shape, -1, np.int32)
    for number, value in enumerate(value for line in values for value in line):
        winner[(winner < 0) & (value == output)] = number

    def pull(back: Array) -> tuple[Array, ...]:
        padded = pad_image(np.zeros_like(x), op.pads, 0.0)
        targets = taps(padded, op.kernel, op.stride, op.dilation)
        for number, target in enumerate(target for line in targets for target in line):
            target += np.where(winner == number, back, 0)
        return (_inside(padded, op.pads),)

    return pull


@pullback.register(Elementwise)
@pullback.register(Pointwise)
@pullback.register(Tabulated)
@pullback.register(PRelu)
@pullback.register(Affine)
@pullback.register(Rescale)
@pullback.register(Clip)
def _function(op: Op, inputs: tuple[Array, ...], output: Array) -> Pullback:
    (x,) = inputs
    step = np.float32(STEP * float(x.std()) + 1e-6)
    with np.errstate(invalid="ignore"):  # infinity less infinity, where the function has a pole
        slope = (op.evaluate(x + step) - op.evaluate(x - step)) / (2 * step)
    slope = np.nan_to_num(slope, posinf=0.0, neginf=0.0)
    return lambda back: (back * slope,)


@pullback.register
def _rounding(op: FakeQuantize, inputs: tuple[Array, ...], output: Array) -> Pullback:
    """Straight through, but where it clips."""
    lo, hi = op.qtype.real_range
    inside = (inputs[0] >= lo) & (inputs[0] <= hi)
    return lambda back: (np.where(inside, back, 0),)


@pullback.register
def _add(op: Add, inputs: tuple[Array, ...], output: Array) -> Pullback:
    a, b = inputs
    return lambda back: (_summed(back, a), _summed(op.sign * back, b))


@pullback.register
def _multiply(op: Mul, inputs: tuple[Array, ...], output: Array) -> Pullback:
    a, b = inputs
    return lambda back: (_summed(back * b, a), _summed(back * a, b))


@pullback.register
def _larger(op: Maximum, inputs: tuple[Array, ...], output: Array) -> Pullback:
    a, b = inputs
    first = np.broadcast_to(a, output.shape) == output
    return lambda back: (_summed(np.where(first, back, 0), a), _summed(np.where(first, 0, back), b))


def _summed(back: Array, x: Array) -> Array:
    """`back` added up over the axes along which x was repeated."""
    axes = tuple(i for i, (have, want) in enumerate(zip(back.shape, x.shape, strict=True)) if have != want)
    return back.sum(axis=axes, keepdims=True).astype(x.dtype) if axes else back


@pullback.register
def _softmax(op: Softmax, inputs: tuple[Array, ...], output: Array) -> Pullback:
    return lambda back: (output * (back - np.sum(output * back, axis=op.axis, keepdims=True)),)


@pullback.register
def _log_softmax(op: LogSoftmax, inputs: tuple[Array, ...], output: Array) -> Pullback:
    return lambda back: (back - np.exp(output) * np.sum(back, axis=op.axis, keepdims=True),)


@pullback.register
def _product(op: MatMul, inputs: tuple[Array, ...], output: Array) -> Pullback:
    a, b = inputs
    columns = b if op.transpose_b else np.swapaxes(b, -1, -2)

    def pull(back: Array) -> tuple[Array, ...]:
        of_b = np.matmul(np.swapaxes(a, -1, -2), back)
        to_b = np.swapaxes(of_b, -1, -2) if op.transpose_b else of_b
        factor = back.dtype.type(op.factor)
        return factor * np.matmul(back, columns), factor * to_b

    return pull


@pullback.register
def _divide(op: Div, inputs: tuple[Array, ...], output: Array) -> Pullback:
    a, b = inputs

    def pull(back: Array) -> tuple[Array, ...]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            to_a, to_b = (np.nan_to_num(x, posinf=0.0, neginf=0.0) for x in (back / b, -back * output / b))
        return _summed(to_a, a), _summed(to_b, b)

    return pull


@pullback.register
def _magnitude(op: Magnitude, inputs: tuple[Array, ...], output: Array) -> Pullback:
    """At zero, where the length has no derivative, none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.nan_to_num(x / output, posinf=0.0, neginf=0.0) for x in inputs]
    return lambda back: tuple(_summed(back * share, x) for share, x in zip(shares, inputs, strict=True))


@pullback.register
def _standardize(op: Standardize, inputs: tuple[Array, ...], output: Array) -> Pullback:
    x, around = inputs[0], (2, 4)
    blocks = as_blocks(x, op.axis, op.groups)
    if op.centered:
        blocks = blocks - blocks.mean(axis=around, keepdims=True)
    size = np.sqrt(np.square(blocks).mean(axis=around, keepdims=True) + op.epsilon)
    normal = blocks / size

    def pull(back: Array) -> tuple[Array, ...]:
        seen = as_blocks(back * op.gamma, op.axis, op.groups)
        change = seen - normal * (normal * seen).mean(axis=around, keepdims=True)
        if op.centered:
            change -= seen.mean(axis=around, keepdims=True)
        return ((change / size).reshape(x.shape).astype(x.dtype),)

    return pull


@pullback.register
def _reshape(op: Reshape, inputs: tuple[Array, ...], output: Array) -> Pullback:
    (x,) = inputs
    return lambda back: (back.reshape(x.shape),)


@pullback.register
def _transpose(op: Transpose, inputs: tuple[Array, ...], output: Array) -> Pullback:
    return lambda back: (back.transpose(np.argsort(op.permutation)),)


@pullback.register
def _pad(op: Pad, inputs: tuple[Array, ...], output: Array) -> Pullback:
    kept = tuple(slice(b, b + n) for b, n in zip(op.before[1:], inputs[0].shape[1:], strict=True))
    return lambda back: (back[(slice(None), *kept)],)


@pullback.register
def _concat(op: Concat, inputs: tuple[Array, ...], output: Array) -> Pullback:
    ends = np.cumsum([x.shape[op.axis] for x in inputs])[:-1]
    return lambda back: tuple(np.split(back, ends, axis=op.axis))


@pullback.register
def _take(op: Take, inputs: tuple[Array, ...], output: Array) -> Pullback:
    spreads = []
    for axis, positions in reversed(list(enumerate(op.indices))):
        if positions is not None:
            spread = np.zeros((inputs[0].shape[axis], output.shape[axis]), inputs[0].dtype)
            spread[list(positions), np.arange(output.shape[axis])] = 1
            spreads.append((axis, spread))
    return lambda back: (_along_axes(spreads, back),)


@pullback.register
def _resize(op: ResizeLinear, inputs: tuple[Array, ...], output: Array) -> Pullback:
    spreads = []
    for axis, line in ((2, op.columns), (1, op.rows)):
        count = len(line.low)
        spread = np.zeros((inputs[0].shape[axis], count), inputs[0].dtype)
        fraction = np.asarray(line.fraction)
        np.add.at(spread, (np.asarray(line.low), np.arange(count)), 1 - fraction)
        np.add.at(spread, (np.asarray(line.high), np.arange(count)), fraction)
        spreads.append((axis, spread))
    return lambda back: (_along_axes(spreads, back),)


def _along_axes(matrices: Sequence[tuple[int, Array]], back: Array) -> Array:
    """`back` multiplied by a matrix [before, after] along each of these axes in turn."""
    for axis, matrix in matrices:
        back = np.moveaxis(np.tensordot(matrix, back, (1, axis)), 0, axis)
    return back


class Backward:
    """The way back through a graph whose tensors have `values` [N, ...], gone any number of times."""

    def __init__(self, graph: Graph, values: Mapping[str, Array]) -> None:
        self.graph, self.values = graph, values
        self._pullbacks: dict[str, Pullback] = {}

    def reactions(self, seeds: Mapping[str, Array]) -> dict[str, Array]:
        """The reaction to every tensor, [N, ...] like it, from `seeds` at some."""
        found: dict[str, Array] = dict(seeds)
        for node in reversed(self.graph.nodes):
            if node.output not in found:
                continue
            pulled = self._pullback(node)(found[node.output])
            for name, back in zip(node.inputs, pulled, strict=True):
                found[name] = found[name] + back if name in found else back
        return found

    def _pullback(self, node: Node) -> Pullback:
        if node.output not in self._pullbacks:
            inputs = tuple(self.values[name] for name in node.inputs)
            self._pullbacks[node.output] = pullback(node.op, inputs, self.values[node.output])
        return self._pullbacks[node.output]
