"""Choices that contradict each other, and choices that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dfqgen.errors import UserError
from dfqgen.recipe.records import SAMPLE_SOURCES, BitsPattern, LowBitsRecipe, Recipe

Said = Mapping[str, Any]
"""`Choices`, looked at by key."""

WISHES = ("bits", "flash_budget", "target_sqnr")
MIXES = (*WISHES, "bits_map")
STATED = ("input_mean", "input_std", "input_range")


def flag(key: str, value: object = True) -> str:
    """How a choice is written on the command line, without its value."""
    return f"--{'no-' if value is False else ''}{key.replace('_', '-')}"


def written(said: Said, key: str) -> str:
    """The flag, with its value where that is one word."""
    value = said[key]
    return f"{flag(key)} {value}" if isinstance(value, str) else flag(key, value)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two choices that cannot both be; `pair` finds their keys, None where there is no conflict."""

    pair: Callable[[Said, Recipe], tuple[str, str] | None]
    why: str
    hint: str


def _first(said: Said, keys: Iterable[str]) -> str | None:
    return next((key for key in keys if key in said), None)


def _two_wishes(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    both = [key for key in WISHES if key in said]
    return (both[0], both[1]) if len(both) > 1 else None


def _two_meanings(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    of_all = ("meaning" in said and "meaning") or ("" in said.get("input", {}) and "input")
    other = _first(said, STATED) or ("input" if of_all == "meaning" and "" in said.get("input", {}) else None)
    return (of_all, other) if of_all and other else None


def _feedback_on_samples(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    low = _first(said, MIXES)
    if not (said.get("empirical_bias") and recipe.rounding.method == "feedback" and low):
        return None
    return "empirical_bias", "rounding" if "rounding" in said else low


def _two_statistics(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    both = "calibration_data" in said and said.get("statistics", "auto") != "auto"
    return ("calibration_data", "statistics") if both else None


def _ranges_without_samples(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    needs = said.get("ranges") in ("min-max", "percentile")
    bare = needs and recipe.statistics.source in ("auto", "analytic")
    return ("ranges", "statistics") if bare and "statistics" in said else None


def _no_bias_on_samples(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    both = said.get("empirical_bias") is True and said.get("correct_bias") is False
    return ("empirical_bias", "correct_bias") if both else None


def _rows_for_whole_layers(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    both = said.get("stream") == "off" and said.get("input_rows") is True
    return ("stream", "input_rows") if both else None


def _turned_ports_as_the_models(said: Said, recipe: Recipe) -> tuple[str, str] | None:
    both = said.get("io_layout") == "nchw" and said.get("rows_along") == "width"
    return ("io_layout", "rows_along") if both else None


CONTRADICTIONS = (
    Contradiction(_two_wishes, "they are two ways to say one thing", "Give one of them."),
    Contradiction(_two_meanings, "they are two ways to say one thing", "Give one of them."),
    Contradiction(
        _feedback_on_samples,
        "feedback rounding, which is the default, sees to the bias of few bits itself",
        "Choose --rounding nearest, squant or adaround.",
    ),
    Contradiction(
        _two_statistics,
        "both say where statistics come from",
        "Leave out --statistics to measure them on your samples.",
    ),
    Contradiction(
        _ranges_without_samples,
        "such ranges need samples",
        "Give --calibration-data or --statistics synthetic, or choose --ranges sigma or mse.",
    ),
    Contradiction(
        _no_bias_on_samples,
        "biases are corrected on samples, or not at all",
        "Leave out one of them.",
    ),
    Contradiction(
        _rows_for_whole_layers,
        "an input that comes in rows is never there for whole layers",
        "Leave out one of them.",
    ),
    Contradiction(
        _turned_ports_as_the_models,
        "rows along the width change the axes of inputs, which shall stay the model's",
        "Leave out --io-layout nchw.",
    ),
)


def refuse_contradictions(said: Said, recipe: Recipe) -> None:
    """Raise UserError for the first two choices that cannot both be."""
    for rule in CONTRADICTIONS:
        pair = rule.pair(said, recipe)
        if pair is not None:
            first, second = (written(said, key) for key in pair)
            raise UserError(f"{first} and {second} contradict each other: {rule.why}", rule.hint)
    if said.get("ranges") in ("min-max", "percentile") and recipe.statistics.source == "auto":
        raise UserError(
            f"{written(said, 'ranges')}: such ranges need samples",
            "Give --calibration-data or --statistics synthetic, or choose --ranges sigma or mse.",
        )


FEW_BITS = "weights of few bits (--bits, --bits-map, --flash-budget or --target-sqnr)"
MADE = "samples that are made (--statistics synthetic, --rounding adaround or --empirical-bias)"


def _needs_wish(recipe: Recipe) -> str | None:
    return None if recipe.low_bits.wish is not None else "--bits, --flash-budget or --target-sqnr"


def _needs_compensation(recipe: Recipe) -> str | None:
    """Compensation happens while layers are rounded in turn; a budget is filled by what it would leave."""
    low = recipe.low_bits
    if not low.mixes:
        return FEW_BITS
    searched = low.wish is not None and not isinstance(low.wish, BitsPattern)
    in_turn = not recipe.rounding.needs_samples
    return None if in_turn or searched else "rounding without samples: no AdaRound, no --empirical-bias"


def _needs_ternary(recipe: Recipe) -> str | None:
    return _needs_compensation(recipe) or (
        None if _may_have_two_bits(recipe.low_bits) else "layers of 2 bits, like --bits 2"
    )


def _may_have_two_bits(low: LowBitsRecipe) -> bool:
    given = low.wish.pattern if isinstance(low.wish, BitsPattern) else ()
    searched = low.wish is not None and not isinstance(low.wish, BitsPattern)
    return searched or any(dtype.bits == 2 for dtype in (*given, *low.bits_map.values()))


def _needs_adaround(recipe: Recipe) -> str | None:
    return None if recipe.rounding.method == "adaround" else "--rounding adaround"


def _needs_rounding_on_samples(recipe: Recipe) -> str | None:
    return None if recipe.rounding.needs_samples else "--rounding adaround or --empirical-bias"


def _needs_made_samples(recipe: Recipe) -> str | None:
    driving = recipe.samples.rounding or recipe.samples.calibration or SAMPLE_SOURCES[0]
    made = recipe.statistics.source == "synthetic" or (
        recipe.rounding.needs_samples and isinstance(driving, str)
    )
    return None if made else MADE


def _needs_randomness(recipe: Recipe) -> str | None:
    return None if recipe.rounding.method == "adaround" else _needs_made_samples(recipe)


def _needs_equalization(recipe: Recipe) -> str | None:
    return None if recipe.passes.equalize else "--equalize"


def _needs_bias_to_correct(recipe: Recipe) -> str | None:
    """AdaRound learns biases; that of layers tried on the way to a budget is corrected all the same."""
    low = recipe.low_bits
    searched = low.wish is not None and not isinstance(low.wish, BitsPattern)
    if recipe.rounding.method != "adaround" or searched:
        return None
    return "another rounding than adaround, which learns biases itself"


def _needs_rounding_by_itself(recipe: Recipe) -> str | None:
    adaround = recipe.rounding.method == "adaround"
    return "another rounding than adaround, which learns biases itself" if adaround else None


def _needs_int16(recipe: Recipe) -> str | None:
    some = recipe.activations.wide or recipe.activations.activations == "auto"
    return None if some else "int16 somewhere: --activations int16 or LAYER=int16"


def _needs_auto(recipe: Recipe) -> str | None:
    return None if recipe.activations.activations == "auto" else "--activations auto"


def _needs_speed(recipe: Recipe) -> str | None:
    return "--optimize balanced or speed" if recipe.code.made_for == "size" else None


NEEDS: Mapping[str, Callable[[Recipe], str | None]] = {
    "winograd": _needs_speed,
    "low_ends": _needs_wish,
    "compensate": _needs_compensation,
    "ternary": _needs_ternary,
    "adaround_iterations": _needs_adaround,
    "rounding_data": _needs_rounding_on_samples,
    "samples": _needs_made_samples,
    "seed": _needs_randomness,
    "relu6": _needs_equalization,
    "correct_bias": _needs_bias_to_correct,
    "empirical_bias": _needs_rounding_by_itself,
    "activations_map": _needs_int16,
    "time_allowance": _needs_auto,
}
"""What each choice would need to have an effect, None where it has one."""


def without_effect(said: Said, recipe: Recipe) -> dict[str, str]:
    """The choices that change nothing, by key, each with a sentence that says what it would need."""
    idle: dict[str, str] = {}
    for key in said:
        needed = NEEDS[key](recipe) if key in NEEDS else None
        if needed is not None:
            idle[key] = f"{written(said, key)} has no effect: it needs {needed}"
    return idle
