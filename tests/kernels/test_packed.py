"""Kernels of packed 2-, 3-, 4- and 6-bit weights equal the operator on every bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.fixedpoint.qtype import IntType
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.packing import PACKED_TYPES, pack, packed_bytes
from dfqgen.targets import Isa
from tests.kernels import strategies
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import Case
from tests.kernels.test_portable import VARIANTS, _has_avx2, check

SHAPES = st.one_of(strategies.convolutions(), strategies.depthwise(), strategies.pointwise())


@pytest.fixture(scope="module", params=VARIANTS)
def library(request: pytest.FixtureRequest) -> KernelLibrary:
    if request.param == "vector" and not _has_avx2():
        pytest.skip("this machine has no AVX2")
    return KernelLibrary(REGISTRY, Isa.PORTABLE, VARIANTS[request.param])


@pytest.mark.parametrize("dtype", PACKED_TYPES, ids=str)
def test_portable_kernels_equal_the_operator(library: KernelLibrary, dtype: IntType) -> None:
    @settings(max_examples=100, deadline=None)
    @given(SHAPES)
    def run(case: Case) -> None:
        check(library, strategies.narrowed(case, dtype))

    run()


@pytest.mark.parametrize("dtype", PACKED_TYPES, ids=str)
@given(size=st.integers(1, 200))
def test_packing_wastes_nothing_but_the_last_group(dtype: IntType, size: int) -> None:
    words = pack(np.zeros(size, np.int8), dtype)
    assert words.nbytes == packed_bytes(size, dtype)
    assert 0 <= words.nbytes - size * dtype.bits / 8 < 4 * dtype.bits


@given(SHAPES, st.sampled_from([IntType.INT8, *PACKED_TYPES]))
def test_each_width_has_kernels_of_its_own(case: Case, dtype: IntType) -> None:
    narrow = strategies.narrowed(case, dtype)
    isas = [Isa.PORTABLE]
    names = {k.function for k in REGISTRY.candidates(narrow.op, narrow.inputs, narrow.output, isas)}
    assert names
    assert all(("s8sn" in name) == (dtype is not IntType.INT8) for name in names)
