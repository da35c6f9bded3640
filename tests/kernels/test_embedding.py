"""Rows of tables: the C equals them on every bit, for numbers beyond the table too."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.kernels import REGISTRY
from dfqgen.ops.embedding import Embedding
from dfqgen.targets import Isa
from tests.kernels.library import KernelLibrary
from tests.kernels.strategies import make_case, rngs
from tests.kernels.strategies_attention import qtypes
from tests.kernels.test_portable import SANITIZE, check

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


def test_the_kernel_equals_the_operator() -> None:
    library = KernelLibrary(REGISTRY, Isa.PORTABLE, SANITIZE)
    sizes = st.tuples(st.integers(1, 6), st.integers(1, 200), st.integers(1, 9))
    types = st.sampled_from([IntType.INT8, IntType.INT16])

    @settings(max_examples=100, deadline=None)
    @given(rngs, sizes, types, st.integers(-128, 100), qtypes())
    def run(
        rng: np.random.Generator, sizes: tuple[int, int, int], dtype: IntType, offset: int, y: QType
    ) -> None:
        count, rows, channels = sizes
        inputs = (QTensor("x", (1, count), QType(dtype, 1.0, offset)),)
        output = QTensor("y", (1, count, channels), y)
        op = Embedding(rng.normal(0.0, 40 * y.scale, (rows, channels)))
        (integer,) = op.lower(Site("op", inputs, output, UNCLIPPED))
        check(library, make_case(integer, inputs, output, rng))

    run()
