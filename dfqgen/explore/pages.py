"""A search's results on disk: explore.json, explore.png, and explore.html, a page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dfqgen.report.facts import Facts

MEASURES = {"accuracy": "accuracy", "agreement": "agreement with float", "sqnr_db": "SQNR, dB"}
COSTS = {"flash_bytes": "flash, KB", "arena_bytes": "RAM, KB", "seconds": "time, ms"}
SCALES = {"flash_bytes": 1 / 1024, "arena_bytes": 1 / 1024, "seconds": 1e3, "accuracy": 100, "agreement": 100}
INCHES = (4.2, 3.4)


def write_pages(facts: Facts, folder: Path) -> list[str]:
    """Write all three; their names."""
    pages = {"explore.json": _json(facts), "explore.html": _html(facts)}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    _picture(facts, folder / "explore.png")
    return [*pages, "explore.png"]


def _json(facts: Facts) -> str:
    return json.dumps({k: v for k, v in facts.items() if k != "folder"}, indent=1, ensure_ascii=True) + "\n"


def _html(facts: Facts) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    data = {
        "points": facts["points"],
        "measure": facts["measure"],
        "labels": COSTS | {facts["measure"]: label_of(facts["measure"])},
        "scales": SCALES,
    }
    # In a script element only "<" could end it; JSON has it in strings alone.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return environment.get_template("explore.html.j2").render(facts, data=Markup(text))


def label_of(measure: str) -> str:
    """An axis' text."""
    unit = ", %" if SCALES.get(measure) == 100 else ""
    return MEASURES[measure] + unit


def series_of(point: Mapping[str, Any]) -> str:
    """What has one colour."""
    return f"{point['model']}, {point['target']}" + (", for size" if point["optimize"] == "size" else "")


def _picture(facts: Facts, path: Path) -> None:
    from matplotlib.figure import Figure

    costs = [cost for cost in COSTS if any(point[cost] is not None for point in facts["points"])]
    figure = Figure(figsize=(INCHES[0] * len(costs), INCHES[1]), layout="constrained")
    measure = facts["measure"]
    for axes, cost in zip(figure.subplots(1, len(costs), squeeze=False)[0], costs, strict=True):
        for index, series in enumerate(dict.fromkeys(map(series_of, facts["points"]))):
            points = [p for p in facts["points"] if series_of(p) == series and p[cost] is not None]
            for front, alpha in ((True, 1.0), (False, 0.25)):
                chosen = [p for p in points if p["front"] is front and p[measure] is not None]
                axes.scatter(
                    [p[cost] * SCALES[cost] for p in chosen],
                    [p[measure] * SCALES.get(measure, 1) for p in chosen],
                    s=18,
                    color=f"C{index % 10}",
                    alpha=alpha,
                    linewidths=0,
                    label=series if front else None,
                )
        axes.set_xlabel(COSTS[cost])
        axes.grid(alpha=0.2)
    figure.axes[0].set_ylabel(label_of(measure))
    figure.axes[-1].legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
