"""Derivatives of the operators, against differences of the operators themselves."""

from __future__ import annotations

import numpy as np
import pytest

from dfqgen.graph.ir import Op
from dfqgen.ops.add import Add
from dfqgen.ops.concat import Concat
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.take import Take
from dfqgen.ops.windows import Pads
from dfqgen.statistics.pullback import pullback

RNG = np.random.default_rng(0)
IMAGE, ROW = (2, 6, 5, 4), (2, 1, 1, 4)


def weight(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


OPS: list[tuple[Op, tuple[tuple[int, ...], ...]]] = [
    (Conv2D(weight(6, 3, 2, 4), np.zeros(6), (2, 1), (1, 2), Pads(1, 0, 2, 1)), (IMAGE,)),
    (Conv2D(weight(4, 3, 3, 1), np.zeros(4), pads=Pads(1, 1, 1, 1), groups=4), (IMAGE,)),
    (Conv2D(weight(6, 1, 1, 2), np.zeros(6), groups=2), (IMAGE,)),
    (AveragePool((3, 2), (2, 2), Pads(1, 0, 1, 1)), (IMAGE,)),
    (MaxPool((3, 3), (2, 1), pads=Pads(1, 1, 0, 0)), (IMAGE,)),
    (Clip.of(-0.5, 0.8), (IMAGE,)),
    (Elementwise("sigmoid"), (IMAGE,)),
    (PRelu(np.array([0.1, 0.2, -0.3, 0.0])), (IMAGE,)),
    (Add(-1), (IMAGE, ROW)),
    (Mul(), (IMAGE, ROW)),
    (Softmax(3), (IMAGE,)),
    (LogSoftmax(3), (IMAGE,)),
    (Reshape((1, 30, 4)), (IMAGE,)),
    (Transpose((0, 3, 1, 2)), (IMAGE,)),
    (Pad((0, 1, 0, 0), (0, 0, 2, 1), 3.0), (IMAGE,)),
    (Concat(2), (IMAGE, (2, 6, 3, 4))),
    (Take.along(2, (4, 0, 0, 3), 4), (IMAGE,)),
    (
        ResizeLinear(Interpolation.at(np.linspace(0, 5, 9), 6), Interpolation.at(np.linspace(0, 4, 3), 5)),
        (IMAGE,),
    ),
]


def off_the_kinks(x: np.ndarray) -> np.ndarray:
    """Values near x, none within 0.003 of a multiple of 0.01: where clips bend, a difference misleads."""
    return np.round(x, 2) + 0.005 + RNG.uniform(-0.002, 0.002, x.shape)


@pytest.mark.parametrize(("op", "shapes"), OPS, ids=lambda value: type(value).__name__)
def test_a_reaction_pulled_back_predicts_small_changes(op: Op, shapes: tuple[tuple[int, ...], ...]) -> None:
    inputs = tuple(off_the_kinks(RNG.normal(size=shape)) for shape in shapes)
    output = op.evaluate(*inputs)
    back = RNG.normal(size=output.shape)
    pull = pullback(op, inputs, output)
    pull(RNG.normal(size=output.shape))  # another reaction before leaves nothing behind
    pulled = pull(back)
    for index, reaction in enumerate(pulled):
        change = 1e-6 * RNG.normal(size=shapes[index])
        moved = tuple(x + change if i == index else x for i, x in enumerate(inputs))
        expected = float(np.sum(back * (op.evaluate(*moved) - output)))
        assert reaction.shape == shapes[index]
        assert float(np.sum(reaction * change)) == pytest.approx(expected, rel=0.02, abs=2e-8)
