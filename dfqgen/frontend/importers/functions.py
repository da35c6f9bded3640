"""Element-wise functions, products and extremes of activations, and operators along one axis."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.importers.constants import affine, along_last_axis
from dfqgen.frontend.importers.registry import OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.selection import broadcast_to, select
from dfqgen.graph.ir import Array, Op
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.multiply import Mul
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.softmax import Softmax

# ONNX operator -> (our function, its attribute and that one's default).
PLAIN = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "Erf": "erf", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
    "Abs": "abs", "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sin": "sin",
    "Cos": "cos", "Atan": "atan", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish",
    "Reciprocal": "reciprocal",
}  # fmt: skip
WITH_ALPHA = {
    "LeakyRelu": ("leaky_relu", 0.01),
    "Elu": ("elu", 1.0),
    "Celu": ("celu", 1.0),
    "ThresholdedRelu": ("thresholded_relu", 1.0),
    "Swish": ("swish", 1.0),
}
CELU_ALPHA = 1e4


@importer(*PLAIN)
def function(node: OnnxNode) -> str:
    """One of many; the exponential of a log-softmax is a softmax."""
    if node.op_type == "Exp":
        maker = next((made for made in node.builder.nodes if made.output == node.tensor()), None)
        if maker is not None and isinstance(maker.op, LogSoftmax):
            return node.emit(Softmax(maker.op.axis), *maker.inputs)
    return node.emit(Elementwise(PLAIN[node.op_type]), node.tensor())


@importer(*WITH_ALPHA)
def function_with_alpha(node: OnnxNode) -> str:
    name, default = WITH_ALPHA[node.op_type]
    alpha = node.number("alpha", default)
    # float32, and so onnxruntime, computes alpha * (exp(x / alpha) - 1): nothing is left beyond this.
    if name == "celu" and not 1.0 / CELU_ALPHA <= abs(alpha) <= CELU_ALPHA:
        raise Refused(f"alpha {alpha:g} leaves nothing of the function in float32")
    return node.emit(Elementwise(name, alpha), node.tensor())


def scaled(node: OnnxNode, tensor: str, scale: float, shift: float = 0.0) -> str:
    """scale * x + shift with numbers."""
    return node.emit(Affine(np.array([scale], np.float64), np.array([shift], np.float64)), tensor)


@importer("Neg")
def negative(node: OnnxNode) -> str:
    return scaled(node, node.tensor(), -1.0)


@importer("Selu")
def selu(node: OnnxNode) -> str:
    alpha, gamma = node.number("alpha", 1.67326319), node.number("gamma", 1.05070102)
    return scaled(node, node.emit(Elementwise("elu", alpha), node.tensor()), gamma)


@importer("HardSigmoid")
def hard_sigmoid(node: OnnxNode) -> str:
    line = scaled(node, node.tensor(), node.number("alpha", 0.2), node.number("beta", 0.5))
    return node.emit(Clip.of(0.0, 1.0), line)


@importer("HardSwish")
def hard_swish(node: OnnxNode) -> str:
    x = node.tensor()
    return node.emit(Mul(), x, node.emit(Clip.of(0.0, 1.0), scaled(node, x, 1.0 / 6.0, 0.5)))


@importer("Gelu")
def gelu(node: OnnxNode) -> str:
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Refused(f"approximate {approximate!r} is unknown")
    return node.emit(Elementwise("gelu" if approximate == "none" else "gelu_tanh"), node.tensor())


@importer("Pow")
def power(node: OnnxNode) -> str:
    exponent = node.constant(1, "exponent")
    if exponent.size != 1 or not np.isfinite(float(exponent.reshape(()))):
        raise Refused("its exponent is not one finite number")
    value = float(exponent.reshape(()))
    x = node.tensor()
    shape = np.broadcast_shapes(node.shape_of(x), exponent.shape)
    return node.emit(Elementwise("pow", value), node.reshape(x, shape))


@importer("PRelu")
def prelu(node: OnnxNode) -> str:
    """One slope, or slopes along any axes."""
    slope, x = node.weight(1, "slope").astype(np.float64), node.tensor()
    shape = node.shape_of(x)
    if slope.size == 1:
        return node.emit(Elementwise("leaky_relu", float(slope.reshape(()))), x)
    if np.broadcast_shapes(shape, slope.shape) != shape:
        raise Refused(f"slopes of shape {list(slope.shape)} do not fit {list(shape)}")
    x, (slope,), back = along_last_axis(node, x, slope)
    return back(node.emit(PRelu(slope), x))


def of_one_rank(node: OnnxNode, tensors: list[str]) -> list[str]:
    """The tensors with axes of 1 in front, so that all have as many."""
    rank = max(len(node.shape_of(tensor)) for tensor in tensors)
    return [
        node.reshape(tensor, (1,) * (rank - len(node.shape_of(tensor))) + node.shape_of(tensor))
        for tensor in tensors
    ]


def pairwise(node: OnnxNode, op: Op, first: str, second: str) -> str:
    """A binary operator with numpy's broadcasting."""
    a, b = of_one_rank(node, [first, second])
    return node.emit(op, a, b)


