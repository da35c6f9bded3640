"""Weights of few bits: rounding against the covariance, allocation, recalibration, whole programs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dfqgen.compile import quantize_prepared
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.site import QuantizedWeight
from dfqgen.methods import SampleRoom
from dfqgen.ops.conv import Conv2D, QConv2D
from dfqgen.quantization.choose_bits import mapped_bits
from dfqgen.quantization.feedback import feedback_round
from dfqgen.quantization.knapsack import Choice, Knapsack
from dfqgen.quantization.low_bit_layers import LowBitQuantizer, restoring
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.sensitivity import Sensitivity
from dfqgen.quantization.types import assign_types
from dfqgen.quantization.weights import quantize_weight
from dfqgen.recipe import make_recipe
from dfqgen.recipe.records import LowBitsRecipe, RoundingRecipe, WeightsRecipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.second_moments import InputMoments
from dfqgen.verify.host import verify_on_host
from tests.builders import chain, conv, relu
from tests.programs import STANDARD, prepare_by, program_by, write

WIDTHS = (IntType.INT2, IntType.INT4, IntType.INT8)


def moments(rng: np.random.Generator, size: int) -> InputMoments:
    factor = rng.normal(size=(size, 3))
    return InputMoments(np.zeros((1, size)), (factor @ factor.T + 0.2 * np.eye(size))[None])


def test_the_map_takes_layers_by_name_and_the_depthwise_ones_together() -> None:
    rng = np.random.default_rng(0)
    graph = chain([conv(rng, 4, 3), conv(rng, 4, 4, groups=4), conv(rng, 4, 4, groups=4), conv(rng, 2, 4)])
    two, three, six, eight = IntType.INT2, IntType.INT3, IntType.INT6, IntType.INT8
    assert mapped_bits(graph, {"depthwise": eight}) == {"t1": eight, "t2": eight}
    found = mapped_bits(graph, {"layer2": three, "depthwise": six, "layer3": two})
    assert found == {"t1": six, "t2": three, "t3": two}
    with pytest.raises(UserError, match="there is no layer 'depthwise'"):
        mapped_bits(chain([conv(rng, 4, 3)]), {"depthwise": eight})


@pytest.mark.parametrize("dtype", [IntType.INT2, IntType.INT3, IntType.INT4])
def test_feedback_rounding_beats_rounding_to_nearest_in_every_channel(dtype: IntType) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 3, 3, 4))
    seen = moments(rng, 36)
    nearest = quantize_weight(weight, WeightsRecipe(), np.zeros(8), dtype)
    found = feedback_round(weight, nearest, seen)

    def noise(of: QuantizedWeight) -> np.ndarray:
        error = of.dequantize() - weight
        return seen.product(error, error)

    assert np.all(noise(found) < noise(nearest))
    assert found.values.min() >= dtype.minimum
    assert found.values.max() <= dtype.maximum
    assert np.all(found.scale > 0)


def test_fixed_scales_stay() -> None:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(4, 1, 1, 16))
    start = quantize_weight(weight, WeightsRecipe(scales="power-of-two"), np.zeros(4), IntType.INT2)
    found = feedback_round(weight, start, moments(rng, 16), fixed_scale=True)
    np.testing.assert_array_equal(found.scale, start.scale)


def test_the_knapsack_finds_what_trying_everything_finds() -> None:
    rng = np.random.default_rng(2)
    layers = {
        f"layer{i}": [
            Choice(dtype, int(size) * dtype.bits, float(rng.uniform(0.5, 2) * 4.0**-dtype.bits))
            for dtype in WIDTHS
        ]
        for i, size in enumerate(rng.integers(5, 40, 5))
    }
    knapsack = Knapsack(layers)
    every = [
        (sum(c.size_bytes for c in picks), sum(c.noise for c in picks))
        for picks in itertools.product(*layers.values())
    ]
    for budget in range(knapsack.smallest, max(size for size, _ in every), 97):
        bits = knapsack.within(budget)
        picks = [c for name, choices in layers.items() for c in choices if c.dtype is bits[name]]
        assert sum(c.size_bytes for c in picks) <= budget
        best = min(noise for size, noise in every if size <= budget)
        assert sum(c.noise for c in picks) == pytest.approx(best)
    for noise in sorted(noise for _, noise in every)[::20]:
        bits = knapsack.below(noise * 1.0001)
        size = sum(c.size_bytes for n, choices in layers.items() for c in choices if c.dtype is bits[n])
        assert size == min(s for s, n in every if n <= noise * 1.0001)


def test_a_budget_below_the_smallest_weights_is_refused() -> None:
    knapsack = Knapsack({"a": [Choice(IntType.INT2, 100, 1.0), Choice(IntType.INT8, 400, 0.1)]})
    with pytest.raises(ValueError, match="less than"):
        knapsack.within(99)
    with pytest.raises(UserError):
        knapsack.below(0.01)


def test_recalibration_restores_means_and_deviations() -> None:
    rng = np.random.default_rng(3)
    wanted = rng.normal(2.0, 1.5, (4, 8, 8, 3))
    found = 0.8 * wanted + rng.normal(0.1, 0.2, wanted.shape)
    found[..., 2] = 1.0  # a channel that lost everything
    ratio, shift = restoring(wanted, found)
    again = found * ratio + shift
    axes = (0, 1, 2)
    np.testing.assert_allclose(again.mean(axes), wanted.mean(axes))
    np.testing.assert_allclose(again.std(axes)[:2], wanted.std(axes)[:2])
    assert ratio[2] == 1.0
    np.testing.assert_array_equal(restoring(wanted, found, keep_scale=True)[0], np.ones(3))


def test_moments_behind_a_clip_are_those_of_the_windows_that_pass() -> None:
    rng = np.random.default_rng(4)
    windows = rng.normal(size=(6000, 3)).astype(np.float32)
    windows[:, 1] = np.where(windows[:, 0] > 0, 5.0, 1.0) * windows[:, 1]
    conv = Conv2D(np.array([[[[1.0, 0.0, 0.0]]]]), np.zeros(1))
    seen = InputMoments(np.zeros((1, 3)), np.eye(3)[None], windows)
    found = seen.passing(conv, np.array([0.0]), np.array([np.inf]))
    plain = np.cov(windows.T)[1, 1]
    assert found.covariance[0, 1, 1] > 1.2 * plain
    assert replace(seen, windows=None).passing(conv, np.zeros(1), np.ones(1)).covariance.shape == (1, 3, 3)


def prepared_chain() -> Prepared:
    rng = np.random.default_rng(7)
    ops = [
        conv(rng, 16, 3),
        relu(),
        conv(rng, 16, 16),
        relu(),
        conv(rng, 16, 16, groups=16),
        relu(),
        conv(rng, 24, 16, kernel=1, pad=0),
        relu(),
        conv(rng, 8, 24),
    ]
    return prepare_by(chain(ops), {"x": InputMeaning()})


def widths_of(program: Program) -> dict[str, int]:
    return {op.name: op.weight_type.bits for op in program.ops if isinstance(op, QConv2D)}


def test_pairs_get_their_bits_and_the_ends_keep_eight(tmp_path: Path) -> None:
    recipe = make_recipe(bits="2/6")
    prepared = prepared_chain()
    found = quantize_prepared(prepared, recipe, SampleRoom(prepared.graph, {}, recipe.samples))
    assert widths_of(found.program) == {"layer0": 8, "layer2": 2, "layer4": 6, "layer6": 8, "layer8": 8}
    steps = {note.step: note.effect for note in found.notes}
    assert "1 of 2" in steps["weights of few bits"]
    assert "+ compensation" in steps["what each adds"]
    write(found.program, tmp_path / "out")
    verify_on_host(found.program, tmp_path / "out")


@pytest.mark.parametrize("percent", [50, 70])
def test_a_budget_is_kept(percent: int) -> None:
    full = program_by(prepared_chain()).weight_bytes
    program = program_by(prepared_chain(), make_recipe(flash_budget=f"{percent}%", low_ends=True))
    assert program.weight_bytes <= percent / 100 * full
    # Not much is left over: the next width of some layer would not fit.
    assert program.weight_bytes > 0.85 * percent / 100 * full


def test_less_noise_takes_more_flash() -> None:
    sizes = [
        program_by(prepared_chain(), make_recipe(target_sqnr=target)).weight_bytes
        for target in (5.0, 15.0, 25.0)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_methods_bring_the_output_closer() -> None:
    typed = assign_types(prepared_chain(), STANDARD.activations)
    bits = {f"t{i}": IntType.INT3 for i in (2, 4, 6)}

    def noise(rounding: RoundingRecipe, low_bits: LowBitsRecipe) -> float:
        quantizer = LowBitQuantizer(typed, STANDARD.weights, low_bits, rounding)
        return Sensitivity(quantizer).noise_of(quantizer.quantize(bits).float_graph())

    alone, feedback = LowBitsRecipe(compensate="none"), RoundingRecipe("feedback")
    plain = noise(RoundingRecipe("nearest", bias="none"), alone)
    rounded = noise(feedback, alone)
    assert rounded < plain
    assert noise(feedback, LowBitsRecipe()) < plain
