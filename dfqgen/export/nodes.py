"""Every integer operator as ONNX nodes between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from onnx import TensorProto

from dfqgen.errors import UserError
from dfqgen.export.writer import Writer, program_axes, stored_axes
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import MULTIPLIER_BITS, Array, IntType, QType, Requantize
from dfqgen.frontend.importers.marks import COARSE, HALVES
from dfqgen.ops.add import QAdd, QBroadcastAdd
from dfqgen.ops.argmax import QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.log_softmax import QLogSoftmax
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.maximum import QMaximum
from dfqgen.ops.movement import QPad, QReshape, QTranspose
from dfqgen.ops.multiply import QMul
from dfqgen.ops.normalize import QLpNormalize
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.ops.prelu import QPRelu
from dfqgen.ops.real import QDequantize, QQuantize
from dfqgen.ops.softmax import QSoftmax, QWideSoftmax
from dfqgen.ops.take import QTake
from dfqgen.ops.windows import Pads

NUDGE = 2.0**-12
"""What is added to an average in front of its rounding, in steps; a sixteenth of it where it is a factor.

More than what sums of 8-bit integers lose in float32 (2**-17 of them), less than what averages of up to 512
elements are apart.
"""
NEIGHBOURS = 4
"""How many float32 numbers around the exact one are tried for a scale that gives back the multiplier."""


@singledispatch
def write(op: QOp, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    """Append the operator's nodes. Raises UserError for one that ONNX's operators cannot say."""
    cut = "Cut the model there with --outputs and export what is before it."
    wide = any(tensor.qtype.dtype is IntType.INT16 for tensor in (*inputs, output))
    raise UserError(
        f"layer {op.name!r} ({type(op).__name__.removeprefix('Q')}) has no form between QuantizeLinear and "
        "DequantizeLinear",
        f"Int8 may have one: --activations int8. {cut}" if wide else cut,
    )


def reals(op: QOp, writer: Writer) -> list[str]:
    """The names of the operator's inputs as reals."""
    return [writer.real[name] for name in op.inputs]


def one_for_each_channel(values: Array, rank: int) -> Array:
    """[C] so that it broadcasts with a tensor of this rank in the file's axes."""
    return values.reshape(-1, 1, 1) if rank == 4 and values.size > 1 else values.reshape(-1)


def finish(
    op: QOp, writer: Writer, real: str, output: QTensor, clamp: tuple[Array, Array] | None = None
) -> None:
    """Clip the reals to what the integers are clamped to, where that is less than their type; round."""
    qtype = output.qtype
    if clamp is not None:
        for operator, ends, widest in (
            ("Max", clamp[0], qtype.dtype.minimum),
            ("Min", clamp[1], qtype.dtype.maximum),
        ):
            if np.all(ends == widest):
                continue
            bound = ((np.asarray(ends, np.float64) - qtype.zero_point) * qtype.scale).astype(np.float32)
            bound = bound[:1] if np.all(bound == bound[0]) else bound
            if bound.size == 1 and operator == "Max" and bound[0] == 0.0:
                real = writer.node("Relu", real, of=op)
                continue
            value = bound.reshape(()) if bound.size == 1 else one_for_each_channel(bound, len(output.shape))
            real = writer.node(operator, real, writer.constant(value, f"{op.output}/bound"), of=op)
    writer.quantized(real, output)


def onnx_pads(pads: Pads) -> list[int]:
    return [pads.top, pads.left, pads.bottom, pads.right]


def weight_scales(form: Requantize, x: QType, y: QType) -> Array:
    """The scales [Cout] of the weights, float32: those that give these multipliers again, where there are.

    The program has the multipliers alone. Scales that were float32 come out as they were, or as neighbours
    that no multiplier tells apart.
    """
    unit = 2.0 ** (form.pre_shift - MULTIPLIER_BITS) * y.scale / x.scale
    wanted = np.where(form.multiplier > 0, form.multiplier, 0.25) * unit
    nearest = wanted.astype(np.float32)
    best, found = nearest.copy(), np.zeros(nearest.shape, bool)
    for step in sorted(range(-NEIGHBOURS, NEIGHBOURS + 1), key=abs):
        candidate = nearest
        for _ in range(abs(step)):
            candidate = np.nextafter(candidate, np.float32(np.inf if step > 0 else 0.0))
        factor = candidate.astype(np.float64) * x.scale / y.scale
        given = np.floor(np.ldexp(factor, MULTIPLIER_BITS - form.pre_shift) + 0.5)
        fits = (given == form.multiplier) & ~found
        best, found = np.where(fits, candidate, best), found | fits
    return best


