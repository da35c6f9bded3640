"""Every portable kernel equals its operator on every bit, wherever its output may lie."""

from __future__ import annotations

import platform

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.kernels import REGISTRY
from dfqgen.targets import Isa
from tests.kernels import strategies
from tests.kernels.library import KernelLibrary, check_exact
from tests.kernels.strategies import Case

# Undefined behaviour stops the test run: these libraries are the sources a microcontroller runs.
SANITIZE = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
VARIANTS = {
    "scalar": SANITIZE,  # Cortex-M3
    "eight registers": (*SANITIZE, "-DDFQ_EIGHT_REGISTERS=1"),  # Cortex-M0
    "vector": ("-mavx2",),
}


@pytest.fixture(scope="module", params=VARIANTS)
def library(request: pytest.FixtureRequest) -> KernelLibrary:
    if request.param == "vector" and not _has_avx2():
        pytest.skip("this machine has no AVX2")
    return KernelLibrary(REGISTRY, Isa.PORTABLE, VARIANTS[request.param])


def _has_avx2() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    with open("/proc/cpuinfo") as file:
        return "avx2" in file.read()


def check(library: KernelLibrary, case: Case, supported: bool = True) -> None:
    """Every portable kernel; there must be one."""
    assert check_exact(library, case, Isa.PORTABLE) or not supported


FAMILIES = {
    "convolution": strategies.convolutions(),
    "winograd": strategies.winograd(),
    "depthwise": strategies.depthwise(),
    "pointwise": strategies.pointwise(),
    "sum": strategies.sums(),
    "pool": strategies.pools(),
    "lookup": strategies.lookups(),
    "move": strategies.moves(),
    "softmax": strategies.softmaxes(),
    "int16": strategies.wide(),
    "int16 functions": strategies.interpolations(),
    "int16 sum": strategies.wide_sums(),
    "int16 maximum": strategies.wide_maxima(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_equal_the_operator_in_place_too(library: KernelLibrary, family: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(FAMILIES[family])
    def run(case: Case) -> None:
        check(library, case)

    run()


@settings(max_examples=200, deadline=None)
@given(st.one_of(*FAMILIES.values()))
def test_work_and_scratch_are_sane(case: Case) -> None:
    for kernel in REGISTRY.candidates(case.op, case.inputs, case.output, [Isa.PORTABLE]):
        assert all(count >= 0 for count in kernel.work(case.op, case.inputs, case.output).values())
        assert kernel.scratch_bytes(case.op, case.inputs, case.output) >= 0
