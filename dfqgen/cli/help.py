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
        experts = self._for_experts()
        if ctx.meta.get(ALL) or not experts:
            super().format_help(ctx, formatter)
            return
        with _in_one_box(self.params, hide=experts):
            super().format_help(ctx, formatter)
        typer.echo(f" {len(experts)} more options, for experts: {ctx.command_path} --help-all\n")

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
def _in_one_box(options: Iterable[Any], hide: Iterable[Any]) -> Iterator[None]:
    """Without headings, and without some of them."""
    before = [
        (option, option.hidden, option.rich_help_panel) for option in options if hasattr(option, "hidden")
    ]
    for option, _, _ in before:
        option.rich_help_panel = None
    for option in hide:
        option.hidden = True
    try:
        yield
    finally:
        for option, hidden, panel in before:
            option.hidden, option.rich_help_panel = hidden, panel