@write.register
def _conv(op: QConv2D, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    (x,) = inputs
    scale = weight_scales(op.requantize, x.qtype, output.qtype)
    integers = op.weight.transpose(0, 3, 1, 2)
    dtype = op.weight_type
    weight = writer.weight(integers, scale, dtype, f"{op.output}/weight")
    sums = op.weight.astype(np.int64).sum(axis=(1, 2, 3))
    bias = op.bias.astype(np.int64) + x.qtype.zero_point * sums
    arguments = [reals(op, writer)[0], weight]
    if np.any(bias):
        ends = np.iinfo(np.int32)
        step = (scale * np.float32(x.qtype.scale)).astype(np.float32)
        # float32 has rounded the step: so many of it are the bias, which may have more than its 24 bits.
        steps = np.rint(bias * (scale.astype(np.float64) * x.qtype.scale / step))
        stored = writer.constant(np.clip(steps, ends.min, ends.max).astype(np.int32), f"{op.output}/bias")
        arguments.append(
            writer.node("DequantizeLinear", stored, writer.constant(step, f"{op.output}/bias/scale"), axis=0)
        )
    real = writer.node(
        "Conv", *arguments, of=op, strides=op.stride, dilations=op.dilation, pads=onnx_pads(op.pads),
        group=op.groups, kernel_shape=op.kernel,
    )  # fmt: skip
    finish(op, writer, real, output, op.clamp)


@write.register(QAdd)
@write.register(QBroadcastAdd)
def _add(op: QAdd | QBroadcastAdd, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    operator = "Sub" if op.multipliers[1] < 0 else "Add"
    real = writer.node(operator, *reals(op, writer), of=op)
    if not op.dropped:
        writer.nodes[-1].doc_string = COARSE
    finish(op, writer, real, output, op.clamp)


@write.register
def _mul(op: QMul, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    finish(op, writer, writer.node("Mul", *reals(op, writer), of=op), output, op.clamp)


@write.register
def _maximum(op: QMaximum, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    real = writer.node("Min" if op.minimum else "Max", *reals(op, writer), of=op)
    finish(op, writer, real, output, (np.array([op.lo]), np.array([op.hi])))


def halves_nudge(op: QAveragePool) -> tuple[str, float] | None:
    """What brings averages half way between two integers to where the program rounds them.

    ("Add", steps) for all up or all down, ("Mul", factor) for all away from zero or all towards it; None
    where there are no halves to speak of, or where they go here and there.
    """
    sums = np.arange(-(1 << 14), 1 << 14)
    ways = set()
    for multiplier in np.unique(op.multiplier):
        real = np.ldexp((sums * int(multiplier)).astype(np.float64), op.pre_shift - MULTIPLIER_BITS)
        half = np.abs(real - np.floor(real) - 0.5) < 2.0**-16
        if half.mean() < 2.0**-12:
            continue
        rounded = ((sums << op.pre_shift) * int(multiplier) + (1 << (MULTIPLIER_BITS - 1))) >> MULTIPLIER_BITS
        up = rounded > np.floor(real)
        ways.add((up[half & (sums > 0)].mean(), up[half & (sums < 0)].mean()))
    nudges = {
        (1.0, 1.0): ("Add", NUDGE),
        (0.0, 0.0): ("Add", -NUDGE),
        (1.0, 0.0): ("Mul", 1.0 + NUDGE / 16),
        (0.0, 1.0): ("Mul", 1.0 - NUDGE / 16),
    }
    return nudges.get(ways.pop()) if len(ways) == 1 else None


@write.register
def _average(op: QAveragePool, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    alike = len(np.unique(op.multiplier)) == 1
    real = writer.node(
        "AveragePool", *reals(op, writer), of=op, kernel_shape=op.kernel, strides=op.stride,
        pads=onnx_pads(op.pads), count_include_pad=int(alike),
    )  # fmt: skip
    if op.even_count == 0:
        writer.nodes[-1].doc_string = HALVES
        nudge = halves_nudge(op)
        if nudge is not None:
            operator, amount = nudge
            step = output.qtype.scale if operator == "Add" else 1.0
            constant = writer.constant(np.array(amount * step, np.float32), f"{op.output}/{operator.lower()}")
            real = writer.node(operator, real, constant, of=op)
            writer.nodes[-1].doc_string = HALVES
    finish(op, writer, real, output, op.clamp)


@write.register
def _largest(op: QMaxPool, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    real = writer.node(
        "MaxPool", *reals(op, writer), of=op, kernel_shape=op.kernel, strides=op.stride,
        dilations=op.dilation, pads=onnx_pads(op.pads),
    )  # fmt: skip
    finish(op, writer, real, output)


@write.register(QSoftmax)
@write.register(QWideSoftmax)
@write.register(QLogSoftmax)
def _softmax(
    op: QSoftmax | QWideSoftmax | QLogSoftmax,
    writer: Writer,
    inputs: tuple[QTensor, ...],
    output: QTensor,
) -> None:
    operator = "LogSoftmax" if isinstance(op, QLogSoftmax) else "Softmax"
    axis = stored_axes(len(output.shape)).index(op.axis)
    finish(op, writer, writer.node(operator, *reals(op, writer), of=op, axis=axis), output)


@write.register
def _normalize(op: QLpNormalize, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    axis = stored_axes(len(output.shape)).index(op.axis)
    finish(op, writer, writer.node("LpNormalization", *reals(op, writer), of=op, axis=axis, p=op.p), output)


@write.register
def _arg_max(op: QArgMax, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    """Positions are whole numbers; the axis is kept."""
    axis = stored_axes(len(output.shape)).index(op.axis)
    operator = "ArgMin" if op.minimum else "ArgMax"
    place = writer.node(
        operator, *reals(op, writer), of=op, axis=axis, keepdims=1, select_last_index=int(op.last)
    )
    real = writer.name(f"{op.output}/float")
    writer.cast(place, real, TensorProto.FLOAT)
    finish(op, writer, real, output)


@write.register
def _prelu(op: QPRelu, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    slopes = (op.slopes / op.multiplier).astype(np.float32)
    slope = writer.constant(one_for_each_channel(slopes, len(output.shape)), f"{op.output}/slope")
    real = writer.node("PRelu", *reals(op, writer), slope, of=op)
    finish(op, writer, real, output, (np.array([op.lo]), np.array([op.hi])))


@write.register
def _lookup(op: QLookup, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    """Any function of one value is its table: Gather counts negative places from the end."""
    rolled = np.roll(op.table, -128).astype(output.qtype.dtype.carrier)
    place = writer.name(f"{op.output}/place")
    writer.cast(writer.coded[op.inputs[0]], place)
    table = writer.constant(rolled, f"{op.output}/table")
    writer.dequantized(writer.node("Gather", table, place, of=op), output)


@write.register
def _quantize(op: QQuantize, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    finish(op, writer, reals(op, writer)[0], output)


@write.register
def _dequantize(op: QDequantize, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    finish(op, writer, reals(op, writer)[0], output)


# --- what only moves integers ---


@write.register
def _reshape(op: QReshape, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    (x,) = inputs
    real = writer.transposed(reals(op, writer)[0], program_axes(len(x.shape)))
    target = writer.constant(np.array(output.shape, np.int64), f"{op.output}/shape")
    shaped = writer.node("Reshape", real, target, of=op)
    finish(op, writer, writer.transposed(shaped, stored_axes(len(output.shape))), output)


@write.register
def _transpose(op: QTranspose, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    rank = len(output.shape)
    back = program_axes(rank)
    order = tuple(back[op.permutation[axis]] for axis in stored_axes(rank))
    finish(op, writer, writer.transposed(reals(op, writer)[0], order), output)


@write.register
def _pad(op: QPad, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    axes = stored_axes(len(output.shape))
    widths = [op.before[axis] for axis in axes] + [op.after[axis] for axis in axes]
    qtype = output.qtype
    value = np.array((op.value - qtype.zero_point) * qtype.scale, np.float32)
    pads = writer.constant(np.array(widths, np.int64), f"{op.output}/pads")
    border = writer.constant(value, f"{op.output}/border")
    finish(op, writer, writer.node("Pad", *reals(op, writer), pads, border, of=op), output)


@write.register
def _concat(op: QConcat, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    axis = stored_axes(len(output.shape)).index(op.axis)
    finish(op, writer, writer.node("Concat", *reals(op, writer), of=op, axis=axis), output)


@write.register
def _take(op: QTake, writer: Writer, inputs: tuple[QTensor, ...], output: QTensor) -> None:
    (real,) = reals(op, writer)
    for axis, places in enumerate(op.indices):
        if places is not None:
            indices = writer.constant(np.array(places, np.int64), f"{op.output}/places")
            stored = stored_axes(len(output.shape)).index(axis)
            real = writer.node("Gather", real, indices, of=op, axis=stored)
    finish(op, writer, real, output)
