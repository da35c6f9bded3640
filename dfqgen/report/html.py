"""Facts -> report.html: one self-contained page, everything from the model escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dfqgen.report.charts import error_by_depth, front, histogram, worst_layers
from dfqgen.report.facts import Facts
from dfqgen.report.memory_map import memory_map, peak_text
from dfqgen.report.words import (
    count_text,
    meaning_text,
    percent_text,
    shape_text,
    size_text,
    span_text,
    sqnr_text,
)
from dfqgen.units import duration_text

REPORT = "report.html"
PROFILE_BEGIN, PROFILE_END = "<!-- profile -->", "<!-- end of profile -->"


def render_report(facts: Mapping[str, Any]) -> str:
    """The page. What is between the profile marks comes later, from `insert_profile`."""
    layers, script, whole = facts["layers"], _text("report.js"), facts["whole_layers"]
    pictures = {
        "memory_map": memory_map(layers, facts["memory"], facts["sizes"]["arena_bytes"]),
        "whole_layers_map": memory_map(**whole) if whole else "",
        "depth_chart": error_by_depth(layers),
        "fronts": _fronts(facts),
        "profile": PROFILE_BEGIN + PROFILE_END,
        "style": _text("report.css"),
        "script": script,
    }
    return _template("report.html.j2").render(
        facts,
        **{name: Markup(text) for name, text in pictures.items()},
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        worst=worst_layers(layers),
        peak=peak_text(layers),
        rankings=rankings(layers),
    )


def _fronts(facts: Mapping[str, Any]) -> str:
    """This build among those of a search, over flash and over time; "" where there was none."""
    known = facts["explored"]
    if known is None:
        return ""
    time = facts["time"]
    costs = {"flash_bytes": facts["sizes"]["flash_bytes"], "seconds": time and time["seconds"]}
    quality = _quality(facts["comparison"]["outputs"], known["measure"], known["scale"])
    return "".join(
        front(known["points"], cost, None if own is None or quality is None else (own, quality))
        for cost, own in costs.items()
    )


def _quality(outputs: Sequence[Facts], measure: str, scale: float) -> float | None:
    """Of the worst output, as `dfqgen explore` has it, in the unit of the picture."""
    key = {"agreement": "top1_agreement"}.get(measure, measure)
    found = [scale * output[key] for output in outputs if output.get(key) is not None]
    return min(found, default=None)


MOST_RANKED = 12


def rankings(layers: Sequence[Facts]) -> list[Facts]:
    """The layers that take most time, most flash and add most noise: pairs of a layer and the amount."""
    groups = (
        ("Time", "seconds", duration_text),
        ("Flash, constants", "weight_bytes", size_text),
        ("Noise added", "noise_share", "{:.1%}".format),
    )
    found = []
    for title, key, text in groups:
        rows = sorted(((row, row[key]) for row in layers if row.get(key)), key=lambda pair: -pair[1])
        if rows:
            found.append({"title": title, "rows": rows[:MOST_RANKED], "text": text})
    return found


def _histogram(counts: Sequence[int], label: str) -> Markup:
    return Markup(histogram(counts, label))


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


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
        duration=duration_text,
        span=span_text,
    )
    environment.globals["histogram"] = _histogram
    return environment.get_template(name)
