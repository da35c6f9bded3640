"""Winograd's algorithm: integers all the way, exact up to its bound, flash spent where there is some."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import INT32_MAX, Program, QPort
from dfqgen.fixedpoint.qtype import Requantize
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.winograd import LINE, SQUARE, Tiles, is_exact, is_winograd_layer, transformed
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.windows import NO_PADS, Pads
from dfqgen.plan import Budget, plan_program
from dfqgen.recipe.records import Winograd
from dfqgen.targets import Isa, load_target
from tests.fixedpoint.edges import extremes
from tests.kernels import strategies
from tests.kernels.library import KernelLibrary, check_exact
from tests.kernels.strategies import Case

BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def conv(
    depth: int = 8,
    channels: int = 4,
    image: tuple[int, int] = (5, 6),
    kernel: tuple[int, int] = (3, 3),
    *,
    padded: bool = True,
) -> Case:
    rng = np.random.default_rng(5)
    pads = Pads(*(2 * (kernel[0] // 2, kernel[1] // 2))) if padded else NO_PADS
    return strategies.conv_case(rng, image, kernel, (1, 1), (1, 1), pads, 1, depth, channels)


def op_of(case: Case) -> QConv2D:
    assert isinstance(case.op, QConv2D)
    return case.op


def winograd_runs(case: Case) -> set[Isa]:
    """Where a kernel of the algorithm takes the layer."""
    found = REGISTRY.candidates(case.op, case.inputs, case.output, list(Isa))
    return {kernel.isa for kernel in found if kernel.spends_flash}


def test_a_tile_is_four_times_the_convolution() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-128, 128, (1, 3, 3, 1)), rng.integers(-128, 128, (4, 4))
    products = transformed(weight).reshape(4, 4) * (BT @ x @ BT.T)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
    np.testing.assert_array_equal(AT @ products @ AT.T, 4 * (windows * weight[0, :, :, 0]).sum(axis=(2, 3)))


def test_two_outputs_in_a_row_are_twice_the_convolution() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-128, 128, (1, 1, 3, 1)), rng.integers(-128, 128, 4)
    products = transformed(weight).reshape(4) * (BT @ x)
    windows = np.lib.stride_tricks.sliding_window_view(x, 3)
    np.testing.assert_array_equal(AT @ products, 2 * (windows * weight[0, 0, :, 0]).sum(axis=1))


def test_transformed_values_fit_int16_whatever_the_weights_and_inputs() -> None:
    # Each is a sum of terms of one value each: the largest magnitude has every term at its largest.
    weight = np.abs(transformed(np.eye(9, dtype=np.int64).reshape(9, 3, 3, 1))).sum(axis=0)
    assert 128 * int(weight.max()) == 1152
    assert 128 * int(np.kron(np.abs(BT), np.abs(BT)).sum(axis=1).max()) == 512


@pytest.mark.parametrize(("tiles", "factor"), [(SQUARE, 4), (LINE, 2)])
def test_four_times_or_twice_the_accumulator_must_fit_int32(tiles: Tiles, factor: int) -> None:
    assert is_exact(np.array([3, INT32_MAX // factor]), tiles)
    assert not is_exact(np.array([3, INT32_MAX // factor + 1]), tiles)


@cache
def sanitized(isa: Isa) -> KernelLibrary:
    return KernelLibrary(REGISTRY, isa, ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("kernel", "factor"), [((3, 3), 4), ((1, 3), 2)])
def test_with_the_bias_in_the_sum_it_is_exact_up_to_its_bound(
    sign: int, kernel: tuple[int, int], factor: int
) -> None:
    case, isa = conv(kernel=kernel), Isa.DSP
    op = op_of(case)
    weights = 128 * np.abs(op.weight.astype(np.int64)).sum(axis=(1, 2, 3))
    bias = sign * (INT32_MAX // factor - weights)
    form = Requantize.from_scale(np.full(4, 2.0**-23), 3, -128, 127)
    inside = replace(case, op=replace(op, bias=bias.astype(np.int32), requantize=form))
    outside = replace(case, op=replace(op, bias=(bias + sign).astype(np.int32), requantize=form))
    assert isa in winograd_runs(inside)
    assert isa not in winograd_runs(outside)
    library = sanitized(isa)
    for extreme in (inside, *extremes(inside)):
        check_exact(library, extreme, isa)


@pytest.mark.parametrize(
    ("kernel", "sums", "depth"), [((3, 3), 4 * 9, 3668), ((1, 3), 2 * 3, 22016), ((3, 1), 2 * 3, 22016)]
)
def test_with_the_bias_added_last_it_is_exact_up_to_its_bound(
    kernel: tuple[int, int], sums: int, depth: int
) -> None:
    # times 127 * 128 for each input channel of weights 127
    inside, outside = (with_largest_weights(channels, kernel) for channels in (depth, depth + 4))
    assert sums * 127 * 128 * depth <= INT32_MAX < sums * 127 * 128 * (depth + 4)
    assert Isa.PORTABLE in winograd_runs(inside)
    assert Isa.PORTABLE not in winograd_runs(outside)
    library = sanitized(Isa.PORTABLE)
    for extreme in extremes(inside):
        check_exact(library, extreme, Isa.PORTABLE)


def with_largest_weights(depth: int, kernel: tuple[int, int]) -> Case:
    case = conv(depth, 1, (2, 1 if kernel[1] == 1 else 2), kernel)
    op = op_of(case)
    form = Requantize.from_scale(np.array([2.0**-23]), 3, -128, 127)
    largest = replace(op, weight=np.full_like(op.weight, 127), bias=np.array([-9], np.int32), requantize=form)
    return replace(case, op=largest)


@pytest.mark.parametrize(
    "change",
    [{"stride": (2, 1)}, {"dilation": (1, 2)}, {"groups": 2}, {"weight": np.ones((4, 3, 3, 6), np.int8)},
     {"weight": np.ones((4, 3, 2, 8), np.int8)}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_other_convolutions_are_not_its_own(change: dict[str, object]) -> None:
    op = op_of(conv())
    assert is_winograd_layer(op, SQUARE)
    assert not is_winograd_layer(replace(op, **change), SQUARE)  # type: ignore[arg-type]


def program(depth: int) -> Program:
    """Two convolutions in a row, the second with twice the channels and fewer pixels."""
    first, second = conv(depth, depth, (16, 16)), conv(depth, 2 * depth, (16, 16), padded=False)
    x, z = first.inputs[0], replace(second.output, name="z")
    ops = (
        replace(op_of(first), name="first"),
        replace(op_of(second), name="second", inputs=("y",), output="z"),
    )
    ports = ((QPort("x", "x"),), (QPort("z", "z"),))
    return Program("net", *ports, {"x": x, "y": first.output, "z": z}, ops)


def spending(
    program: Program, budget: Budget, optimize: str = "speed", winograd: Winograd = "auto"
) -> list[bool]:
    plan = plan_program(
        program, load_target("cortex-m4"), optimize=optimize, winograd=winograd, budget=budget
    )
    return [step.kernel.spends_flash for step in plan.steps]


def test_flash_and_ram_are_spent_while_there_are_some() -> None:
    net = program(16)
    code, small, large = 2 * 1024, 9 * 16 * 16 + 8 * 16, 9 * 16 * 32 + 8 * 32
    both = code + 2 * (16 * 16 * 16 + 16 * 16 * 32) + 8 * 48
    assert spending(net, Budget()) == [True, True]
    assert spending(net, Budget(flash_bytes=both)) == [True, True]
    # The second goes first: its weights serve fewer pixels, so a byte saves fewer instructions.
    assert spending(net, Budget(flash_bytes=both - 1)) == [True, False]
    assert spending(net, Budget(flash_bytes=code + small + large)) == [False, False]
    direct = plan_program(net, load_target("cortex-m4"), winograd="off")
    assert spending(net, Budget(ram_bytes=direct.arena_bytes)) == [False, False]


def test_nothing_is_spent_on_what_was_not_measured() -> None:
    plan = plan_program(program(16), load_target("host"))
    assert not any(step.kernel.spends_flash for step in plan.steps)


def test_nothing_is_spent_for_size_or_against_the_users_wish() -> None:
    assert spending(program(16), Budget(), optimize="size") == [False, False]
    assert spending(program(16), Budget(), winograd="off") == [False, False]


def test_layers_that_are_named_spend_whatever_there_is() -> None:
    assert spending(program(16), Budget(flash_bytes=1), winograd=("second",)) == [False, True]
    with pytest.raises(UserError, match="there is no layer 'third'"):
        spending(program(16), Budget(), winograd=("first", "third"))
