"""The sources of all kernels under AddressSanitizer and UBSan: no byte beyond any buffer is even read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dfqgen.targets import Isa
from tests.kernels import strategies, strategies_more
from tests.kernels.board import run_under_sanitizers, runs_of
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent
from tests.tools import needs

FAMILIES = [
    strategies.convolutions(),
    strategies.winograd(),
    strategies.depthwise(),
    strategies.pointwise(),
    strategies.low_bits(),
    strategies.wide(),
    strategies.interpolations(),
    strategies.sums(),
    strategies.pools(),
    strategies.lookups(),
    strategies.moves(),
    strategies.softmaxes(),
    *strategies_more.FAMILIES.values(),
    recurrent(),
]


@needs("gcc")
@pytest.mark.parametrize("isa", list(Isa))
def test_kernels_keep_to_their_buffers(tmp_path: Path, isa: Isa) -> None:
    cases: list[Case] = []

    @settings(
        max_examples=200, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(FAMILIES))
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    run_under_sanitizers([run for case in cases for run in runs_of(case, isa)], tmp_path)
