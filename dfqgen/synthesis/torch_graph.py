"""The float graph in PyTorch: the same function as `Graph.evaluate`, with gradients.

One small function per operator. Tensors are channels last, as everywhere in dfqgen; convolutions and pools
see them through a permuted view, which PyTorch knows as its channels-last format and computes without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import singledispatch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.divide import Div
from dfqgen.ops.embedding import Embedding
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.norm import BatchNorm
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.pointwise import Pointwise
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.recurrent import GRU, LSTM, RNN
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.standardize import Standardize
from dfqgen.ops.tabulated import Tabulated
from dfqgen.ops.take import Take
from dfqgen.ops.trees import TreeEnsemble
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.synthesis.torch_functions import TORCH_FUNCTIONS
from dfqgen.synthesis.torch_recurrent import recurrent_function

Function = Callable[..., Tensor]


def constant(value: Array | float) -> Tensor:
    """A float32 tensor of its own memory."""
    return torch.tensor(np.asarray(value, np.float32))


@singledispatch
def torch_function(op: Op) -> Function:
    """The operator as a differentiable function of NHWC tensors; its constants are converted once."""
    kind = type(op).__name__
    raise UserError(
        f"synthesis has no differentiable form of the operator {kind}",
        f"Register one for {kind} in dfqgen/synthesis/torch_graph.py.",
    )


def to_nchw(x: Tensor) -> Tensor:
    """A view with the channels second; no copy."""
    return x.permute(0, 3, 1, 2)


def to_nhwc(x: Tensor) -> Tensor:
    """A view with the channels last; no copy where PyTorch kept its channels-last format."""
    return x.permute(0, 2, 3, 1)


def pad_border(x: Tensor, pads: Pads, value: float) -> Tensor:
    """x [N,H,W,C] with a constant border."""
    if pads == NO_PADS:
        return x
    return F.pad(x, (0, 0, pads.left, pads.right, pads.top, pads.bottom), value=value)


def symmetric(pads: Pads) -> bool:
    return pads.top == pads.bottom and pads.left == pads.right


@torch_function.register
def torch_conv(op: Conv2D) -> Function:
    weight = constant(op.weight.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    bias = constant(op.bias)

    def function(x: Tensor) -> Tensor:
        border: tuple[int, int] = (0, 0)
        if symmetric(op.pads):
            border = (op.pads.top, op.pads.left)
        else:
            x = pad_border(x, op.pads, 0.0)
        return to_nhwc(F.conv2d(to_nchw(x), weight, bias, op.stride, border, op.dilation, op.groups))

    return function


@torch_function.register
def torch_batch_norm(op: BatchNorm) -> Function:
    scale, shift = constant(op.scale), constant(op.shift)
    return lambda x: torch.addcmul(shift, x, scale)


@torch_function.register
def torch_affine(op: Affine) -> Function:
    scale, shift = constant(op.scale), constant(op.shift)
    return lambda x: torch.addcmul(shift, x, scale)


@torch_function.register
def torch_clip(op: Clip) -> Function:
    if op.lo.size == 1 and op.hi.size == 1:
        lo, hi = float(op.lo[0]), float(op.hi[0])
        if lo == 0.0 and np.isinf(hi):
            return torch.relu
        return lambda x: torch.clamp(x, lo, hi)
    low, high = constant(op.lo), constant(op.hi)
    return lambda x: torch.minimum(torch.maximum(x, low), high)


@torch_function.register
def torch_elementwise(op: Elementwise) -> Function:
    try:
        function = TORCH_FUNCTIONS[op.function]
    except KeyError:
        raise UserError(
            f"synthesis has no differentiable form of the function {op.function!r}",
            f"Add {op.function!r} to dfqgen/synthesis/torch_functions.py.",
        ) from None
    return lambda x: function(x, op.parameter)


@torch_function.register
def torch_pointwise(op: Pointwise) -> Function:
    steps = [(torch_function(step.op), step.inputs) for step in op.steps]

    def function(x: Tensor) -> Tensor:
        values = [x]
        for apply, inputs in steps:
            values.append(apply(*(values[i] for i in inputs)))
        return values[-1]

    return function


@torch_function.register
def torch_prelu(op: PRelu) -> Function:
    slope = constant(op.slope)
    return lambda x: torch.where(x < 0, slope * x, x)


@torch_function.register
def torch_add(op: Add) -> Function:
    return lambda a, b: torch.add(a, b, alpha=op.sign)


@torch_function.register
def torch_mul(op: Mul) -> Function:
    return torch.mul


@torch_function.register
def torch_maximum(op: Maximum) -> Function:
    return torch.maximum if op.sign > 0 else torch.minimum


@torch_function.register
def torch_average_pool(op: AveragePool) -> Function:
    def function(x: Tensor) -> Tensor:
        counts = constant(op.counts((x.shape[1], x.shape[2])))
        padded = to_nchw(pad_border(x, op.pads, 0.0))
        sums = F.avg_pool2d(padded, op.kernel, op.stride, divisor_override=1)
        return to_nhwc(sums / counts)

    return function


@torch_function.register
def torch_max_pool(op: MaxPool) -> Function:
    def function(x: Tensor) -> Tensor:
        padded = to_nchw(pad_border(x, op.pads, -torch.inf))
        return to_nhwc(F.max_pool2d(padded, op.kernel, op.stride, dilation=op.dilation))

    return function


@torch_function.register
def torch_reshape(op: Reshape) -> Function:
    return lambda x: x.reshape(x.shape[0], *op.shape[1:])


@torch_function.register
def torch_transpose(op: Transpose) -> Function:
    return lambda x: x.permute(op.permutation)


@torch_function.register
def torch_pad(op: Pad) -> Function:
    border = [n for pair in reversed(list(zip(op.before, op.after, strict=True))) for n in pair]
    return lambda x: F.pad(x, border, value=op.value)


@torch_function.register
def torch_concat(op: Concat) -> Function:
    return lambda *inputs: torch.cat(inputs, dim=op.axis)


@torch_function.register
def torch_rescale(op: Rescale) -> Function:
    return lambda x: x


@torch_function.register
def torch_take(op: Take) -> Function:
    selections = [
        (axis, torch.tensor(positions)) for axis, positions in enumerate(op.indices) if positions is not None
    ]

    def function(x: Tensor) -> Tensor:
        for axis, positions in selections:
            x = x.index_select(axis, positions)
        return x

    return function


@torch_function.register
def torch_resize(op: ResizeLinear) -> Function:
    def along(x: Tensor, axis: int, interpolation: Interpolation) -> Tensor:
        weight = constant(np.asarray(interpolation.fraction)).reshape([-1] + [1] * (3 - axis))
        low, high = (
            x.index_select(axis, torch.tensor(positions))
            for positions in (interpolation.low, interpolation.high)
        )
        return torch.lerp(low, high, weight)

    return lambda x: along(along(x, 1, op.rows), 2, op.columns)


@torch_function.register
def torch_arg_max(op: ArgMax) -> Function:
    """A position; no gradient comes back through it."""

    def function(x: Tensor) -> Tensor:
        x = op.sign * x
        if op.last:
            place = x.shape[op.axis] - 1 - x.flip(op.axis).argmax(dim=op.axis, keepdim=True)
        else:
            place = x.argmax(dim=op.axis, keepdim=True)
        return place.to(x.dtype)

    return function


@torch_function.register
def torch_fake_quantize(op: FakeQuantize) -> Function:
    """The gradient goes straight through, but where it clips."""
    qtype = op.qtype
    lo, hi = qtype.real_range

    def function(x: Tensor) -> Tensor:
        steps = torch.floor(x / qtype.scale + 0.5) * qtype.scale
        inside = x.clamp(lo, hi)
        return inside + (steps.clamp(lo, hi) - inside).detach()

    return function


@torch_function.register
def torch_tabulated(op: Tabulated) -> Function:
    """No gradient comes back through a table."""
    values = constant(op.values)

    def function(x: Tensor) -> Tensor:
        places = torch.floor(x / op.scale + 0.5) + (op.zero_point + 128)
        return values[places.clamp(0, 255).long()].to(x.dtype)

    return function


@torch_function.register
def torch_normalize(op: LpNormalize) -> Function:
    return lambda x: F.normalize(x, p=op.p, dim=op.axis, eps=1e-30)


@torch_function.register
def torch_log_softmax(op: LogSoftmax) -> Function:
    return lambda x: torch.log_softmax(x, op.axis)


@torch_function.register
def torch_matmul(op: MatMul) -> Function:
    return lambda a, b: op.factor * torch.matmul(a, b.mT if op.transpose_b else b)


@torch_function.register
def torch_divide(op: Div) -> Function:
    return lambda a, b: torch.nan_to_num(a / b)


@torch_function.register
def torch_magnitude(op: Magnitude) -> Function:
    return lambda a, b: torch.hypot(a, b)


@torch_function.register
def torch_standardize(op: Standardize) -> Function:
    gamma, beta = constant(op.gamma), constant(op.beta)

    def function(x: Tensor) -> Tensor:
        shape = x.shape
        outer, rows = math.prod(shape[1 : op.axis]), math.prod(shape[op.axis : -1])
        blocks = x.reshape(shape[0], outer, rows, op.groups, shape[-1] // op.groups)
        if op.centered:
            blocks = blocks - blocks.mean(dim=(2, 4), keepdim=True)
        variance = blocks.square().mean(dim=(2, 4), keepdim=True)
        return torch.addcmul(beta, (blocks * torch.rsqrt(variance + op.epsilon)).reshape(shape), gamma)

    return function


@torch_function.register
def torch_embedding(op: Embedding) -> Function:
    """Steps; no gradient comes back through them."""
    return lambda x: constant(op.evaluate(x.detach().numpy()))


@torch_function.register
def torch_trees(op: TreeEnsemble) -> Function:
    """Steps; no gradient comes back through them."""
    return lambda x: constant(op.evaluate(x.detach().numpy()))


@torch_function.register
def torch_softmax(op: Softmax) -> Function:
    return lambda x: torch.softmax(x, op.axis)


for _kind in (LSTM, GRU, RNN):
    torch_function.register(_kind, recurrent_function)


class TorchGraph:
    """A graph ready to run on tensors; UserError where an operator has no differentiable form."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._functions = {node.output: torch_function(node.op) for node in graph.nodes}

    def __call__(
        self,
        inputs: Mapping[str, Tensor],
        watch: Callable[[Node, tuple[Tensor, ...], Tensor], Tensor | None] | None = None,
    ) -> dict[str, Tensor]:
        """The output tensors for inputs [N, ...] by input tensor; `watch` as in `Graph.evaluate`."""
        remaining = {name: len(nodes) for name, nodes in self.graph.consumers.items()}
        values: dict[str, Tensor] = dict(inputs)
        for node in self.graph.nodes:
            arguments = tuple(values[name] for name in node.inputs)
            result = self._functions[node.output](*arguments)
            if watch is not None:
                seen = watch(node, arguments, result)
                result = result if seen is None else seen
            values[node.output] = result
            for name in node.inputs:
                remaining[name] -= 1
                if not remaining[name] and name not in self.graph.output_tensors:
                    del values[name]
        return {name: values[name] for name in self.graph.output_tensors}
