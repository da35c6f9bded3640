"""Reverse-mode derivatives of the float operators, in numpy: how outputs react to every inner value.

One backward pass tells the reaction to all tensors at once. It serves the noise model
(`statistics.reactions`); operators without a rule of their own get one that keeps the power of the
reaction but not its direction, which is all that random probes need.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.divide import Div
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
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
from dfqgen.ops.windows import Pads, pad_image, taps

STEP = 1e-3
"""Of a tensor's deviation: the step of the differences that stand for derivatives of functions."""


@singledispatch
def pull(op: Op, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    """What `back`, the reaction to the output [N, ...], is as a reaction to each input.

    Without a rule: signs are random, the power is that of a random change of the input pushed forward.
    """
    generator = np.random.default_rng(0)
    found = []
    for index, x in enumerate(inputs):
        signs = generator.integers(0, 2, x.shape) * 2.0 - 1.0
        step = STEP * float(x.std() + 1e-6)
        moved = list(inputs)
        moved[index] = (x + step * signs).astype(x.dtype)
        change = (op.evaluate(*moved) - output) / step
        # Each input value reacts with sum over outputs of (derivative * back)^2; alike for all inputs.
        power = float(np.sum(np.square(change) * np.square(back)) / max(1, x.size))
        found.append((np.sqrt(power) * signs).astype(x.dtype))
    return tuple(found)


@pull.register
def _conv(op: Conv2D, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    padded = pad_image(np.zeros_like(inputs[0]), op.pads, 0.0)
    views = taps(padded, op.kernel, op.stride, op.dilation)
    weight = op.weight.astype(padded.dtype, copy=False)
    group_in, per_group = weight.shape[3], op.out_channels // op.groups
    flat = back.reshape(-1, op.out_channels)
    for i, line in enumerate(views):
        for j, view in enumerate(line):
            if op.depthwise:
                view += back * weight[:, i, j, 0]
                continue
            for g in range(op.groups):
                rows = slice(g * per_group, (g + 1) * per_group)
                columns = slice(g * group_in, (g + 1) * group_in)
                product = flat[:, rows] @ weight[rows, i, j]
                view[..., columns] += product.reshape(*back.shape[:-1], group_in)
    return (_inside(padded, op.pads),)


def _inside(padded: Array, pads: Pads) -> Array:
    height, width = padded.shape[1:3]
    return padded[:, pads.top : height - pads.bottom, pads.left : width - pads.right]


@pull.register
def _average(op: AveragePool, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    padded = pad_image(np.zeros_like(inputs[0]), op.pads, 0.0)
    share = back / op.counts(inputs[0].shape[1:3])[:, :, None].astype(back.dtype)
    for line in taps(padded, op.kernel, op.stride, (1, 1)):
        for view in line:
            view += share
    return (_inside(padded, op.pads),)


@pull.register
def _maximum_of_window(
    op: MaxPool, inputs: tuple[Array, ...], output: Array, back: Array
) -> tuple[Array, ...]:
    values = taps(pad_image(inputs[0], op.pads, -np.inf), op.kernel, op.stride, op.dilation)
    padded = pad_image(np.zeros_like(inputs[0]), op.pads, 0.0)
    left = back.copy()  # the first of equal values takes it all
    for line, targets in zip(values, taps(padded, op.kernel, op.stride, op.dilation), strict=True):
        for value, target in zip(line, targets, strict=True):
            won = np.where(value == output, left, 0)
            target += won
            left -= won
    return (_inside(padded, op.pads),)


@pull.register(Elementwise)
@pull.register(Pointwise)
@pull.register(Tabulated)
@pull.register(PRelu)
@pull.register(Affine)
@pull.register(Rescale)
@pull.register(Clip)
def _function(op: Op, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    (x,) = inputs
    step = np.float32(STEP * float(x.std()) + 1e-6)
    with np.errstate(invalid="ignore"):  # infinity less infinity, where the function has a pole
        slope = (op.evaluate(x + step) - op.evaluate(x - step)) / (2 * step)
    return (back * np.nan_to_num(slope, posinf=0.0, neginf=0.0),)


@pull.register
def _rounding(op: FakeQuantize, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    """Straight through, but where it clips."""
    lo, hi = op.qtype.real_range
    return (np.where((inputs[0] >= lo) & (inputs[0] <= hi), back, 0),)


@pull.register
def _add(op: Add, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return _summed(back, inputs[0]), _summed(op.sign * back, inputs[1])


@pull.register
def _multiply(op: Mul, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return _summed(back * inputs[1], inputs[0]), _summed(back * inputs[0], inputs[1])


@pull.register
def _larger(op: Maximum, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    first = np.broadcast_to(inputs[0], output.shape) == output
    return _summed(np.where(first, back, 0), inputs[0]), _summed(np.where(first, 0, back), inputs[1])


def _summed(back: Array, x: Array) -> Array:
    """`back` added up over the axes along which x was repeated."""
    axes = tuple(i for i, (have, want) in enumerate(zip(back.shape, x.shape, strict=True)) if have != want)
    return back.sum(axis=axes, keepdims=True).astype(x.dtype) if axes else back


@pull.register
def _softmax(op: Softmax, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return (output * (back - np.sum(output * back, axis=op.axis, keepdims=True)),)


@pull.register
def _log_softmax(op: LogSoftmax, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return (back - np.exp(output) * np.sum(back, axis=op.axis, keepdims=True),)


@pull.register
def _product(op: MatMul, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    a, b = inputs
    columns = b if op.transpose_b else np.swapaxes(b, -1, -2)
    of_b = np.matmul(np.swapaxes(a, -1, -2), back)
    to_b = np.swapaxes(of_b, -1, -2) if op.transpose_b else of_b
    factor = back.dtype.type(op.factor)
    return factor * np.matmul(back, columns), factor * to_b


@pull.register
def _divide(op: Div, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    a, b = inputs
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        to_a, to_b = (np.nan_to_num(x, posinf=0.0, neginf=0.0) for x in (back / b, -back * output / b))
    return _summed(to_a, a), _summed(to_b, b)


@pull.register
def _standardize(op: Standardize, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    x, around = inputs[0], (2, 4)
    blocks = as_blocks(x, op.axis, op.groups)
    if op.centered:
        blocks = blocks - blocks.mean(axis=around, keepdims=True)
    size = np.sqrt(np.square(blocks).mean(axis=around, keepdims=True) + op.epsilon)
    normal, seen = blocks / size, as_blocks(back * op.gamma, op.axis, op.groups)
    change = seen - normal * (normal * seen).mean(axis=around, keepdims=True)
    if op.centered:
        change -= seen.mean(axis=around, keepdims=True)
    return ((change / size).reshape(x.shape).astype(x.dtype),)


@pull.register
def _reshape(op: Reshape, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return (back.reshape(inputs[0].shape),)


@pull.register
def _transpose(op: Transpose, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    return (back.transpose(np.argsort(op.permutation)),)


@pull.register
def _pad(op: Pad, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    kept = (slice(b, b + n) for b, n in zip(op.before[1:], inputs[0].shape[1:], strict=True))
    return (back[(slice(None), *kept)],)


@pull.register
def _concat(op: Concat, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    ends = np.cumsum([x.shape[op.axis] for x in inputs])[:-1]
    return tuple(np.split(back, ends, axis=op.axis))


@pull.register
def _take(op: Take, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    for axis, positions in reversed(list(enumerate(op.indices))):
        if positions is not None:
            spread = np.zeros((inputs[0].shape[axis], back.shape[axis]), back.dtype)
            spread[list(positions), np.arange(back.shape[axis])] = 1
            back = np.moveaxis(np.tensordot(spread, back, (1, axis)), 0, axis)
    return (back,)


@pull.register
def _resize(op: ResizeLinear, inputs: tuple[Array, ...], output: Array, back: Array) -> tuple[Array, ...]:
    for axis, line in ((2, op.columns), (1, op.rows)):
        count = len(line.low)
        spread = np.zeros((inputs[0].shape[axis], count), back.dtype)
        fraction = np.asarray(line.fraction)
        np.add.at(spread, (np.asarray(line.low), np.arange(count)), 1 - fraction)
        np.add.at(spread, (np.asarray(line.high), np.arange(count)), fraction)
        back = np.moveaxis(np.tensordot(spread, back, (1, axis)), 0, axis)
    return (back,)


def backward(graph: Graph, values: Mapping[str, Array], seeds: Mapping[str, Array]) -> dict[str, Array]:
    """The reaction to every tensor, [N, ...] like it, from `seeds` at some; `values` are all tensors'."""
    reactions: dict[str, Array] = dict(seeds)
    for node in reversed(graph.nodes):
        if node.output not in reactions:
            continue
        inputs = tuple(values[name] for name in node.inputs)
        pulled = pull(node.op, inputs, values[node.output], reactions[node.output])
        for name, back in zip(node.inputs, pulled, strict=True):
            reactions[name] = reactions[name] + back if name in reactions else back
    return reactions
