"""Products of activations, normalizations and quotients: their C equals them on every bit, and they are close
to the float ones.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Op
from dfqgen.graph.site import Site
from dfqgen.kernels import REGISTRY
from dfqgen.ops.divide import Div
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul, QMatMul
from dfqgen.ops.standardize import Standardize
from dfqgen.targets import Isa
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import Case
from tests.kernels.strategies_attention import FAMILIES
from tests.kernels.test_portable import SANITIZE, check

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def library() -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.PORTABLE, SANITIZE)


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_equal_the_operator_in_place_too(library: KernelLibrary, family: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(FAMILIES[family])
    def run(case: Case) -> None:
        check(library, case)

    run()


def fitting(values: np.ndarray, dtype: IntType) -> QType:
    """The type that just holds these values."""
    lo, hi = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if dtype is IntType.INT16:
        return QType(dtype, max(hi, -lo) / dtype.maximum)
    scale = (hi - lo) / 255
    return QType(dtype, scale, round(-128 - lo / scale))


TOKENS = RNG.normal(1.0, 2.0, (4, 9, 24))
CASES: dict[str, tuple[Op, tuple[np.ndarray, ...]]] = {
    "layer": (Standardize(2, RNG.normal(size=24), RNG.normal(size=24)), (TOKENS,)),
    "rms": (Standardize(2, RNG.normal(size=24), np.zeros(1), centered=False), (TOKENS,)),
    "instance": (Standardize(1, np.ones(1), np.zeros(1), groups=24), (TOKENS,)),
    "group": (Standardize(1, RNG.normal(size=24), RNG.normal(size=24), groups=4), (TOKENS,)),
    "nearly constant": (Standardize(2, np.ones(1), np.zeros(1), epsilon=1e-3), (5.0 + 0.1 * TOKENS,)),
    "matmul": (MatMul(factor=0.2), (TOKENS, RNG.normal(size=(4, 24, 7)))),
    "rows": (MatMul(transpose_b=True), (TOKENS, RNG.normal(size=(4, 500, 24)))),
    "deep": (MatMul(), (RNG.normal(size=(4, 3, 2000)), RNG.normal(size=(4, 2000, 3)))),
    "quotient": (Div(), (TOKENS, RNG.uniform(0.5, 2.0, (4, 9, 1)))),
    "negative quotient": (Div(), (TOKENS, RNG.uniform(-2.0, -0.5, (4, 1, 24)))),
    "magnitude": (Magnitude(), (TOKENS, 0.3 * TOKENS[:, ::-1])),
    "repeated magnitude": (Magnitude(), (TOKENS, RNG.normal(size=(4, 9, 1)))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [IntType.INT8, IntType.INT16], ids=str)
def test_integers_are_off_by_no_more_than_their_steps(name: str, dtype: IntType) -> None:
    """Of a float result on the very values that the integers stand for: less than 1.5."""
    op, reals = CASES[name]
    types = [fitting(x, dtype) for x in reals]
    integers = [qtype.quantize(x) for qtype, x in zip(types, reals, strict=True)]
    seen = [qtype.dequantize(q).astype(np.float64) for qtype, q in zip(types, integers, strict=True)]
    expected = op.evaluate(*seen)
    result = fitting(expected, dtype)
    names = tuple("ab"[: len(reals)])
    inputs = tuple(
        QTensor(n, (1, *x.shape[1:]), qtype) for n, x, qtype in zip(names, reals, types, strict=True)
    )
    output = QTensor("y", op.infer_shape(*(x.shape for x in inputs)), result)
    (integer,) = op.lower(Site("op", inputs, output, UNCLIPPED))
    integer.verify(inputs, output)
    found = integer.evaluate(*integers)
    steps = 1.5 + 6.0 * operand_noise(integer, seen, types) / result.scale
    assert np.abs(found - (expected / result.scale + result.zero_point)).max() < steps


def operand_noise(op: QOp, seen: list[np.ndarray], types: list[QType]) -> float:
    """Deviation of a product's error by the bits that its operands give up: 31 bits hold no more."""
    if not isinstance(op, QMatMul):
        return 0.0
    rounding = [qtype.scale * 2.0**s if s else 0.0 for qtype, s in zip(types, op.shifts, strict=True)]
    energies = [step**2 / 12 * np.square(x).mean() for step, x in zip(rounding, reversed(seen), strict=True)]
    return float(np.sqrt(seen[0].shape[-1] * sum(energies)))
