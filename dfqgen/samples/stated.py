"""What the user says of the inputs: texts like `image:mean=127.5,std=127.5`, presets, and TOML tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dfqgen.errors import UserError
from dfqgen.samples.meaning import InputMeaning, state_meaning
from dfqgen.samples.presets import MEAN_AND_STD

PRESETS: Mapping[str, InputMeaning] = {
    name: InputMeaning(mean, std) for name, (mean, std) in MEAN_AND_STD.items()
}

KEYS = ("mean", "std", "range")
EXAMPLE = "Write it like mean=127.5,std=127.5,range=0..255, or one of " + ", ".join(PRESETS) + "."

Meanings = dict[str, InputMeaning]
"""By input name; "" is every input that is not named."""


def parse_inputs(texts: Iterable[str]) -> Meanings:
    """["image:mean=127.5,std=127.5", "state:range=-1..1"] or ["imagenet"]. Raises UserError."""
    found: Meanings = {}
    for text in texts:
        name, _, meaning = text.rpartition(":")
        if name in found:
            raise UserError(f"--input {text!r}: {_called(name)} has been stated before", "Say it once.")
        found[name] = parse_meaning(meaning)
    return found


def parse_meaning(text: str) -> InputMeaning:
    """ "imagenet", or "mean=123.7,116.3,103.5,std=58.4,range=0..255" in any part. Raises UserError."""
    if text in PRESETS:
        return PRESETS[text]
    values: dict[str, list[str]] = {}
    key = ""
    for part in text.split(","):
        word, equals, rest = part.partition("=")
        if equals:
            key, part = word.strip(), rest
            if key in values:
                raise UserError(f"{text!r} says {key} twice", EXAMPLE)
        if key not in KEYS:
            raise UserError(f"{text!r} does not say what an input means", EXAMPLE)
        values.setdefault(key, []).append(part)
    try:
        numbers = {key: tuple(map(float, items)) for key, items in values.items() if key != "range"}
        bounds = _bounds(values["range"]) if "range" in values else None
    except ValueError:
        raise UserError(f"{text!r} does not say what an input means", EXAMPLE) from None
    return _stated(numbers.get("mean"), numbers.get("std"), bounds)


def _bounds(parts: list[str]) -> tuple[float, float]:
    (text,) = parts
    lo, hi = text.split("..", 1)
    return float(lo), float(hi)


def meanings_from_table(where: str, table: Any) -> Meanings:
    """An `[inputs]` table of TOML; `where` is its name in messages. Raises UserError.

    [inputs]                 # every input, if no table of its own says otherwise
    preset = "signed"

    [inputs.state]
    range = [-1, 1]          # mean and std are a number, or a list with one for each channel
    """
    if not isinstance(table, dict):
        raise UserError(f"{where} must be a table", "Write [inputs] or [inputs.NAME].")
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    named = {key: value for key, value in table.items() if isinstance(value, dict)}
    found = {name: _from_table(f"{where}.{name}", entry) for name, entry in named.items()}
    return found | ({"": _from_table(where, common)} if common else {})


def _from_table(where: str, entry: Mapping[str, Any]) -> InputMeaning:
    if unknown := sorted(entry.keys() - {*KEYS, "preset"}):
        raise UserError(f"{where}: {unknown[0]!r} is unknown", "It takes preset, or mean, std and range.")
    if "preset" in entry:
        preset = entry["preset"]
        if len(entry) > 1 or not isinstance(preset, str) or preset not in PRESETS:
            raise UserError(f"{where}: preset is one of {', '.join(PRESETS)}, and says everything")
        return PRESETS[preset]
    try:
        mean, std, bounds = (_numbers(entry.get(key)) for key in KEYS)
        if bounds is not None and len(bounds) != 2:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"{where} holds something else than numbers", "Write mean = 127.5, std = 127.5, range = [0, 255]."
        ) from None
    return _stated(mean, std, None if bounds is None else (bounds[0], bounds[1]))


def _numbers(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    items = value if isinstance(value, list) and value else [value]
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in items):
        raise TypeError
    return tuple(float(item) for item in items)


def _stated(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, bounds: tuple[float, float] | None
) -> InputMeaning:
    meaning = state_meaning(mean, std, bounds)
    if meaning is None:
        raise UserError("nothing is said of an input", EXAMPLE)
    return meaning


def _called(name: str) -> str:
    return f"input {name!r}" if name else "every input"
