"""Choices -> recipe: parsed, checked and settled here and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Shape
from dfqgen.recipe.effect import flag, refuse_contradictions, without_effect
from dfqgen.recipe.records import (
    PACKAGES,
    SAMPLE_SOURCES,
    ActivationChoice,
    ActivationsRecipe,
    ActivationType,
    BiasCorrection,
    BitsPattern,
    BitsWish,
    CodeRecipe,
    Compensate,
    Effort,
    FlashBytes,
    FlashPercent,
    Granularity,
    InputRecipe,
    IoLayout,
    LeastSqnr,
    LowBitsRecipe,
    Optimize,
    Package,
    PassesRecipe,
    PortType,
    RangeMethod,
    Recipe,
    RoundingMethod,
    RoundingRecipe,
    RowsAlong,
    SampleSource,
    SamplesRecipe,
    ScaleMode,
    StatisticsRecipe,
    StatisticsSource,
    Stream,
    Ternary,
    WeightsRecipe,
    Winograd,
)
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning, state_meaning
from dfqgen.samples.sources import source_of
from dfqgen.targets import load_target
from dfqgen.units import parse_size

WIDTHS = (IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6, IntType.INT8)
"""What weights may have."""


class Choices(TypedDict, total=False):
    """What somebody said, by the names of the command's options; what is not in here they did not say.

    `flash` and `ram` are bytes that there are. `inputs` and `outputs` name tensors of the model to cut it at,
    `state` the output that gives each state by its input, `fix` inputs that become constants. `input` are
    meanings by input name, "" of all that are not named; `meaning`, and the three of `input_*` together, are
    of those too. `bits` is like "4" or "4/8", `flash_budget` like "96K" or "60%". `calibration_data` is an
    file or folder of samples, or samples,
    `rounding_data` also one of `SAMPLE_SOURCES`. `equalize` is by default decided by predicted noise.
    `rounding` "auto" is "feedback". `empirical_bias` is by default on where statistics are synthetic and all
    weights of 8 bits, `correct_bias` decided by simulated noise. `n_sigma_scores` is the half-width of ranges
    of the network's last layers.
    """

    target: str
    name: str
    optimize: Optimize
    package: tuple[Package, ...]
    winograd: Winograd
    flash: int
    ram: int
    stream: Stream
    input_rows: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    state: Mapping[str, str]
    fix: Mapping[str, float]
    input_shape: Mapping[str, Shape]
    io_layout: IoLayout
    rows_along: RowsAlong
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    input_range: tuple[float, float]
    meaning: InputMeaning
    input: Mapping[str, InputMeaning]
    weights: Granularity
    scales: ScaleMode
    statistics: Literal["auto", "analytic", "synthetic"]
    calibration_data: Path | Samples
    fold_dead: bool
    equalize: bool
    relu6: Literal["keep", "replace"]
    absorb_bias: bool
    correct_bias: bool
    empirical_bias: bool
    ranges: RangeMethod
    n_sigma: float
    n_sigma_scores: float
    rounding: Literal["auto", "nearest", "squant", "feedback", "adaround"]
    rounding_data: SampleSource | Path | Samples
    adaround_iterations: int
    samples: int
    seed: int
    bits: str
    bits_map: Mapping[str, int]
    flash_budget: str
    target_sqnr: float
    low_ends: bool
    compensate: Compensate
    ternary: Ternary
    activations: ActivationChoice
    activations_map: Mapping[str, ActivationType]
    input_type: PortType
    output_type: PortType
    time_allowance: float
    effort: Effort


EFFORTS: Mapping[Effort, Choices] = {
    "fast": Choices(activations="int8"),
    "default": Choices(),
    "best": Choices(rounding="adaround"),
}
"""What an effort chooses where nothing else is said. Best learns the rounding on synthesized samples, which
takes PyTorch and minutes; what it gives is in docs/dsg.md."""


def make_recipe(**choices: Unpack[Choices]) -> Recipe:
    """The recipe of these choices, without reading any model.

    Choices without effect are left out of it and named in its `warnings`. Raises UserError for values that
    cannot be, for files that are not there, and for choices that contradict each other. An `effort` is a
    few choices by one name; what is chosen beside it counts more.
    """
    preset = EFFORTS[choices.get("effort", "default")]
    choices = cast(Choices, preset | {key: value for key, value in choices.items() if key != "effort"})
    _check_values(choices)
    recipe = _settled(choices)
    refuse_contradictions(choices, recipe)
    idle = without_effect(choices, recipe)
    if not idle:
        return recipe
    effective = cast(Choices, {key: value for key, value in choices.items() if key not in idle})
    return replace(_settled(effective), warnings=tuple(idle.values()))


def _settled(choices: Choices) -> Recipe:
    """Every "automatic" decided, except where the model decides."""
    target = load_target(choices.get("target", "host"))
    scales = choices.get("scales", cast(ScaleMode, target.scales))
    granularity = choices.get("weights", "per-channel")
    bits_map = {name: width(bits) for name, bits in choices.get("bits_map", {}).items()}
    low_bits = LowBitsRecipe(
        wish=_wish(choices), bits_map=bits_map, **_said(choices, "low_ends", "compensate", "ternary")
    )
    statistics: StatisticsSource = (
        "data" if "calibration_data" in choices else choices.get("statistics", "auto")
    )
    chosen = choices.get("rounding", "auto")
    method: RoundingMethod = Recipe().rounding.method if chosen == "auto" else chosen
    return Recipe(
        input=InputRecipe(
            shapes=dict(choices.get("input_shape", {})),
            states=dict(choices["state"]) if "state" in choices else None,
            fixed=dict(choices.get("fix", {})),
            meaning=_meaning(choices),
            meanings={name: stated for name, stated in choices.get("input", {}).items() if name},
            **_said(choices, "inputs", "outputs", "io_layout", "rows_along"),
        ),
        code=CodeRecipe(
            **_said(
                choices,
                "target",
                "name",
                "optimize",
                "winograd",
                "stream",
                "input_rows",
                package="packages",
                flash="flash_bytes",
                ram="ram_bytes",
            )
        ),
        passes=PassesRecipe(
            equalize=choices.get("equalize", usual_equalization(granularity, low_bits)),
            **_said(choices, "fold_dead", "relu6", "absorb_bias"),
        ),
        statistics=StatisticsRecipe(statistics),
        activations=ActivationsRecipe(
            scales=scales,
            activations_map=dict(choices.get("activations_map", {})),
            **_said(choices, "n_sigma", "n_sigma_scores", "activations", "input_type", "output_type"),
            **_said(choices, "time_allowance"),
            **_said(choices, ranges="range_method"),
        ),
        weights=WeightsRecipe(granularity, scales),
        rounding=RoundingRecipe(
            method=method,
            bias=_bias_correction(choices, statistics, may_correct_on_samples(method, low_bits)),
            **_said(choices, "adaround_iterations"),
        ),
        low_bits=low_bits,
        samples=SamplesRecipe(
            **_said(
                choices, "seed", calibration_data="calibration", rounding_data="rounding", samples="count"
            )
        ),
    )


def with_low_bits(recipe: Recipe, low_bits: LowBitsRecipe) -> Recipe:
    """The recipe with these bits. Where it does what is usual for its own, it does what is usual for them."""
    before, granularity = recipe.low_bits, recipe.weights.granularity
    passes, rounding = recipe.passes, recipe.rounding
    if passes.equalize == usual_equalization(granularity, before):
        passes = replace(passes, equalize=usual_equalization(granularity, low_bits))
    if rounding.bias in ("auto", "samples") and not may_correct_on_samples(rounding.method, low_bits):
        rounding = replace(rounding, bias="statistics")
    return replace(recipe, low_bits=low_bits, passes=passes, rounding=rounding)


def may_correct_on_samples(method: RoundingMethod, low_bits: LowBitsRecipe) -> bool:
    """Whether samples may correct biases: AdaRound sees to them itself, and so does feedback of few bits."""
    return method in ("nearest", "squant") or (method == "feedback" and not low_bits.mixes)


def usual_equalization(granularity: Granularity, low_bits: LowBitsRecipe) -> bool | None:
    """What nobody chose: the predicted noise decides, which knows weights of 8 bits."""
    return granularity == "per-tensor" if low_bits.mixes else None


def _said(choices: Choices, *keys: str, **renamed: str) -> dict[str, Any]:
    """Those of the keys that were chosen, under the names their record has for them."""
    names = {key: key for key in keys} | renamed
    return {names[key]: value for key, value in choices.items() if key in names}


def _meaning(choices: Choices) -> InputMeaning | None:
    if "meaning" in choices:
        return choices["meaning"]
    if "" in choices.get("input", {}):
        return choices["input"][""]
    return state_meaning(choices.get("input_mean"), choices.get("input_std"), choices.get("input_range"))


def _bias_correction(choices: Choices, statistics: StatisticsSource, may_on_samples: bool) -> BiasCorrection:
    """On samples where that is asked for or usual, and possible; with them decided where nobody did."""
    corrects = choices.get("correct_bias")
    on_samples = choices.get("empirical_bias", statistics == "synthetic" and corrects is not False)
    if on_samples and may_on_samples:
        return "samples"
    if corrects is None and may_on_samples and "empirical_bias" not in choices:
        return "auto"
    return "none" if corrects is False else "statistics"


def _wish(choices: Choices) -> BitsWish | None:
    """At most one is said: contradictions are refused before the recipe is given out."""
    if "bits" in choices:
        return BitsPattern(parse_pattern(choices["bits"]))
    if "flash_budget" in choices:
        return parse_flash_budget(choices["flash_budget"])
    return LeastSqnr(choices["target_sqnr"]) if "target_sqnr" in choices else None


def parse_pattern(text: str) -> tuple[IntType, ...]:
    """ "4" -> one width for all, "2/6" -> widths of the two layers of a pair. Raises UserError."""
    parts = text.split("/")
    if len(parts) > 2 or not all(re.fullmatch(r"\s*[0-9]{1,2}\s*", part) for part in parts):
        raise UserError(f"--bits {text!r} is not a number of bits like 4 or a pair like 4/8")
    return tuple(width(int(part)) for part in parts)


def width(bits: int) -> IntType:
    """The type of so many bits. Raises UserError."""
    if bits not in {dtype.bits for dtype in WIDTHS}:
        raise UserError(f"weights of {bits} bits are not known", "Take 2 (ternary), 3, 4, 6 or 8.")
    return IntType(bits)


def parse_flash_budget(text: str) -> FlashBytes | FlashPercent:
    """ "96K" -> bytes, "60%" -> of the size at 8 bits. Raises UserError."""
    if not text.endswith("%"):
        return FlashBytes(parse_size(text))
    try:
        percent = float(text[:-1])
    except ValueError:
        percent = math.nan
    if not (math.isfinite(percent) and percent > 0):
        hint = "Write it like 60%, or as a size like 96K."
        raise UserError(f"--flash-budget {text!r} is not a share", hint)
    return FlashPercent(percent)


def _check_values(choices: Choices) -> None:
    for package in choices.get("package", ()):
        if package not in PACKAGES:
            raise UserError(f"there is no package {package!r}", f"Take any of {', '.join(PACKAGES)}.")
    for key in ("calibration_data", "rounding_data"):
        data = choices.get(key)
        if isinstance(data, Path):
            try:
                source_of(data)
            except UserError as error:
                kinds = f" It takes {', '.join(SAMPLE_SOURCES)} too." if key == "rounding_data" else ""
                raise UserError(f"{flag(key)}: {error.message}", f"{error.hint}{kinds}".strip()) from None
    for key in ("n_sigma", "n_sigma_scores", "target_sqnr", "time_allowance"):
        value = choices.get(key)
        if isinstance(value, int | float) and not math.isfinite(value):
            raise UserError(f"{flag(key)} must be a finite number, not {value}")
