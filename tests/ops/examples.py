"""Examples of every float operator, with the shapes of its inputs: what tests of all operators run on."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Op, Port, Shape
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.divide import Div
from dfqgen.ops.embedding import Embedding
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.functions import FUNCTIONS
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.pointwise import Pointwise, Step
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.recurrent import GRU, LSTM, RNN
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.standardize import Standardize
from dfqgen.ops.tabulated import Tabulated
from dfqgen.ops.take import Take
from dfqgen.ops.trees import TreeEnsemble
from dfqgen.ops.windows import Pads
from tests.builders import batch_norm, relu

RNG = np.random.default_rng(5)
IMAGE = (1, 7, 6, 4)
SEQUENCE = (1, 5, 4)


def convolution(**changes: Any) -> Conv2D:
    settings: dict[str, Any] = {"weight": RNG.normal(size=(6, 3, 3, 4)), "bias": RNG.normal(size=6)}
    return Conv2D(**(settings | changes))


FOREST = TreeEnsemble(
    feature=np.array([0, 3, 2]),
    threshold=np.array([0.1, -0.3, 0.5]),
    children=np.array([[1, -1], [-2, -3], [-4, -5]]),
    roots=np.array([0, 2, -6]),
    leaves=RNG.normal(size=(6, 2)),
    start=RNG.normal(size=2),
)
"""Two trees, and one that is a leaf."""

EXAMPLES: list[tuple[Op, tuple[Shape, ...]]] = [
    (convolution(), (IMAGE,)),
    (convolution(stride=(2, 1), pads=Pads(0, 1, 1, 2), dilation=(1, 2)), (IMAGE,)),
    (convolution(weight=RNG.normal(size=(6, 3, 3, 2)), groups=2, pads=Pads(1, 1, 1, 1)), (IMAGE,)),
    (convolution(weight=RNG.normal(size=(4, 3, 3, 1)), bias=RNG.normal(size=4), groups=4), (IMAGE,)),
    (batch_norm(RNG, 4), (IMAGE,)),
    (Affine(RNG.normal(size=4), RNG.normal(size=1)), (IMAGE,)),
    (relu(), (IMAGE,)),
    (Clip.of(-1.0, 0.5), (IMAGE,)),
    (Clip(np.zeros(1), RNG.uniform(0.1, 1, 4)), (IMAGE,)),
    (Add(), (IMAGE, IMAGE)),
    (Add(-1), (IMAGE, IMAGE)),
    (Mul(), (IMAGE, (1, 1, 1, 4))),
    (Maximum(), (IMAGE, IMAGE)),
    (Maximum(-1), (IMAGE, IMAGE)),
    (PRelu(RNG.uniform(0, 1, 4)), (IMAGE,)),
    (Pointwise((Step(Elementwise("sigmoid"), (0,)), Step(Mul(), (0, 1)))), (IMAGE,)),
    (AveragePool((3, 2), (2, 2), Pads(1, 0, 1, 1)), (IMAGE,)),
    (AveragePool((3, 3), (1, 1), Pads(1, 1, 1, 1), count_include_pad=True), (IMAGE,)),
    (MaxPool((3, 2), (2, 1), (1, 2), Pads(1, 1, 0, 1)), (IMAGE,)),
    (Reshape((1, 42, 4)), (IMAGE,)),
    (Transpose((0, 3, 1, 2)), (IMAGE,)),
    (Pad((0, 1, 0, 2), (0, 0, 3, 1), 0.5), (IMAGE,)),
    (Pad((0, 1, 0, 0), (0, 0, 3, 0)), (IMAGE,)),
    (Concat(3), (IMAGE, IMAGE)),
    (Rescale(), (IMAGE,)),
    (FakeQuantize(IntType.INT8, 0.125, 3), (IMAGE,)),
    (Take((None, (3, 0, 0), None, (2, 1))), (IMAGE,)),
    (
        ResizeLinear(
            Interpolation.at(np.linspace(-0.2, 6.3, 9), 7), Interpolation.at(np.linspace(0, 5, 4), 6)
        ),
        (IMAGE,),
    ),
    (ArgMax(3), (IMAGE,)),
    (ArgMax(2, sign=-1, last=True), (IMAGE,)),
    (Tabulated(np.sin(np.arange(256.0) / 20), 0.03, 5), (IMAGE,)),
    (LpNormalize(3), (IMAGE,)),
    (LpNormalize(1, p=1), (IMAGE,)),
    (LogSoftmax(3), (IMAGE,)),
    (Softmax(3), (IMAGE,)),
    (MatMul(), ((1, 2, 5, 4), (1, 2, 4, 3))),
    (MatMul(transpose_b=True, factor=0.3), ((1, 2, 5, 4), (1, 2, 3, 4))),
    (Div(), (IMAGE, (1, 1, 1, 4))),
    (Magnitude(), (IMAGE, IMAGE)),
    (FOREST, ((1, 4),)),
    (Embedding(RNG.normal(size=(3, 4))), ((1, 5),)),
    (Standardize(3, RNG.normal(size=4), RNG.normal(size=4)), (IMAGE,)),
    (Standardize(1, np.ones(1), np.zeros(1), groups=2), (IMAGE,)),
    (Standardize(2, RNG.normal(size=4), np.zeros(1), groups=4, centered=False, epsilon=0.1), (IMAGE,)),
    (LSTM(RNG.normal(size=(12, 4)), RNG.normal(size=(12, 3)), RNG.normal(size=12)), (SEQUENCE,)),
    (
        LSTM(
            RNG.normal(size=(12, 4)),
            RNG.normal(size=(12, 2)),
            RNG.normal(size=12),
            RNG.normal(size=(3, 3)),
            RNG.normal(size=(2, 3)),
            reverse=True,
            gives="last",
        ),
        (SEQUENCE, (1, 1, 2), (1, 1, 3)),
    ),
    (
        LSTM(RNG.normal(size=(12, 4)), RNG.normal(size=(12, 3)), RNG.normal(size=12), gives="states"),
        (SEQUENCE, (1, 1, 3), (1, 1, 3)),
    ),
    (GRU(RNG.normal(size=(9, 4)), RNG.normal(size=(9, 3)), RNG.normal(size=9), np.zeros(3)), (SEQUENCE,)),
    (
        GRU(RNG.normal(size=(9, 4)), RNG.normal(size=(9, 3)), RNG.normal(size=9), RNG.normal(size=3), True),
        (SEQUENCE, (1, 1, 3)),
    ),
    (RNN(RNG.normal(size=(3, 4)), RNG.normal(size=(3, 3)), RNG.normal(size=3)), (SEQUENCE,)),
    *((Elementwise(function, 0.7), (IMAGE,)) for function in sorted(FUNCTIONS)),
]


def of_inputs(op: Op, shapes: tuple[Shape, ...]) -> Graph:
    """The operator alone, its inputs x0, x1, ... and its output y."""
    names = tuple(f"x{i}" for i in range(len(shapes)))
    ports = tuple(Port(name, name, shape) for name, shape in zip(names, shapes, strict=True))
    return Graph("net", ports, (Port("y", "y", op.infer_shape(*shapes)),), (Node("layer", op, names, "y"),))


def operator_name(value: object) -> str:
    """How tests over EXAMPLES are named."""
    return type(value).__name__ if isinstance(value, Op) else ""
