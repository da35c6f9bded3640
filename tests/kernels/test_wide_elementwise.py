"""Sums, pools and moves between int16 tensors: the int8 cases widened, every bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels import REGISTRY
from dfqgen.ops.add import DROPPED, QAdd
from dfqgen.ops.movement import QPad, QTranspose
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.targets import Isa
from tests.kernels import strategies
from tests.kernels.library import KernelLibrary, check_exact
from tests.kernels.strategies import Case
from tests.kernels.test_portable import SANITIZE


@pytest.fixture(scope="module")
def library() -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.PORTABLE, SANITIZE)


def as_int16(tensor: QTensor) -> QTensor:
    return replace(tensor, qtype=replace(tensor.qtype, dtype=IntType.INT16))


def fine_multipliers(op: QAdd, fine: int, rng: np.random.Generator) -> tuple[int, int]:
    """Of int16: with one bit less, or with bits that the sum of products loses."""
    first, second = (m // 2 >> op.dropped for m in op.multipliers)
    if not fine:
        return first, second
    low = rng.integers(0, 1 << 15, 2)
    return (first << 15) + int(low[0]), (second << 15) + int(low[1])


def widened(case: Case, rng: np.random.Generator) -> Case:
    """The same operator between int16 tensors, its constants as far out as 16 bits reach."""
    op = case.op
    zero = int(rng.integers(-32768, 32768))
    if isinstance(op, QAdd):
        fine = int(rng.integers(0, 2))
        op = replace(
            op,
            multipliers=fine_multipliers(op, fine, rng),
            dropped=DROPPED[IntType.INT16] * fine,
            offset=zero << op.shift if abs(zero) << op.shift < 1 << 29 else 1 << (op.shift - 1),
            lo=op.lo * 200,
            hi=op.hi * 200,
        )
    elif isinstance(op, QAveragePool):
        op = replace(
            op, input_zero_point=zero, zero_point=zero // 2, lo=op.lo * 200, hi=op.hi * 200, even_count=0
        )
    elif isinstance(op, QPad):
        op = replace(op, value=zero)
    else:
        assert isinstance(op, QMaxPool | QTranspose)
    inputs, output = tuple(as_int16(x) for x in case.inputs), as_int16(case.output)
    try:
        return strategies.make_case(op, inputs, output, rng)
    except ProgramError:
        assume(False)
        raise


@st.composite
def wide(draw: st.DrawFn, narrow: st.SearchStrategy[Case]) -> Case:
    case = draw(narrow)
    assume(not isinstance(case.op, QTranspose))
    return widened(case, draw(strategies.rngs))


FAMILIES = {
    "sum": wide(strategies.sums()),
    "pool": wide(strategies.pools()),
    "move": wide(strategies.moves()),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_int16_kernels_equal_the_operator_in_place_too(library: KernelLibrary, family: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(FAMILIES[family])
    def run(case: Case) -> None:
        assert check_exact(library, case, Isa.PORTABLE)

    run()
