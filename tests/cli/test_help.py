"""The everyday help fits a screen; every option is in the other."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from dfqgen.cli import app

SCREEN = 60
"""Lines of a terminal of ordinary height, 100 columns wide."""


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    assert result.exit_code == 0
    return result.stdout


def flags(text: str) -> set[str]:
    return set(re.findall(r"^[^a-z]*(--[a-z][a-z-]+)", text, re.MULTILINE))


def test_a_builds_help_fits_a_screen_and_says_where_the_rest_is() -> None:
    text = help_of("build", "--help")
    assert len(text.splitlines()) <= SCREEN
    assert {"--target", "--flash", "--ram", "--time", "--data", "--calibration-data"} <= flags(text)
    assert "--n-sigma" not in text
    assert re.search(r"\d+ more options, for experts: \S+ build --help-all", text)


@pytest.mark.parametrize("command", ["build", "inspect", "eval", "explore"])
def test_the_whole_help_has_all_that_the_short_one_leaves_out(command: str) -> None:
    short, whole = help_of(command, "--help"), help_of(command, "--help-all")
    left_out = int(re.findall(r"(\d+) more options", short)[0])
    assert flags(short) < flags(whole)
    assert len(flags(whole)) - len(flags(short)) == left_out
    assert "--n-sigma" in whole


def test_a_command_without_options_for_experts_has_one_help() -> None:
    text = help_of("run", "--help")
    assert "--help-all" not in text
