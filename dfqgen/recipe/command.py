"""A recipe as the command line that repeats the build."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfqgen.recipe.choices import Choices, may_correct_on_samples, usual_equalization
from dfqgen.recipe.effect import flag
from dfqgen.recipe.records import (
    SAMPLE_SOURCES,
    BitsPattern,
    BitsWish,
    FlashBytes,
    FlashPercent,
    Recipe,
    RecordedSamples,
)
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import load_target

if TYPE_CHECKING:
    from dfqgen.recipe.records import UserSamples


def build_command(model: str, recipe: Recipe) -> str | None:
    """The shell's words for `dfqgen build` that give the same bytes; None where flags cannot say it.

    Files go by their names: the command is run where they lie.
    """
    choices = choices_of(recipe)
    if choices is None:
        return None
    words = ["dfqgen", "build", _file_word(model)]
    for key, value in choices.items():
        words += _words(key, value)
    return shlex.join(words)


def choices_of(recipe: Recipe) -> Choices | None:
    """The fewest choices that make this recipe; None where some have no flag: samples without a file,
    `n_sigma_scores`, a layer's or a tensor's name with a comma in it.
    """
    default, found = Recipe(), dict[str, Any]()
    samples, low, rounding = recipe.samples, recipe.low_bits, recipe.rounding

    def differs(key: str, value: Any, usual: Any) -> None:
        if value != usual:
            found[key] = value

    found["target"] = recipe.code.target
    differs("name", recipe.code.name, None)
    differs("optimize", recipe.code.optimize, default.code.optimize)
    differs("package", recipe.code.packages, ())
    differs("winograd", recipe.code.winograd, default.code.winograd)
    differs("flash", recipe.code.flash_bytes, None)
    differs("ram", recipe.code.ram_bytes, None)
    differs("stream", recipe.code.stream, default.code.stream)
    differs("input_rows", recipe.code.input_rows, False)
    differs("inputs", recipe.input.inputs, ())
    differs("outputs", recipe.input.outputs, ())
    differs("state", recipe.input.states, None)
    differs("fix", recipe.input.fixed, {})
    differs("input_shape", recipe.input.shapes, {})
    differs("io_layout", recipe.input.io_layout, default.input.io_layout)
    differs("rows_along", recipe.input.rows_along, default.input.rows_along)
    if recipe.input.meaning is not None:
        meaning = recipe.input.meaning
        found |= {"input_mean": meaning.mean, "input_std": meaning.std}
        found["input_range"] = (meaning.lo, meaning.hi)
    differs("input", recipe.input.meanings, {})
    differs("weights", recipe.weights.granularity, default.weights.granularity)
    differs("scales", recipe.weights.scales, load_target(recipe.code.target).scales)
    if recipe.statistics.source != "data":
        differs("statistics", recipe.statistics.source, "auto")
    differs("calibration_data", samples.calibration, None)
    differs("fold_dead", recipe.passes.fold_dead, True)
    differs("equalize", recipe.passes.equalize, usual_equalization(recipe.weights.granularity, low))
    differs("relu6", recipe.passes.relu6, default.passes.relu6)
    differs("absorb_bias", recipe.passes.absorb_bias, None)
    if rounding.bias == "none":
        found["correct_bias"] = False
    plain = may_correct_on_samples(rounding.method, low)
    on_samples = plain and recipe.statistics.source == "synthetic"
    if plain and rounding.bias == "statistics" and not on_samples:
        found["correct_bias"] = True
    if plain and rounding.bias in ("statistics", "samples") and (rounding.bias == "samples") != on_samples:
        found["empirical_bias"] = rounding.bias == "samples"
    differs("ranges", recipe.activations.range_method, default.activations.range_method)
    differs("n_sigma", recipe.activations.n_sigma, None)
    differs("rounding", rounding.method, default.rounding.method)
    differs("rounding_data", samples.rounding, None)
    differs("adaround_iterations", rounding.adaround_iterations, default.rounding.adaround_iterations)
    differs("samples", samples.count, None)
    differs("seed", samples.seed, 0)
    if low.wish is not None:
        found |= _wish_choice(low.wish)
    differs("bits_map", {name: dtype.bits for name, dtype in low.bits_map.items()}, {})
    differs("low_ends", low.low_ends, None)
    differs("compensate", low.compensate, default.low_bits.compensate)
    differs("ternary", low.ternary, default.low_bits.ternary)
    differs("activations", recipe.activations.activations, default.activations.activations)
    differs("activations_map", recipe.activations.activations_map, {})
    differs("input_type", recipe.activations.input_type, None)
    differs("output_type", recipe.activations.output_type, None)
    differs("time_allowance", recipe.activations.time_allowance, default.activations.time_allowance)
    unsayable = recipe.activations.n_sigma_scores is not None or any(
        _has_no_file(data) for data in (samples.calibration, samples.rounding)
    )
    layers = recipe.code.winograd if isinstance(recipe.code.winograd, tuple) else ()
    listed = (
        *low.bits_map,
        *recipe.activations.activations_map,
        *recipe.input.inputs,
        *recipe.input.outputs,
        *layers,
    )
    commas = any("," in name for name in listed)
    unsayable |= layers in (("auto",), ("off",))
    unsayable |= any("=" in before for before in (*recipe.input.fixed, *(recipe.input.states or ())))
    return None if unsayable or commas else Choices(**found)  # type: ignore[typeddict-item]


def _has_no_file(data: object) -> bool:
    return isinstance(data, Samples) or (isinstance(data, RecordedSamples) and data.file is None)


def _wish_choice(wish: BitsWish) -> dict[str, Any]:
    if isinstance(wish, BitsPattern):
        return {"bits": "/".join(str(dtype.bits) for dtype in wish.pattern)}
    if isinstance(wish, FlashBytes):
        return {"flash_budget": str(wish.bytes)}
    if isinstance(wish, FlashPercent):
        return {"flash_budget": f"{number(wish.percent)}%"}
    return {"target_sqnr": wish.decibels}


def _words(key: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(key, value)]
    if key == "input_shape":
        shapes = [(f"{name}:" if name else "") + ",".join(map(str, shape)) for name, shape in value.items()]
        return [word for shape in shapes for word in (flag(key), shape)]
    if key == "state":
        pairs = [f"{before}={after}" for before, after in value.items()] or ["none"]
        return [word for pair in pairs for word in (flag(key), pair)]
    if key == "fix":
        return [word for name, fixed in value.items() for word in (flag(key), f"{name}={number(fixed)}")]
    if key == "input":
        return [word for name, stated in value.items() for word in (flag(key), f"{name}:{_meaning(stated)}")]
    return [flag(key), _text(value)]


def _meaning(stated: InputMeaning) -> str:
    bounds = f"{number(stated.lo)}..{number(stated.hi)}"
    return f"mean={_text(stated.mean)},std={_text(stated.std)},range={bounds}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, Path | RecordedSamples):
        return _sample_word(value)
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """The shortest text that is exactly this number."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _sample_word(data: UserSamples) -> str:
    if isinstance(data, Samples):
        raise ValueError("samples without a file have no word")
    return _file_word((data.file or "") if isinstance(data, RecordedSamples) else data.name)


def _file_word(name: str) -> str:
    """A file's name that no option parser takes for a flag, nor dfqgen for a kind of samples."""
    return f"./{name}" if name.startswith("-") or name in SAMPLE_SOURCES else name