@importer("Max", "Min")
def extreme(node: OnnxNode) -> str:
    """Of any number of activations and constants."""
    sign = 1 if node.op_type == "Max" else -1
    tensors, bounds = _sorted_inputs(node, "bound")
    result = tensors[0]
    for tensor in tensors[1:]:
        result = pairwise(node, Maximum(sign), result, tensor)
    for bound in bounds:
        result = _bounded(node, result, bound, sign)
    return result


def _bounded(node: OnnxNode, x: str, bound: Array, sign: int) -> str:
    """max(x, bound), or min where `sign` is -1; bounds that vary are taken off first and added after."""
    if bound.size == 1:
        bound = node.behind_lead(bound)
        x = broadcast_to(node, x, np.broadcast_shapes(node.shape_of(x), bound.shape))
        value = float(bound.reshape(()))
        return node.emit(Clip.of(value, np.inf) if sign > 0 else Clip.of(-np.inf, value), x)
    above = affine(node, x, np.ones(()), -bound)
    clip = Clip.of(0.0, np.inf) if sign > 0 else Clip.of(-np.inf, 0.0)
    return affine(node, node.emit(clip, above), np.ones(()), bound)


@importer("Sum", "Mean")
def total(node: OnnxNode) -> str:
    """Of any number of activations and constants."""
    count = len(node.proto.input)
    tensors, constants = _sorted_inputs(node, "addend")
    result = tensors[0]
    for tensor in tensors[1:]:
        result = pairwise(node, Add(), result, tensor)
    for constant in constants:
        result = affine(node, result, np.ones(()), constant)
    return scaled(node, result, 1.0 / count) if node.op_type == "Mean" and count > 1 else result


def _sorted_inputs(node: OnnxNode, what: str) -> tuple[list[str], list[Array]]:
    """The node's activations and its constants, in order."""
    places = range(len(node.proto.input))
    constants = [node.weight(i, what).astype(np.float64) for i in places if node.is_constant(i)]
    return [node.tensor(i) for i in places if not node.is_constant(i)], constants


def lane_axis(node: OnnxNode, default: int) -> int:
    """The operator's axis; never the batch."""
    axis = node.axis(node.integer("axis", default), len(node.shape()))
    if axis == 0:
        raise along_first_axis(node, "runs over the batch axis")
    return axis


@importer("LogSoftmax")
def log_softmax_of_matrix(node: OnnxNode) -> str:
    """Before opset 13: over all axes from `axis` on, as if they were one."""
    shape, axis = node.shape(), lane_axis(node, 1)
    flat = (1, int(np.prod(shape[1:axis])), int(np.prod(shape[axis:])))
    return node.reshape(node.emit(LogSoftmax(2), node.reshape(node.tensor(), flat)), shape)


@importer("LogSoftmax", since=13)
def log_softmax(node: OnnxNode) -> str:
    return node.emit(LogSoftmax(lane_axis(node, -1)), node.tensor())


@importer("LpNormalization")
def lp_normalization(node: OnnxNode) -> str:
    p = node.integer("p", 2)
    if p not in (1, 2):
        raise Refused(f"p {p} is neither 1 nor 2")
    return node.emit(LpNormalize(lane_axis(node, -1), p), node.tensor())


@importer("ArgMax", "ArgMin")
def arg_max(node: OnnxNode) -> str:
    """Up to 256 positions, which fit the int8 output as (position - 128)."""
    shape, axis = node.shape(), lane_axis(node, 0)
    if shape[axis] > 256:
        raise Refused(
            f"chooses among {shape[axis]} positions; up to 256 are supported, and dfq_best() of "
            "runtime_c/api/dfq_api.h chooses among any number behind the network"
        )
    op = ArgMax(axis, 1 if node.op_type == "ArgMax" else -1, node.flag("select_last_index", default=False))
    result = node.emit(op, node.tensor())
    if node.flag("keepdims", default=True):
        return result
    return node.reshape(result, shape[:axis] + shape[axis + 1 :])


@importer("ReduceLogSumExp")
def reduce_log_sum_exp(node: OnnxNode) -> str:
    """Along one axis: an element less its log-softmax."""
    axes = node.optional_integers(1, "axes")
    shape = node.shape()
    if axes is None or len(axes) != 1:
        raise Refused("sums over several axes; one is supported")
    axis = node.axis(axes[0], len(shape))
    if axis == 0:
        raise along_first_axis(node, "sums along the batch axis")
    x = node.tensor()
    first, relative = (select(node, t, axis, [0]) for t in (x, node.emit(LogSoftmax(axis), x)))
    total = node.emit(Add(-1), first, relative)
    kept = node.flag("keepdims", default=True)
    return total if kept else node.reshape(total, shape[:axis] + shape[axis + 1 :])
