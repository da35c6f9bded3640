"""Facts -> report.html: one self-contained page, everything from the model escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dfqgen.report.memory_map import memory_map
from dfqgen.report.words import count_text, meaning_text, percent_text, shape_text, size_text, sqnr_text

REPORT = "report.html"
PROFILE_BEGIN, PROFILE_END = "<!-- profile -->", "<!-- end of profile -->"


def render_report(facts: Mapping[str, Any]) -> str:
    """The page. What is between the profile marks comes later, from `insert_profile`."""
    sizes = facts["sizes"]
    picture = Markup(memory_map(facts["memory"], len(facts["layers"]), sizes["arena_bytes"]))
    marks = Markup(PROFILE_BEGIN + PROFILE_END)
    return _template("report.html.j2").render(facts, memory_map=picture, profile=marks)


def insert_profile(page: Path, facts: Mapping[str, Any]) -> bool:
    """Put a profile's facts into a page of `render_report`, in place of an older one.

    False, and nothing is changed, where the file is no such page.
    """
    if not page.is_file():
        return False
    before, begin, rest = page.read_text(encoding="utf-8").partition(PROFILE_BEGIN)
    _, end, after = rest.partition(PROFILE_END)
    if not begin or not end:
        return False
    section = _template("profile.html.j2").render(facts)
    page.write_text("".join((before, begin, "\n", section, "\n", end, after)), encoding="utf-8")
    return True


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=size_text,
        count=count_text,
        percent=percent_text,
        sqnr=sqnr_text,
        shape=shape_text,
        meaning=meaning_text,
    )
    return environment.get_template(name)
