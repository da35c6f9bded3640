"""No operator is half there: whoever adds one is told what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dfqgen.fixedpoint.program import QOp
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.ops import float_operators, integer_operators
from tests.ops.completeness import complaint, missing_from, missing_from_integer

FLOAT = [kind for kind in float_operators().values() if kind.__module__.startswith("dfqgen.")]
INTEGER = [kind for kind in integer_operators().values() if kind.__module__.startswith("dfqgen.")]


@pytest.mark.parametrize("kind", FLOAT, ids=lambda kind: kind.__name__)
def test_a_float_operator_is_complete(kind: type[Op]) -> None:
    missing = missing_from(kind)
    assert not missing, complaint(kind, missing)


@pytest.mark.parametrize("kind", INTEGER, ids=lambda kind: kind.__name__)
def test_an_integer_operator_is_complete(kind: type[QOp]) -> None:
    missing = missing_from_integer(kind)
    assert not missing, complaint(kind, missing)


@dataclass(frozen=True, slots=True, eq=False)
class Halved(Op):
    """x / 2, by somebody who stopped here."""

    def infer_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0] / 2


@dataclass(frozen=True, slots=True, eq=False)
class QHalved(QOp):
    name: str
    inputs: tuple[str, ...]
    output: str

    def evaluate(self, *inputs: Array) -> Array:
        return inputs[0] >> 1


def test_an_incomplete_operator_is_told_what_it_lacks() -> None:
    assert complaint(Halved, missing_from(Halved)) == (  # type: ignore[type-abstract]
        "Halved lacks lower, propagate, reshaped, transposed, "
        "an importer in dfqgen/frontend/importers (or a pass) that makes it, "
        "an example in tests/ops/examples.py, a torch function in dfqgen/synthesis/torch_graph.py"
    )
    assert complaint(QHalved, missing_from_integer(QHalved)) == (  # type: ignore[type-abstract]
        "QHalved lacks verify, a docstring that says its exact integer meaning, a kernel in dfqgen/kernels"
    )


def test_an_incomplete_operator_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="transposed"):
        Halved()  # type: ignore[abstract]
