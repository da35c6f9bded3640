"""Small pictures of a report as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from dfqgen.report.words import size_text
from dfqgen.units import duration_text

WIDTH, HEIGHT = 1000.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 26.0
MOST_DB = 60.0
"""Cleaner than this is drawn as this."""

SPARK_WIDTH, SPARK_HEIGHT = 128, 26


def error_by_depth(layers: Sequence[Mapping[str, Any]]) -> str:
    """SQNR of every compared layer by the schedule, "" of none; those with a remedy are marked."""
    shown = [(step, row) for step, row in enumerate(layers) if "sqnr_db" in row]
    if not shown:
        return ""
    heights = [_decibels(row) for _, row in shown]
    top = max(10.0, *heights) * 1.05
    bottom = min(0.0, *heights)
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(step: int) -> float:
        return LEFT + (right - LEFT) * (step + 0.5) / len(layers)

    def y_of(decibels: float) -> float:
        return base - (base - TOP) * (decibels - bottom) / (top - bottom)

    points = [(x_of(step), y_of(value)) for (step, _), value in zip(shown, heights, strict=True)]
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="Error by depth"'
        ' xmlns="http://www.w3.org/2000/svg">'
    ]
    for value in range(int(bottom // 10 * 10), int(top) + 1, 10):
        if bottom <= value <= top:
            y = y_of(value)
            parts.append(f'<line x1="{LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    trace = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline points="{trace}" class="trace"/>')
    rank = {step: number for number, (step, _) in enumerate(worst_layers(layers), 1)}
    for (step, row), (x, y) in zip(shown, points, strict=True):
        kind, radius = ("worst", 5.5) if step in rank else ("dot", 3.0)
        share = row["noise_share"]
        tip = f"step {step}: {row['layer']}, {_words(row)}"
        tip += "" if share is None else f", adds {100 * share:.0f} % of the noise"
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"/>'
        parts.append(f"<g><title>{escape(tip)}</title>{dot}</g>")
        if step in rank:
            parts.append(
                f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle" class="mark">{rank[step]}</text>'
            )
    every = max(1, len(layers) // 12)
    for step in range(0, len(layers), every):
        parts.append(f'<text x="{x_of(step):.1f}" y="{HEIGHT - 8:g}" text-anchor="middle">{step}</text>')
    parts.append("</svg>")
    return "".join(parts)


def worst_layers(layers: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The layers with a remedy and their steps, those that add most noise first."""
    marked = [(step, row) for step, row in enumerate(layers) if row.get("remedy")]
    return sorted(marked, key=lambda pair: -pair[1]["noise_share"])


def _decibels(row: Mapping[str, Any]) -> float:
    value = row["sqnr_db"]
    if value is None:  # no error, or no signal
        return 0.0 if row["max_error"] else MOST_DB
    return min(MOST_DB, max(-20.0, value))


def _words(row: Mapping[str, Any]) -> str:
    value = row["sqnr_db"]
    return (
        "exact"
        if value is None and not row["max_error"]
        else "no signal"
        if value is None
        else f"{value:.1f} dB"
    )


def front(points: Sequence[Mapping[str, Any]], cost: str, here: tuple[float, float] | None) -> str:
    """Quality over a cost: points that no other beats, those behind them, this build; "" where none has both.

    `here` is (cost, quality) of this build.
    """
    shown = [point for point in points if point[cost] is not None and point["quality"] is not None]
    if not shown:
        return ""
    places = [(point[cost], point["quality"]) for point in shown] + ([here] if here else [])
    (x_lo, x_hi), (y_lo, y_hi) = (_span([place[axis] for place in places]) for axis in (0, 1))
    right, base = FRONT_WIDTH - RIGHT, FRONT_HEIGHT - BOTTOM

    def place_of(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_lo) / (x_hi - x_lo), (y - y_lo) / (y_hi - y_lo)
        return LEFT + (right - LEFT) * across, base - (base - TOP) * up

    parts = [
        f'<svg viewBox="0 0 {FRONT_WIDTH:g} {FRONT_HEIGHT:g}" role="img" aria-label="Quality over {cost}"'
        ' xmlns="http://www.w3.org/2000/svg">'
    ]
    for fraction in (0.1, 0.5, 0.9):
        x, y = x_lo + fraction * (x_hi - x_lo), y_lo + fraction * (y_hi - y_lo)
        across, up = place_of(x, y)
        parts.append(f'<line x1="{LEFT:g}" x2="{right:g}" y1="{up:.1f}" y2="{up:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{up + 4:.1f}" text-anchor="end">{QUALITY(y)}</text>')
        text = escape(COST_TEXTS[cost](x))
        parts.append(f'<text x="{across:.1f}" y="{FRONT_HEIGHT - 8:g}" text-anchor="middle">{text}</text>')
    for point in sorted(shown, key=lambda point: point["front"]):
        across, up = place_of(point[cost], point["quality"])
        tip = f"{point['choice']}: {QUALITY(point['quality'])} at {COST_TEXTS[cost](point[cost])}"
        kind = "dot" if point["front"] else "behind"
        dot = f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4" class="{kind}"/>'
        parts.append(f"<g><title>{escape(tip)}</title>{dot}</g>")
    if here:
        across, up = place_of(*here)
        parts.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="6" class="worst"/>')
    return "".join((*parts, "</svg>"))


FRONT_WIDTH, FRONT_HEIGHT = 480.0, 240.0
QUALITY = "{:.4g}".format
COST_TEXTS: Mapping[str, Callable[[float], str]] = {
    "flash_bytes": lambda size_bytes: size_text(round(size_bytes)),
    "seconds": duration_text,
}


def _span(values: Sequence[float]) -> tuple[float, float]:
    """A range with room on both sides."""
    lo, hi = min(values), max(values)
    room = 0.08 * (hi - lo) or 0.05 * abs(hi) or 1.0
    return lo - room, hi + room


def histogram(counts: Sequence[int], label: str) -> str:
    """Bars of equal width over the whole range of a type; heights are square roots, so that tails show."""
    highest = max(max(counts), 1) ** 0.5
    width = SPARK_WIDTH / len(counts)
    bars = []
    for index, count in enumerate(counts):
        if count:
            height = max(1.0, SPARK_HEIGHT * count**0.5 / highest)
            bars.append(f"M{index * width:.4g} {SPARK_HEIGHT}v-{height:.3g}h{width:.3g}v{height:.3g}z")
    return (
        f'<svg viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" class="spark" role="img"'
        f' aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg"><path d="{"".join(bars)}"/></svg>'
    )
