"""Values of options that are more than one word, parsed. Wrong ones are usage errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import typer

from dfqgen.errors import UserError
from dfqgen.recipe.records import SAMPLE_SOURCES, SampleSource, Winograd

if TYPE_CHECKING:
    from dfqgen.samples.meaning import InputMeaning

T = TypeVar("T")


def numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """ "1,2.5" -> (1.0, 2.5); a wrong value is a usage error."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers like 127.5 or 0.5,0.5,0.5", param_hint=option
        ) from None
    if not all(map(math.isfinite, values)):
        raise typer.BadParameter(f"{text!r} is not finite", param_hint=option)
    if count is not None and len(values) != count:
        raise typer.BadParameter(
            f"{text!r} should be {count} numbers with a comma between", param_hint=option
        )
    return values


def tensors(texts: list[str]) -> tuple[str, ...]:
    """["a,b", "c"] -> ("a", "b", "c")"""
    return tuple(dict.fromkeys(name for text in texts for name in text.split(",") if name))


def winograd(text: str) -> Winograd:
    """ "auto", "off", or the names of layers with commas between."""
    return tensors([text]) if text not in ("auto", "off") else "auto" if text == "auto" else "off"


def states(texts: list[str]) -> dict[str, str]:
    """["in=out"] -> {"in": "out"}; "none" is none at all."""
    found: dict[str, str] = {}
    for text in texts:
        before, _, after = text.partition("=")
        if text == "none" and len(texts) == 1:
            return {}
        if not before or not after or before in found:
            raise typer.BadParameter(
                f"{text!r} is not INPUT=OUTPUT, once for each input, or none alone", param_hint="--state"
            )
        found[before] = after
    return found


def fixed_inputs(texts: list[str]) -> dict[str, float]:
    """["rate=16000"] -> {"rate": 16000.0}"""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise typer.BadParameter(f"{text!r} is not INPUT=NUMBER", param_hint="--fix")
    return found


def shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """["image:1,3,32,32"] -> {"image": (1, 3, 32, 32)}; the key is empty where no input is named."""
    parsed: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, dimensions = text.rpartition(":")
        try:
            parsed[name] = tuple(int(part) for part in dimensions.replace("x", ",").split(","))
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is not a shape like 1,3,32,32 or image:1,3,32,32", param_hint="--input-shape"
            ) from None
    return parsed


def input_meanings(texts: list[str]) -> dict[str, InputMeaning]:
    """["image:mean=127.5,std=127.5", "state:range=-1..1"]; a wrong value is a usage error."""
    from dfqgen.samples.stated import parse_inputs

    try:
        return parse_inputs(texts)
    except UserError as error:
        raise typer.BadParameter(str(error), param_hint="--input") from None


def layer_bits(texts: list[str]) -> dict[str, int]:
    """["conv1=4,conv2=8"] -> {"conv1": 4, "conv2": 8}; a wrong value is a usage error."""

    def bits(text: str) -> int | None:
        return int(text) if text.isdecimal() and len(text) < 3 else None

    return _by_layer(texts, bits, "a layer and its bits like conv1=4", "--bits-map")


def layer_activations(texts: list[str]) -> dict[str, Literal["int8", "int16"]]:
    """["conv1=int16"] -> {"conv1": "int16"}; a wrong value is a usage error."""
    types: dict[str, Literal["int8", "int16"]] = {"int8": "int8", "int16": "int16"}
    return _by_layer(texts, types.get, "a layer and a type like conv1=int16", "--activations-map")


def _by_layer(texts: list[str], parse: Callable[[str], T | None], expected: str, option: str) -> dict[str, T]:
    """LAYER=VALUE, with commas between; `parse` gives None for a wrong value."""
    parsed: dict[str, T] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, _, text = part.rpartition("=")
        value = parse(text)
        if not name or value is None:
            raise typer.BadParameter(f"{part!r} is not {expected}", param_hint=option)
        parsed[name] = value
    return parsed


def finite(value: float | None) -> float | None:
    """The value of an option that is a number; NaN lies in every range that typer checks."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not finite")
    return value


def rounding_data(text: str) -> SampleSource | Path:
    """One of the kinds of samples that can be made, else a file's path."""
    for source in SAMPLE_SOURCES:
        if text == source:
            return source
    return Path(text)
