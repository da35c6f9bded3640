"""Choices become a recipe at once: what contradicts is refused, what changes nothing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.recipe import Choices, Recipe, make_recipe
from dfqgen.recipe.choices import parse_pattern
from dfqgen.recipe.records import BitsPattern, FlashBytes, FlashPercent
from dfqgen.samples.meaning import InputMeaning
from tests.models import DIGITS_TEST


def test_nothing_chosen_is_the_default_recipe() -> None:
    assert make_recipe() == Recipe()
    assert not make_recipe().warnings


def test_what_is_automatic_is_settled() -> None:
    assert make_recipe(weights="per-tensor").passes.equalize is None
    assert make_recipe(weights="per-tensor", bits="4").passes.equalize
    assert make_recipe(bits="4").passes.equalize is False
    assert make_recipe(target="cortex-m0plus").weights.scales == "power-of-two"
    assert make_recipe().rounding.method == make_recipe(bits="4").rounding.method == "feedback"
    assert make_recipe().rounding.bias == make_recipe(statistics="analytic").rounding.bias == "auto"
    assert make_recipe(correct_bias=True).rounding.bias == "statistics"
    assert make_recipe(bits="4").rounding.bias == "statistics"
    assert make_recipe(statistics="synthetic").rounding.bias == "samples"
    assert make_recipe(statistics="synthetic", bits="4").rounding.bias == "statistics"
    assert make_recipe(statistics="synthetic", rounding="nearest", bits="4").rounding.bias == "samples"
    assert make_recipe(statistics="synthetic", correct_bias=False).rounding.bias == "none"
    assert make_recipe(statistics="synthetic", empirical_bias=False).rounding.bias == "statistics"
    assert make_recipe(rounding="adaround").rounding.needs_samples
    assert make_recipe(calibration_data=DIGITS_TEST).statistics.source == "data"


def test_bits_and_budgets_are_parsed_at_once() -> None:
    assert make_recipe(bits="4/8").low_bits.wish == BitsPattern((IntType.INT4, IntType.INT8))
    assert make_recipe(flash_budget="96K").low_bits.wish == FlashBytes(96 << 10)
    assert make_recipe(flash_budget="60%").low_bits.wish == FlashPercent(60.0)
    assert make_recipe(bits_map={"conv": 3}).low_bits.bits_map == {"conv": IntType.INT3}


@pytest.mark.parametrize("text", ["", "four", "4/8/8", "5", "4/", "-2", "²"])
def test_a_pattern_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_pattern(text)


@pytest.mark.parametrize("budget", ["nan%", "inf%", "0%", "-3%", "%", "lots"])
def test_a_budget_that_is_none_is_refused(budget: str) -> None:
    with pytest.raises(UserError):
        make_recipe(flash_budget=budget)


@pytest.mark.parametrize("key", ["calibration_data", "rounding_data"])
def test_a_file_that_is_not_there_is_told_before_the_model_is_read(key: str, tmp_path: Path) -> None:
    choices: Any = {key: tmp_path / "absent.npz"}
    with pytest.raises(UserError, match=f"--{key.replace('_', '-')}.*No such file"):
        make_recipe(**choices)


CONTRADICTIONS: list[tuple[Choices, str, str]] = [
    ({"bits": "4", "flash_budget": "60%"}, "--bits 4", "--flash-budget 60%"),
    ({"bits": "4", "target_sqnr": 20.0}, "--bits 4", "--target-sqnr"),
    ({"flash_budget": "60%", "target_sqnr": 20.0}, "--flash-budget 60%", "--target-sqnr"),
    ({"meaning": InputMeaning(), "input_std": (2.0,)}, "--meaning", "--input-std"),
    (
        {"empirical_bias": True, "rounding": "feedback", "bits": "4"},
        "--empirical-bias",
        "--rounding feedback",
    ),
    ({"empirical_bias": True, "bits": "4"}, "--empirical-bias", "--bits 4"),
    ({"empirical_bias": True, "correct_bias": False}, "--empirical-bias", "--no-correct-bias"),
    ({"statistics": "synthetic", "calibration_data": DIGITS_TEST}, "--statistics synthetic", "--calib"),
    ({"statistics": "analytic", "ranges": "min-max"}, "--statistics analytic", "--ranges min-max"),
]


@pytest.mark.parametrize(("choices", "first", "second"), CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_a_contradiction_names_both_choices(choices: Choices, first: str, second: str) -> None:
    with pytest.raises(UserError, match="contradict each other") as error:
        make_recipe(**choices)
    assert first in error.value.message
    assert second in error.value.message
    assert error.value.hint


def test_ranges_by_samples_need_samples() -> None:
    with pytest.raises(UserError, match="--ranges percentile: such ranges need samples"):
        make_recipe(ranges="percentile")


IDLE: list[tuple[Choices, str, str]] = [
    ({"low_ends": True}, "low_ends", "--bits, --flash-budget or --target-sqnr"),
    ({"low_ends": True, "bits_map": {"a": 4}}, "low_ends", "--bits, --flash-budget or --target-sqnr"),
    ({"compensate": "plain"}, "compensate", "--bits"),
    ({"compensate": "plain", "bits": "4", "rounding": "adaround"}, "compensate", "no AdaRound"),
    ({"ternary": "threshold"}, "ternary", "--bits"),
    ({"ternary": "threshold", "bits": "4/8"}, "ternary", "2 bits"),
    ({"adaround_iterations": 5}, "adaround_iterations", "--rounding adaround"),
    ({"rounding_data": "noise"}, "rounding_data", "--rounding adaround or --empirical-bias"),
    ({"samples": 3}, "samples", "--statistics synthetic"),
    ({"samples": 3, "empirical_bias": True, "calibration_data": DIGITS_TEST}, "samples", "that are made"),
    ({"seed": 4}, "seed", "--rounding adaround"),
    ({"relu6": "replace"}, "relu6", "--equalize"),
    ({"correct_bias": False, "rounding": "adaround"}, "correct_bias", "learns biases itself"),
    ({"empirical_bias": True, "rounding": "adaround"}, "empirical_bias", "learns biases itself"),
    ({"activations": "int8", "activations_map": {"a": "int8"}}, "activations_map", "--activations int16"),
]


@pytest.mark.parametrize(("choices", "key", "needed"), IDLE, ids=lambda value: str(value)[:40])
def test_a_choice_without_effect_is_named_with_what_it_would_need(
    choices: Choices, key: str, needed: str
) -> None:
    recipe = make_recipe(**choices)
    (warning,) = recipe.warnings
    flag = f"--{key.replace('_', '-')}".replace("--correct-bias", "--no-correct-bias")
    assert warning.startswith(flag)
    assert needed in warning
    without: Any = {name: value for name, value in choices.items() if name != key}
    assert recipe == make_recipe(**without)


BUSY: list[Choices] = [
    {"low_ends": True, "bits": "4", "compensate": "plain"},
    {"ternary": "threshold", "bits": "2/6"},
    {"ternary": "threshold", "flash_budget": "60%"},
    {"compensate": "none", "flash_budget": "60%", "rounding": "adaround"},
    {"rounding": "adaround", "adaround_iterations": 5, "rounding_data": "noise", "samples": 3, "seed": 1},
    {"rounding": "adaround", "seed": 1, "calibration_data": DIGITS_TEST},
    {"statistics": "synthetic", "samples": 3, "seed": 4},
    {"relu6": "replace", "equalize": True},
    {"activations": "int16", "activations_map": {"a": "int8"}},
]


@pytest.mark.parametrize("choices", BUSY, ids=str)
def test_choices_with_an_effect_are_not_warned_of(choices: Choices) -> None:
    recipe = make_recipe(**choices)
    assert not recipe.warnings
    for key in choices:
        fewer: Any = {name: value for name, value in choices.items() if name != key}
        assert make_recipe(**fewer) != recipe


def test_an_effort_is_a_few_choices_and_what_is_chosen_beside_it_counts_more() -> None:
    assert make_recipe(effort="default") == make_recipe()
    assert make_recipe(effort="best") == make_recipe(activations="auto", rounding="adaround")
    nearest = make_recipe(activations="auto", rounding="nearest")
    assert make_recipe(effort="best", rounding="nearest") == nearest
    assert make_recipe(effort="fast", activations="int16") == make_recipe(activations="int16")
