"""Every Helium kernel equals its operator on every bit.

Here the C beside the instructions, on this machine; test_mve_qemu.py runs the instructions.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.kernels import REGISTRY
from dfqgen.kernels.mve import conv as mve_conv
from dfqgen.kernels.mve import gemm as mve_gemm
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS
from dfqgen.plan.kernels import price
from dfqgen.targets import Isa, load_target
from tests.kernels import strategies, strategies_more
from tests.kernels.library import KernelLibrary, check_exact
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent


@pytest.fixture(scope="module")
def library() -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.MVE, ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"))


@st.composite
def deep_pointwise(draw: st.DrawFn) -> Case:
    """Depths that fill vectors, with and without stride."""
    image = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (1, 3)]))
    depth = 16 * draw(st.integers(1, 11))
    channels = draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 65, 80, 144])))
    return strategies.conv_case(
        draw(strategies.rngs), image, (1, 1), stride, (1, 1), NO_PADS, 1, depth, channels
    )


@st.composite
def wide_depthwise(draw: st.DrawFn) -> Case:
    """Several blocks of channels."""
    shape = draw(strategies.windows())
    return strategies.conv_case(draw(strategies.rngs), *shape, draw(st.integers(16, 50)), 1, 1)


FAMILIES = {
    "convolution": strategies.convolutions(),
    "deep pointwise": deep_pointwise(),
    "depthwise": strategies.depthwise(),
    "wide depthwise": wide_depthwise(),
    "pointwise": strategies.pointwise(),
    "sum": strategies.sums(),
    "broadcast": strategies_more.broadcasts(),
    "pool": strategies.pools(),
    "lookup": strategies.lookups(),
    "low bits": strategies.low_bits(),
    "int16": strategies.wide(),
    "int16 product": strategies_more.wide_products(),
    "recurrent": recurrent(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_equal_the_operator_in_place_too(library: KernelLibrary, family: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(FAMILIES[family])
    def run(case: Case) -> None:
        check_exact(library, case, Isa.MVE)

    run()


@given(st.integers(1, 100))
def test_each_channel_has_one_lane(channels: int) -> None:
    order = mve_gemm.tile_channels(channels)
    assert sorted(order[order >= 0].tolist()) == list(range(channels))
    assert order.shape == (-(-channels // 4), 4)


@given(deep_pointwise())
def test_deep_pointwise_layers_need_no_strip(case: Case) -> None:
    op = case.op
    assert isinstance(op, QConv2D)
    (kernel,) = (
        kernel
        for kernel in REGISTRY.candidates(op, case.inputs, case.output, [Isa.MVE])
        if isinstance(kernel, mve_conv.PointwiseS8S8MveKernel)
    )
    assert kernel.scratch_bytes(op, case.inputs, case.output) == 0


@pytest.mark.parametrize("pixels", [1, 9, 125, 576])
@pytest.mark.parametrize("channels", [(16, 32), (64, 64), (128, 256)])
def test_the_kernel_without_a_strip_is_the_cheapest(pixels: int, channels: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    case = strategies.conv_case(rng, (1, pixels), (1, 1), (1, 1), (1, 1), NO_PADS, 1, *channels)
    target = load_target("cortex-m55")
    kernels = REGISTRY.candidates(case.op, case.inputs, case.output, target.isas)
    kernel = min(kernels, key=lambda each: price(each, case.op, case.inputs, case.output, target)[0])
    assert isinstance(kernel, mve_conv.PointwiseS8S8MveKernel)
