"""dfqgen.toml: any option, for all models or for one, and what inputs mean.

    target = "cortex-m4"             # an option by its long name
    flash-budget = "60%"
    fold-dead = false

    [inputs]                         # what inputs mean, see `samples/stated.py`
    preset = "signed"

    [models.digits]                  # for digits.onnx alone
    bits-map = { conv1 = 4 }
    [models.digits.inputs]
    range = [0, 16]

`--inputs`, which cuts a model, is `cut-inputs` here. Paths are from the file's folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from dfqgen.cli.help import ShortHelpCommand
from dfqgen.errors import UserError
from dfqgen.recipe.records import SAMPLE_SOURCES

if TYPE_CHECKING:
    from dfqgen.samples.meaning import InputMeaning

CONFIG = Path("dfqgen.toml")
"""Read where the command runs, if it is there."""

INPUTS = "dfqgen.inputs"
RENAMED = {"inputs": "cut-inputs"}
NOT_HERE = ("help", "help-all", "version", "config", "json")


@dataclass(frozen=True, slots=True)
class Settings:
    """A file's options by long name without dashes before it, and its tables of inputs in order of weight."""

    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[tuple[str, Any], ...] = ()


class ConfiguredCommand(ShortHelpCommand):
    """A command whose options have their defaults from dfqgen.toml."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # completion
            return super().parse_args(ctx, args)
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        path = Path(given["config"]) if given.get("config") else CONFIG
        if given.get("config") or path.is_file():
            self._configure(ctx, path, str(given.get("model") or ""))
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is not None and _from_file(ctx, error.param.name):
                error.message += f" (from {path})"
            raise

    def _configure(self, ctx: Any, path: Path, model: str) -> None:
        try:
            settings = read_settings(path, Path(model).stem)
            check_names(settings, ctx.parent.command.commands.values())
            ctx.default_map = {
                parameter.name: option_value(settings, name, parameter)
                for parameter in self.params
                if (name := name_in_file(parameter)) in settings.options
            }
        except UserError as error:
            raise typer.BadParameter(str(error), param_hint="--config") from None
        ctx.meta[INPUTS] = settings


def _from_file(ctx: Any, name: str | None) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def stated_inputs(context: typer.Context) -> dict[str, InputMeaning]:
    """What the file says of inputs, by name. Raises a usage error."""
    from dfqgen.samples.stated import meanings_from_table

    found: dict[str, InputMeaning] = {}
    settings = context.meta.get(INPUTS)
    try:
        for where, table in () if settings is None else settings.inputs:
            found |= meanings_from_table(where, table)
    except UserError as error:
        raise typer.BadParameter(str(error), param_hint="--config") from None
    return found


def read_settings(path: Path, model: str) -> Settings:
    """What a file says for the model of that name (the file's, without .onnx). Raises UserError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    models = document.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise UserError(f"{path}: models must be tables", "Write [models.NAME].")
    own = dict(models.get(model, {}))
    places = ((f"{path}: [inputs]", document), (f"{path}: [models.{model}.inputs]", own))
    inputs = tuple((where, table.pop("inputs")) for where, table in places if "inputs" in table)
    everything = {name: None for table in models.values() for name in table if name != "inputs"}
    return Settings(path, {**everything, **document, **own}, inputs)


def name_in_file(parameter: Any) -> str:
    """How a file calls an option: its longest flag, without dashes before it."""
    name: str = max(parameter.opts, key=len).lstrip("-")
    return RENAMED.get(name, name)


def check_names(settings: Settings, commands: Iterable[Any]) -> None:
    """Raise UserError for what is no option of any command."""
    known = {
        name_in_file(parameter)
        for command in commands
        for parameter in command.params
        if parameter.param_type_name == "option"
    }
    known -= set(NOT_HERE)
    for name in settings.options:
        if name not in known:
            near = [other for other in sorted(known) if other.replace("-", "_") == name]
            hint = f"Write {near[0]}." if near else "It has options by their long names, inputs and models."
            raise UserError(f"{settings.path}: {name!r} is unknown", hint)


def option_value(settings: Settings, name: str, parameter: Any) -> Any:
    """A value as the command line would give it. Raises UserError for one of the wrong kind."""
    value = settings.options[name]
    where = f"{settings.path}: {name}"
    if value is None:  # it is set for another model
        return None
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise UserError(f"{where} must be true or false, not {value!r}")
        return value
    texts = [_text(where, value)] if not isinstance(value, dict) else _entries(where, value)
    if parameter.multiple:
        words = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return value if words else texts
    text = ",".join(texts)
    return str(settings.path.parent / text) if _is_path(name, text, parameter) else text


def _is_path(name: str, text: str, parameter: Any) -> bool:
    kind = parameter.type_descriptor.annotation
    return Path in (kind, *get_args(kind)) or (name == "rounding-data" and text not in SAMPLE_SOURCES)


def _entries(where: str, table: Mapping[str, Any]) -> list[str]:
    """{conv1 = 4} -> ["conv1=4"]; of lists, {image = [1, 3, 8, 8]} -> ["image:1,3,8,8"]."""
    sign = {True: ":", False: "="}
    return [f"{key}{sign[isinstance(item, list)]}{_text(where, item)}" for key, item in table.items()]


def _text(where: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(where, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where} must be text or a number, not {value!r}")
    return str(value)
