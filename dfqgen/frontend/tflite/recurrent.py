"""TFLite's LSTM over a sequence."""

from __future__ import annotations

import numpy as np

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
    if any(op.has(place) for place in (9, 10, 11, 16, 17)):
        raise Refused("has peepholes or a projection, which are not supported")
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
    y = to.node("LSTM", x, *weights, bias, hidden_size=units)
    # [time, directions, batch, units]
    axis = to.stored(np.array([1], np.int64), "axes")
    y = to.node("Squeeze", y, axis)
    return y if op.options.timeMajor else to.node("Transpose", y, perm=(1, 0, 2))
