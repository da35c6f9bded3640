"""The kernels of recurrent layers equal their operators on every bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dfqgen.kernels import REGISTRY
from dfqgen.targets import Isa
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent
from tests.kernels.test_portable import SANITIZE, check


@pytest.fixture(scope="module", params=["", "-DDFQ_EIGHT_REGISTERS=1"])
def library(request: pytest.FixtureRequest) -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.PORTABLE, (*SANITIZE, *filter(None, [request.param])))


def test_recurrent_kernels_equal_the_operator(library: KernelLibrary) -> None:
    @settings(max_examples=250, deadline=None)
    @given(recurrent())
    def run(case: Case) -> None:
        check(library, case)

    run()
