"""TFLite's layers with a memory: the LSTM over a sequence, and the SVDF of one step."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.tflite.layers import sliced
from dfqgen.frontend.tflite.registry import Operator, layer
from dfqgen.frontend.tflite.tensors import Refused
from dfqgen.graph.ir import Array


def _reals(op: Operator, place: int) -> Array:
    """A constant input as reals, float32."""
    index = op.inputs[place]
    value, scale = op.to.constant(index), op.to.scale(index)
    if scale is None:
        return value.astype(np.float32)
    zero = op.to.zero_point(index)
    if len(scale) > 1:
        raise Refused("has a scale for each row of a recurrent weight")
    return ((value.astype(np.float64) - zero[0]) * scale[0].astype(np.float64)).astype(np.float32)


@layer("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(op: Operator) -> str:
    """Gates have weights [units, inputs] each; states start at zero. The weights get integers of ours.

    Inputs: x, 4 x weights, 4 x recurrent weights, 3 peepholes, 4 biases, projection and its bias, 2 states.
    """
    to = op.to
    if op.has(16):
        raise Refused("has a projection, which is not supported")
    if not op.has(1):
        raise Refused("couples its input and forget gates, which is not supported")
    # ONNX's order: input, output, forget, cell.
    order = (0, 3, 1, 2)
    w, r = (np.concatenate([_reals(op, first + gate) for gate in order]) for first in (1, 5))
    b = np.concatenate([_reals(op, 12 + gate).ravel() for gate in order])
    units = r.shape[1]
    x = op.real()
    if not op.options.timeMajor:
        x = to.node("Transpose", x, perm=(1, 0, 2))
    weights = [to.stored(value[None], name) for value, name in ((w, "w"), (r, "r"))]
    bias = to.stored(np.concatenate([b, np.zeros_like(b)])[None], "b")
    arguments = [x, *weights, bias]
    if op.has(9):
        # Of the input, forget and output gates; ONNX's order is input, output, forget.
        peepholes = np.concatenate([_reals(op, place).ravel() for place in (9, 11, 10)])
        arguments += ["", "", "", to.stored(peepholes[None], "p")]
    y = to.node("LSTM", *arguments, hidden_size=units)
    # [time, directions, batch, units]
    axis = to.stored(np.array([1], np.int64), "axes")
    y = to.node("Squeeze", y, axis)
    return y if op.options.timeMajor else to.node("Transpose", y, perm=(1, 0, 2))


@layer("SVDF")
def svdf(op: Operator) -> str:
    """Filters on features, then on each filter's results over time; `rank` filters add up to a unit.

    Inputs: x [1, features], weights of features [filters, features], of time [filters, steps], a bias
    [units] or none, the filters' last results. Those are a state of the network: without the oldest, which
    no step reads again.
    """
    to, state = op.to, op.inputs[4]
    if op.shape()[0] != 1:
        raise Refused(f"has a batch of {op.shape()[0]}; one is supported")
    (filters, steps), rank = op.shape(2), int(op.options.rank)
    result = to.node("Gemm", op.real(), to.weight(op.inputs[1], (0, 1)), transB=1)
    newest = to.rounded(state, to.reshaped(result, (1, filters, 1)))
    shape = (1, filters, steps - 1)
    memory = to.node("Concat", to.kept(state, shape), newest, axis=2) if steps > 1 else newest
    if steps > 1:
        to.keep(state, sliced(op, memory, [1], [steps], [2], [1]), shape)
    units = filters // rank
    weight = to.reshaped(to.weight(op.inputs[2], (0, 1)), (units, rank, steps))
    arguments = [memory, weight, *([to.bias(op.inputs[3])] if op.has(3) else [])]
    y = to.node("Conv", *arguments, group=units, kernel_shape=[steps])
    return op.activated(to.reshaped(y, (1, units)))
