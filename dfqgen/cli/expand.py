"""One parameter `choices` of a command -> one option for each field of its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import typer

from dfqgen.cli import values
from dfqgen.cli.config import stated_inputs
from dfqgen.cli.options import InputArguments
from dfqgen.recipe.effect import STATED, WISHES

if TYPE_CHECKING:
    from dfqgen.recipe.choices import Choices
    from dfqgen.samples.meaning import InputMeaning

PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "inputs": values.tensors,
    "outputs": values.tensors,
    "package": values.tensors,
    "winograd": values.winograd,
    "state": values.states,
    "fix": values.fixed_inputs,
    "input_shape": values.shapes,
    "input": values.input_meanings,
    "input_mean": lambda text: values.numbers(text, "--input-mean"),
    "input_std": lambda text: values.numbers(text, "--input-std"),
    "input_range": lambda text: values.numbers(text, "--input-range", 2),
    "rounding_data": values.rounding_data,
    "bits_map": values.layer_bits,
    "activations_map": values.layer_activations,
}
"""Of options whose value is more than one word."""

ONE_OF = (WISHES, (*STATED, "input"))
"""Of such options those on the command line leave no room for those in a file."""


def choices_from(
    said: Mapping[str, Any],
    configured: Mapping[str, Any] | None = None,
    inputs: Mapping[str, InputMeaning] | None = None,
) -> Choices:
    """The values of the options that stood on the command line, parsed, and what a file says beside them, of
    options and of inputs. Raises usage errors.
    """
    given = dict(configured or {})
    for group in ONE_OF:
        if any(key in said for key in group):
            given = {key: value for key, value in given.items() if key not in group}
    given |= said
    parsed = {name: PARSERS[name](value) if name in PARSERS else value for name, value in given.items()}
    meanings = dict(inputs or {})
    if any(key in parsed for key in STATED):
        meanings.pop("", None)
    if meanings:
        parsed["input"] = meanings | parsed.get("input", {})
    return cast("Choices", parsed)


def chosen(context: typer.Context, group: Mapping[str, Any]) -> Choices:
    """Of the values of a group of options those that somebody chose, on the command line or in a file."""
    said, configured = (
        {name: value for name, value in group.items() if _source(context, name) == source}
        for source in ("COMMANDLINE", "DEFAULT_MAP")
    )
    said.pop("config", None)
    return choices_from(said, configured, stated_inputs(context))


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter of type `InputChoices`, or `CompileChoices`, gets one option for each field
    of the arguments instead. The parameter gets those alone that stood on the command line.
    """
    hints = get_type_hints(command, include_extras=True)
    own = signature(command).parameters
    group_name, kind = next(
        (name, found) for name, hint in hints.items() if (found := _arguments(hint)) is not None
    )
    group_hints = get_type_hints(kind, include_extras=True)
    group_fields = {field.name: field.default for field in fields(kind)}

    @functools.wraps(command)
    def expanded(context: typer.Context, **given: Any) -> None:
        group = {name: given.pop(name) for name in group_fields}
        command(**given, **{group_name: chosen(context, group)})

    parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += [own[name].replace(annotation=hints[name]) for name in own if name != group_name]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=group_hints[name])
        for name, default in group_fields.items()
    ]
    parameters = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del expanded.__wrapped__
    return expanded


def _arguments(hint: Any) -> type[InputArguments] | None:
    """The arguments that an annotated `Choices` stands for."""
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, type) and issubclass(note, InputArguments):
            return note
    return None


def _source(context: typer.Context, name: str) -> str | None:
    """Where a parameter's value comes from."""
    source = context.get_parameter_source(name)
    return None if source is None else source.name
