"""The kernels of detection and segmentation networks equal their operators on every bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dfqgen.kernels import REGISTRY
from dfqgen.targets import Isa
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import Case
from tests.kernels.strategies_more import FAMILIES
from tests.kernels.test_portable import SANITIZE, check


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
