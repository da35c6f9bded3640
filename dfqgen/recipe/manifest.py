"""The recipe as JSON values in manifest.json, and read back with every field checked."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dfqgen.errors import UserError
from dfqgen.files import read_regular
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Shape
from dfqgen.recipe.records import Recipe, RecordedSamples
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.samples.sources import content_hash

VERSION = 5
"""Goes up when a record changes in a way that old manifests do not fit."""

T = TypeVar("T")

ANNOTATED: Mapping[str, Any] = {
    "InputMeaning": InputMeaning,
    "IntType": IntType,
    "Shape": Shape,
    "UserSamples": Path | Samples | RecordedSamples,
}
"""What the annotations of `records` name and that module does not import."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises UserError."""
    return hashlib.sha256(read_regular(path)).hexdigest()


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """Plain values, by stage. No paths and no times: the same build gives the same bytes anywhere."""
    stages = {f.name: _plain(getattr(recipe, f.name)) for f in fields(recipe) if f.name != "warnings"}
    return {"version": VERSION, **stages}


def recipe_from_json(record: Any) -> Recipe:
    """The recipe that `recipe_to_json` gave; its samples are records only. Raises UserError."""
    if not isinstance(record, dict):
        raise UserError("the manifest has no recipe", "Build the network again.")
    if record.get("version") != VERSION:
        raise UserError(
            f"the manifest's recipe has version {record.get('version')!r}, this dfqgen reads {VERSION}",
            "Build the network again, or use the dfqgen that built it.",
        )
    try:
        stages = {key: value for key, value in record.items() if key != "version"}
        recipe = _read(Recipe, stages, "recipe")
        if recipe.weights.scales != recipe.activations.scales:
            raise ValueError("recipe.weights.scales is not recipe.activations.scales")
    except ValueError as error:
        raise UserError(f"the manifest's recipe is damaged: {error}", "Build the network again.") from None
    return recipe


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return _plain(RecordedSamples(value.name, content_hash(value), None))
    if isinstance(value, Samples):
        return _plain(RecordedSamples(None, None, value.count))
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as an object of the type `kind`. Raises ValueError that names the field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_one_of(arguments, value, where)
    if origin is Literal:
        if value in arguments and isinstance(value, str):
            return value
    elif origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            items = zip(kinds, value, strict=True)
            return tuple(_read(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(items))
    elif origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {str(key): _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return _read_record(kind, value, where)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind in (str, int, bool, type(None)) and type(value) is kind:
        return value
    elif isinstance(kind, type) and issubclass(kind, Enum) and value in [member.value for member in kind]:
        return kind(value)
    raise ValueError(f"{where} is {value!r}")


def _read_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        if kind in (Path, Samples):  # written as RecordedSamples
            continue
        try:
            return _read(kind, value, where)
        except ValueError:
            continue
    raise ValueError(f"{where} is {value!r}")


def _read_record(kind: type[T], value: dict[str, Any], where: str) -> T:
    hints = get_type_hints(kind, localns=ANNOTATED)
    names = hints.keys() - {"warnings"}
    for name in sorted(names ^ value.keys()):
        raise ValueError(f"{where} lacks {name!r}" if name in names else f"{where} has an unknown {name!r}")
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in sorted(names)})
