"""`dfqgen profile`: the facts, the table, profile.json and the report's section."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dfqgen.cli import app
from dfqgen.commands.profile import milliseconds, profile, profile_facts
from dfqgen.errors import UserError
from dfqgen.report.html import PROFILE_BEGIN, PROFILE_END, insert_profile
from dfqgen.targets import load_target
from dfqgen.verify.profile import LayerProfile, Profile
from tests import programs

MEASURED = Profile(
    "cortex-m4", 0, (LayerProfile("a<b>", "sum", 0, 250, 300), LayerProfile("c", "x", 400, 800, 900))
)


def page(folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(f"<h1>x</h1>{PROFILE_BEGIN}{PROFILE_END}<p>y</p>", encoding="utf-8")
    return path


def test_shares_and_times_are_of_cycles() -> None:
    facts = profile_facts(MEASURED, load_target("cortex-m4"), 1_000_000)
    assert facts["instructions"] == 1050
    assert facts["milliseconds"] == pytest.approx(1.2)
    assert [layer["share"] for layer in facts["layers"]] == [0.25, 0.75]
    assert [layer["instructions_per_mac"] for layer in facts["layers"]] == [None, 2.0]


def test_without_a_cycle_model_shares_are_of_instructions() -> None:
    layers = (LayerProfile("a", "sum", 0, 250, None), LayerProfile("c", "x", 400, 750, None))
    facts = profile_facts(Profile("cortex-m7", 0, layers), load_target("cortex-m7"), 1_000_000)
    assert facts["cycles"] is None
    assert facts["milliseconds"] is None
    assert [layer["share"] for layer in facts["layers"]] == [0.25, 0.75]


def test_milliseconds() -> None:
    assert milliseconds(120_000, 120_000_000) == 1.0
    assert milliseconds(None, 120_000_000) is None


def test_the_report_gets_one_section_and_keeps_the_rest(tmp_path: Path) -> None:
    facts = profile_facts(MEASURED, load_target("cortex-m4"), 1_000_000)
    path = page(tmp_path)
    for _ in range(2):
        assert insert_profile(path, facts)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<h1>x</h1>")
    assert text.endswith("<p>y</p>")
    assert text.count("Profile on cortex-m4") == 1
    assert "a&lt;b&gt;" in text


def test_a_page_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert not insert_profile(path, {})
    path.write_text("mine", encoding="utf-8")
    assert not insert_profile(path, {})
    assert path.read_text(encoding="utf-8") == "mine"


def test_the_command_counts_prints_and_saves(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    programs.write(programs.tiny(), folder, target="cortex-m4")
    page(folder)
    result = CliRunner().invoke(app, ["profile", str(folder), "--clock", "80M"])
    assert result.exit_code == 0, result.output
    assert "80 MHz" in result.output
    assert "total" in result.output
    saved = json.loads((folder / "profile.json").read_text())
    assert saved["target"] == "cortex-m4"  # what the folder was built for
    assert saved["clock_hz"] == 80_000_000
    assert saved["instructions"] == sum(layer["instructions"] for layer in saved["layers"]) > 0
    assert "Profile on cortex-m4" in (folder / "report.html").read_text()


def test_json_is_the_saved_facts(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    programs.write(programs.tiny(), folder, target="host")
    result = CliRunner().invoke(app, ["profile", str(folder), "--target", "cortex-m7", "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["saved"] == ["profile.json"]  # there is no report
    assert 0 < facts["cycles"] < facts["instructions"]


def test_what_cannot_be_profiled_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        profile(tmp_path)
    programs.write(programs.tiny(), tmp_path / "tiny", target="host")
    with pytest.raises(UserError, match="no emulator"):
        profile(tmp_path / "tiny", "host")
