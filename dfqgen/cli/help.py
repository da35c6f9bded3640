"""Help that fits one screen: `--help` shows what everyday builds need, `--help-all` every option."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand

EVERYDAY = {"input", "calibration_data", "activations"}
"""Of the options that stand under a heading those that many users need; the others are for experts."""

ALL = "dfqgen.help-all"


class ShortHelpCommand(TyperCommand):
    """A command whose help leaves out the options for experts, where it has any."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        left_out = [] if ctx.meta.get(ALL) else self._for_experts()
        with _hidden(left_out):
            super().format_help(ctx, formatter)
        if left_out:
            typer.echo(f" {len(left_out)} more options, for experts: {ctx.command_path} --help-all\n")

    def _for_experts(self) -> list[Any]:
        return [
            option
            for option in self.params
            if getattr(option, "rich_help_panel", None) and option.name not in EVERYDAY
        ]


def show_all(ctx: typer.Context, wanted: bool) -> None:
    """The callback of `--help-all`."""
    if wanted and not ctx.resilient_parsing:
        ctx.meta[ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


@contextlib.contextmanager
def _hidden(options: Iterable[Any]) -> Iterator[None]:
    before = [(option, option.hidden) for option in options]
    for option, _ in before:
        option.hidden = True
    try:
        yield
    finally:
        for option, hidden in before:
            option.hidden = hidden
