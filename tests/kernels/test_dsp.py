"""Every Arm DSP kernel equals its operator on every bit.

Here the C beside the instructions, on this machine; test_dsp_qemu.py runs the instructions.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import Requantize
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.dsp.matmul import Rows, can_pair, rows_of
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.targets import Isa
from tests.kernels import strategies, strategies_more
from tests.kernels.library import KernelLibrary, check_exact
from tests.kernels.strategies import Case
from tests.kernels.strategies_recurrent import recurrent


@pytest.fixture(scope="module")
def library() -> KernelLibrary:
    return KernelLibrary(REGISTRY, Isa.DSP, ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"))


@st.composite
def depthwise3x3(draw: st.DrawFn) -> Case:
    """Both strides, any padding that leaves an output."""
    stride = draw(st.sampled_from([1, 2]))
    pad = st.integers(0, 3)
    pads = draw(
        st.one_of(st.just(Pads(1, 1, 1, 1)), st.just(Pads(0, 0, 1, 1)), st.builds(Pads, pad, pad, pad, pad))
    )
    height = draw(st.integers(max(1, 3 - pads.top - pads.bottom), 12))
    width = draw(st.integers(max(1, 3 - pads.left - pads.right), 12))
    return strategies.conv_case(
        draw(strategies.rngs), (height, width), (3, 3), (stride, stride), (1, 1), pads,
        draw(st.integers(2, 13)), 1, 1,
    )  # fmt: skip


@st.composite
def wide_depthwise3x3(draw: st.DrawFn) -> Case:
    return draw(strategies.with_int16(draw(depthwise3x3())))


@st.composite
def whole_image(draw: st.DrawFn) -> Case:
    """A window as large as the image: a fully connected layer."""
    image = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    channels = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return strategies.conv_case(draw(strategies.rngs), image, image, (1, 1), (1, 1), NO_PADS, 1, *channels)


@st.composite
def wide_whole_image(draw: st.DrawFn) -> Case:
    return draw(strategies.with_int16(draw(whole_image())))


@st.composite
def wide_in_chunks(draw: st.DrawFn) -> Case:
    """Weights that do not lie in scratch all at once, before tiles of pixels and before all of them."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3)]))
    depth = draw(st.sampled_from([60, 128, 129, 200, 256, 300])) // (kernel[0] * kernel[1])
    channels = 4200 // (depth * kernel[0] * kernel[1]) + draw(st.integers(0, 9))
    image = (draw(st.integers(3, 8)), draw(st.integers(3, 8)))
    stride, pad = draw(st.sampled_from([1, 2])), draw(st.integers(0, kernel[0] // 2))
    shape = (image, kernel, (stride, stride), (1, 1), Pads(pad, pad, pad, pad), 1, depth, channels)
    return draw(strategies.with_int16(strategies.conv_case(draw(strategies.rngs), *shape)))


FAMILIES = {
    "convolution": strategies.convolutions(),
    "winograd": strategies.winograd(),
    "depthwise": strategies.depthwise(),
    "depthwise 3x3": depthwise3x3(),
    "pointwise": strategies.pointwise(),
    "fully connected": whole_image(),
    "sum": strategies.sums(),
    "pool": strategies.pools(),
    "lookup": strategies.lookups(),
    "low bits": strategies.low_bits(),
    "int16": strategies.wide(),
    "int16 depthwise 3x3": wide_depthwise3x3(),
    "int16 in chunks": wide_in_chunks(),
    "int16 fully connected": wide_whole_image(),
    "int16 sum": strategies.wide_sums(),
    "int16 maximum": strategies.wide_maxima(),
    "int16 product": strategies_more.wide_products(),
    "int16 resize": strategies_more.wide_resizes(),
    "recurrent": recurrent(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_equal_the_operator_in_place_too(library: KernelLibrary, family: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(FAMILIES[family])
    def run(case: Case) -> None:
        check_exact(library, case, Isa.DSP)

    run()


def layer(weight: np.ndarray, bias: list[int], form: Requantize) -> tuple[QConv2D, QTensor, QTensor]:
    """A pointwise layer over 2x3 pixels."""
    rng = np.random.default_rng(0)
    case = strategies.conv_case(rng, (2, 3), (1, 1), (1, 1), (1, 1), NO_PADS, 1, weight.shape[1], len(weight))
    op = case.op
    assert isinstance(op, QConv2D)
    packed = weight.reshape(len(weight), 1, 1, -1).astype(np.int8)
    fields = {name: getattr(op, name) for name in ("name", "inputs", "output", "weight_type", "stride")}
    fields |= {name: getattr(op, name) for name in ("dilation", "pads", "pad_value", "groups")}
    changed = QConv2D(weight=packed, bias=np.array(bias, np.int32), requantize=form, **fields)
    return changed, case.inputs[0], case.output


def test_a_dead_channel_does_not_shift_the_others() -> None:
    weight = np.array([[100, -100, 3, 4], [0, 0, 0, 0], [2, 1, -1, 0]])
    form = Requantize.from_scale(np.array([0.01, 1.7, 0.6]), 5, -128, 127)
    op, _, _ = layer(weight, [7, 30, -9], form)
    rows = rows_of(op)
    assert form.pre_shift > 0
    assert rows.pre_shift == 0
    inputs = np.random.default_rng(1).integers(-128, 128, (50, 4))
    plain = form.apply(inputs @ weight.T + op.bias)
    product = (inputs @ rows.weight.T + rows.bias) * rows.multiplier + (1 << 31)
    np.testing.assert_array_equal(np.clip(5 + (product >> 32), -128, 127), plain)


def test_sums_beyond_24_bits_are_not_paired() -> None:
    small = Rows(np.full((2, 8), 100), np.zeros(2, np.int64), np.ones(2, np.int64), 0)
    assert can_pair(small)
    assert not can_pair(Rows(small.weight, np.array([0, 1 << 23]), small.multiplier, 0))
    assert can_pair(Rows(small.weight, np.array([1 << 23, 0]), small.multiplier, 0))
    assert not can_pair(Rows(np.array([[-1] * 8, [-128] * 8]), small.bias, small.multiplier, 0))
    assert can_pair(Rows(np.array([[0] * 8, [-128] * 8]), small.bias, small.multiplier, 0))


@pytest.mark.parametrize("bias", [0, 1 << 23, -(1 << 27)])
def test_large_biases_stay_exact(library: KernelLibrary, bias: int) -> None:
    rng = np.random.default_rng(2)
    weight = rng.integers(-128, 128, (6, 12))
    form = Requantize.from_scale(np.full(6, 2.0**-20), -3, -128, 127)
    op, x, y = layer(weight, [bias] * 6, form)
    values = rng.integers(-128, 128, x.shape).astype(np.int8)
    for kernel in REGISTRY.candidates(op, (x,), y, [Isa.DSP]):
        found = library.run(kernel, op, (x,), y, (values,))
        np.testing.assert_array_equal(found, op.evaluate(values))
