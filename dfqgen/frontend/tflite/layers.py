"""TFLite's operators as ONNX nodes: one function each, registered by name."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from dfqgen.frontend.tflite.registry import Operator, clipped, layer
from dfqgen.frontend.tflite.tensors import Refused

# --- layers ---


@layer("CONV_2D")
def conv(op: Operator) -> str:
    """Weight [O,H,W,I]; groups where the input has more channels than the weight."""
    options, to = op.options, op.to
    _, *kernel, channels = op.shape(1)
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    groups = op.shape()[3] // channels
    arguments = [to.channels_second(op.real()), to.weight(op.inputs[1], (0, 3, 1, 2))]
    arguments += [to.bias(op.inputs[2])] if op.has(2) else []
    result = to.node(
        "Conv", *arguments, strides=stride, dilations=dilation, group=groups, kernel_shape=kernel,
        pads=op.pads(op.shape()[1:3], tuple(kernel), stride, dilation),
    )  # fmt: skip
    return op.activated(to.channels_last(result))


@layer("DEPTHWISE_CONV_2D")
def depthwise_conv(op: Operator) -> str:
    """Weight [1,H,W,C * multiplier]."""
    options, to = op.options, op.to
    kernel = op.shape(1)[1:3]
    stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    arguments = [to.channels_second(op.real()), to.weight(op.inputs[1], (3, 0, 1, 2))]
    arguments += [to.bias(op.inputs[2])] if op.has(2) else []
    result = to.node(
        "Conv", *arguments, strides=stride, dilations=dilation, group=op.shape()[3], kernel_shape=kernel,
        pads=op.pads(op.shape()[1:3], kernel, stride, dilation),
    )  # fmt: skip
    return op.activated(to.channels_last(result))


@layer("TRANSPOSE_CONV")
def transpose_conv(op: Operator) -> str:
    """Output shape, weight [O,H,W,I], input, bias."""
    to, size = op.to, op.output_shape
    kernel, stride = op.shape(1)[1:3], (op.options.strideH, op.options.strideW)
    pads = [0, 0, 0, 0]
    if op.options.padding != to.schema.Padding.VALID:
        before = op.shape(2)[1:3]
        totals = [
            max((n - 1) * s + k - m, 0) for n, s, k, m in zip(before, stride, kernel, size[1:3], strict=True)
        ]
        pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    arguments = [to.channels_second(op.real(2)), to.weight(op.inputs[1], (3, 0, 1, 2))]
    arguments += [to.bias(op.inputs[3])] if op.has(3) else []
    result = to.node("ConvTranspose", *arguments, strides=stride, kernel_shape=kernel, pads=pads)
    return op.activated(to.channels_last(result))


@layer("FULLY_CONNECTED")
def fully_connected(op: Operator) -> str:
    """Weight [O,I]; everything in front of the features is one axis."""
    to = op.to
    features = op.shape(1)[1]
    rows = math.prod(op.shape()) // features
    arguments = [to.reshaped(op.real(), (rows, features)), to.weight(op.inputs[1], (0, 1))]
    arguments += [to.bias(op.inputs[2])] if op.has(2) else []
    result = to.node("Gemm", *arguments, transB=1)
    return op.activated(to.reshaped(result, op.output_shape))


@layer("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool(op: Operator) -> str:
    options, to = op.options, op.to
    kernel, stride = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    pads = op.pads(op.shape()[1:3], kernel, stride, (1, 1))
    operator = "AveragePool" if op.kind == "AVERAGE_POOL_2D" else "MaxPool"
    image = to.channels_second(op.real())
    result = to.node(operator, image, kernel_shape=kernel, strides=stride, pads=pads)
    return op.activated(to.channels_last(result))


@layer("BATCH_MATMUL")
def batch_matmul(op: Operator) -> str:
    sides = []
    for place, turned in ((0, op.options.adjX), (1, op.options.adjY)):
        real, rank = op.real(place), len(op.shape(place))
        perm = (*range(rank - 2), rank - 1, rank - 2)
        sides.append(op.to.node("Transpose", real, perm=perm) if turned else real)
    return op.to.node("MatMul", *sides)


REDUCTIONS = {"MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin", "SUM": "ReduceSum"}


@layer(*REDUCTIONS)
def reduce(op: Operator) -> str:
    axes = op.to.stored(np.array(op.integers(1), np.int64), "axes")
    return op.to.node(REDUCTIONS[op.kind], op.real(), axes, keepdims=int(bool(op.options.keepDims)))


# --- element by element ---


@layer("ADD", "SUB", "MUL", "DIV")
def arithmetic(op: Operator) -> str:
    return op.activated(op.to.node(op.kind.capitalize(), op.real(0), op.real(1)))


@layer("SQUARED_DIFFERENCE")
def squared_difference(op: Operator) -> str:
    difference = op.to.node("Sub", op.real(0), op.real(1))
    return op.to.node("Mul", difference, difference)


@layer("MAXIMUM", "MINIMUM")
def extreme(op: Operator) -> str:
    return op.to.node("Max" if op.kind == "MAXIMUM" else "Min", op.real(0), op.real(1))


FUNCTIONS = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish", "LOG": "Log", "LOGISTIC": "Sigmoid", "NEG": "Neg", "RELU": "Relu",
    "ROUND": "Round", "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh",
}  # fmt: skip


@layer(*FUNCTIONS)
def function(op: Operator) -> str:
    return op.to.node(FUNCTIONS[op.kind], op.real())


@layer("RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
def bounded(op: Operator) -> str:
    bounds = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
    return clipped(op, op.real(), *bounds[op.kind])


@layer("LEAKY_RELU")
def leaky_relu(op: Operator) -> str:
    return op.to.node("LeakyRelu", op.real(), alpha=float(op.options.alpha))


@layer("PRELU")
def prelu(op: Operator) -> str:
    return op.to.node("PRelu", op.real(), op.real(1))


@layer("GELU")
def gelu(op: Operator) -> str:
    return op.to.node("Gelu", op.real(), approximate="tanh" if op.options.approximate else "none")


@layer("RSQRT")
def reciprocal_root(op: Operator) -> str:
    return op.to.node("Reciprocal", op.to.node("Sqrt", op.real()))


@layer("SQUARE")
def square(op: Operator) -> str:
    return op.to.node("Pow", op.real(), op.to.stored(np.array(2.0, np.float32), "two"))


@layer("SOFTMAX")
def softmax(op: Operator) -> str:
    real, beta = op.real(), float(op.options.beta)
    if beta != 1.0:
        real = op.to.node("Mul", real, op.to.stored(np.array(beta, np.float32), "beta"))
    return op.to.node("Softmax", real, axis=-1)


@layer("LOG_SOFTMAX")
def log_softmax(op: Operator) -> str:
    return op.to.node("LogSoftmax", op.real(), axis=-1)


@layer("L2_NORMALIZATION")
def normalize(op: Operator) -> str:
    return op.to.node("LpNormalization", op.real(), axis=-1, p=2)


@layer("ARG_MAX", "ARG_MIN")
def arg_max(op: Operator) -> str:
    (axis,) = op.integers(1)
    operator = "ArgMax" if op.kind == "ARG_MAX" else "ArgMin"
    place = op.to.node(operator, op.real(), axis=axis, keepdims=0)
    return op.to.cast(place, TensorProto.INT32) if op.to.kind(op.outputs[0]) == "INT32" else place


# --- types ---


@layer("QUANTIZE")
def quantize(op: Operator) -> str:
    return op.real()


@layer("DEQUANTIZE", "CAST")
def dequantize(op: Operator) -> None:
    """Reals are there already; a weight of half precision stays a constant."""
    if op.kind == "CAST" and op.to.kind(op.outputs[0]) != "FLOAT32":
        raise Refused("converts to another type than float32")
    op.to.real(op.inputs[0])
    op.to.alias(op.outputs[0], op.inputs[0])


# --- moves ---


@layer("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(op: Operator) -> str:
    return op.to.reshaped(op.real(), op.output_shape)


@layer("TRANSPOSE")
def transpose(op: Operator) -> str:
    return op.to.node("Transpose", op.real(), perm=op.integers(1))


@layer("PAD", "PADV2", "MIRROR_PAD")
def pad(op: Operator) -> str:
    if op.kind == "MIRROR_PAD":
        raise Refused("mirrors the border; only constant ones are supported")
    widths = op.to.constant(op.inputs[1]).astype(np.int64)
    inputs = [op.real(), op.to.stored(widths.T.ravel(), "pads")]
    if op.kind == "PADV2":
        inputs.append(op.to.reshaped(op.real(2), ()))
    return op.to.node("Pad", *inputs)


@layer("CONCATENATION")
def concatenation(op: Operator) -> str:
    reals = [op.real(i) for i in range(len(op.inputs))]
    return op.activated(op.to.node("Concat", *reals, axis=int(op.options.axis)))


@layer("PACK")
def pack(op: Operator) -> str:
    axis, rank = int(op.options.axis), len(op.output_shape)
    axis = axis + rank if axis < 0 else axis
    shape = (*op.output_shape[:axis], 1, *op.output_shape[axis + 1 :])
    parts = [op.to.reshaped(op.real(i), shape) for i in range(len(op.inputs))]
    return op.to.node("Concat", *parts, axis=axis)


@layer("UNPACK")
def unpack(op: Operator) -> None:
    axis = int(op.options.axis)
    for place, output in enumerate(op.outputs):
        index = op.to.stored(np.array(place, np.int64), "place")
        op.to.produce(output, op.to.node("Gather", op.real(), index, axis=axis))


@layer("SPLIT", "SPLIT_V")
def split(op: Operator) -> None:
    """SPLIT has its axis first, SPLIT_V its sizes second."""
    value, axis_place = (1, 0) if op.kind == "SPLIT" else (0, 2)
    (axis,) = op.integers(axis_place)
    start = 0
    for output in op.outputs:
        end = start + op.to.shape(output)[axis]
        op.to.produce(output, sliced(op, op.real(value), [start], [end], [axis], [1]))
        start = end


def sliced(
    op: Operator, real: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> str:
    lists = [
        op.to.stored(np.array(v, np.int64), name)
        for v, name in ((starts, "starts"), (ends, "ends"), (axes, "axes"), (steps, "steps"))
    ]
    return op.to.node("Slice", real, *lists)


@layer("SLICE")
def slice_(op: Operator) -> str:
    begin, size = op.integers(1), op.integers(2)
    ends = [n if s < 0 else b + s for b, s, n in zip(begin, size, op.shape(), strict=True)]
    return sliced(op, op.real(), begin, ends, list(range(len(begin))), [1] * len(begin))


@layer("STRIDED_SLICE")
def strided_slice(op: Operator) -> str:
    options = op.options
    if options.ellipsisMask or options.newAxisMask:
        raise Refused("adds axes or leaves some out; slice with a start and an end for every axis")
    begin, end, steps = (op.integers(i) for i in (1, 2, 3))
    for axis in range(len(begin)):
        if options.beginMask >> axis & 1:
            begin[axis] = 0 if steps[axis] > 0 else op.shape()[axis] - 1
        if options.endMask >> axis & 1:
            end[axis] = op.shape()[axis] if steps[axis] > 0 else -op.shape()[axis] - 1
        if options.shrinkAxisMask >> axis & 1:
            begin[axis] %= op.shape()[axis]
            end[axis], steps[axis] = begin[axis] + 1, 1
    result = sliced(op, op.real(), begin, end, list(range(len(begin))), steps)
    return op.to.reshaped(result, op.output_shape) if options.shrinkAxisMask else result


@layer("GATHER")
def gather(op: Operator) -> str:
    indices = op.to.stored(op.to.constant(op.inputs[1]).astype(np.int64), "indices")
    return op.to.node("Gather", op.real(), indices, axis=int(op.options.axis))


@layer("REVERSE_V2")
def reverse(op: Operator) -> str:
    axes = op.integers(1)
    ends = [-op.shape()[axis] - 1 for axis in axes]
    return sliced(op, op.real(), [-1] * len(axes), ends, axes, [-1] * len(axes))


@layer("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def blocks(op: Operator) -> str:
    operator = "DepthToSpace" if op.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    image = op.to.channels_second(op.real())
    return op.to.channels_last(op.to.node(operator, image, blocksize=int(op.options.blockSize)))


@layer("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(op: Operator) -> str:
    options, shape = op.options, op.output_shape
    mode = "linear" if op.kind == "RESIZE_BILINEAR" else "nearest"
    places = "asymmetric"
    if options.halfPixelCenters:
        places = "half_pixel"
    elif options.alignCorners:
        places = "align_corners"
    rounding = "floor" if places == "asymmetric" else "round_prefer_ceil"
    sizes = op.to.stored(np.array((shape[0], shape[3], shape[1], shape[2]), np.int64), "sizes")
    result = op.to.node(
        "Resize", op.to.channels_second(op.real()), "", "", sizes, mode=mode,
        coordinate_transformation_mode=places, nearest_mode=rounding,
    )  # fmt: skip
    return op.to.channels_last(result)
