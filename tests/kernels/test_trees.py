"""Sums of trees: the C equals them on every bit, and each decision is the one that the integer stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.kernels import REGISTRY
from dfqgen.ops.trees import TreeEnsemble, reached
from dfqgen.targets import Isa
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import Case, make_case, rngs
from tests.kernels.strategies_attention import qtypes
from tests.kernels.test_portable import SANITIZE, check

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


def forest(rng: np.random.Generator, trees: int, features: int, outputs: int) -> TreeEnsemble:
    """Random trees, some of them a leaf alone."""
    feature: list[int] = []
    children: list[list[int]] = []
    leaves = 0

    def grow(depth: int) -> int:
        nonlocal leaves
        if depth == 0 or rng.random() < 0.2:
            leaves += 1
            return -leaves
        node = len(feature)
        feature.append(int(rng.integers(features)))
        children.append([0, 0])
        children[node] = [grow(depth - 1), grow(depth - 1)]
        return node

    roots = [grow(int(rng.integers(0, 5))) for _ in range(trees)]
    return TreeEnsemble(
        np.array(feature, np.int64),
        rng.normal(size=len(feature)),
        np.array(children, np.int64).reshape(-1, 2),
        np.array(roots),
        rng.normal(size=(leaves, outputs)),
        rng.normal(size=outputs),
    )


def lowered(op: TreeEnsemble, features: int, x: QType, y: QType, rng: np.random.Generator) -> Case:
    inputs = (QTensor("x", (1, features), x),)
    output = QTensor("y", (1, op.leaves.shape[1]), y)
    (integer,) = op.lower(Site("op", inputs, output, UNCLIPPED))
    return make_case(integer, inputs, output, rng)


@pytest.fixture(scope="module")
def library() -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.PORTABLE, SANITIZE)


def test_the_kernel_equals_the_operator(library: KernelLibrary) -> None:
    @settings(max_examples=100, deadline=None)
    @given(rngs, st.integers(1, 6), st.integers(1, 9), st.integers(1, 4), qtypes(), qtypes())
    def run(rng: np.random.Generator, trees: int, features: int, outputs: int, x: QType, y: QType) -> None:
        check(library, lowered(forest(rng, trees, features, outputs), features, x, y, rng))

    run()


@pytest.mark.parametrize("dtype", [IntType.INT8, IntType.INT16], ids=str)
def test_integers_take_the_way_of_the_reals_that_they_stand_for(dtype: IntType) -> None:
    rng = np.random.default_rng(3)
    op = forest(rng, 5, 4, 3)
    qtype = QType(dtype, 0.03 if dtype is IntType.INT8 else 1e-4, 7 if dtype is IntType.INT8 else 0)
    out = QType(dtype, 0.1 if dtype is IntType.INT8 else 4e-4)
    integer = lowered(op, 4, qtype, out, rng).op
    q = rng.integers(-100, 101, (200, 4)).astype(dtype.carrier)
    real = (q.astype(np.float64) - qtype.zero_point) * qtype.scale
    expected = reached(real, op.feature, op.threshold, op.children, op.roots)
    np.testing.assert_array_equal(
        reached(q, integer.feature, integer.threshold, integer.children, integer.roots),  # type: ignore[attr-defined]
        expected,
    )
    difference = integer.evaluate(q) * out.scale - op.evaluate(real)
    assert np.abs(difference).max() < 0.6 * out.scale
