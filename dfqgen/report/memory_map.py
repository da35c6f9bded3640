"""The arena over one inference as an inline SVG: estimated time from left to right, addresses upwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Any

from dfqgen.units import duration_text

WIDTH, HEIGHT = 1000.0, 380.0
LEFT, RIGHT = 76.0, 6.0
LANE, TOP, BOTTOM = 20.0, 28.0, 26.0
OUTSIDE = 12.0
"""Columns before the first step and after the last, where inputs and outputs wait."""
COLOURS = 8
CHARACTER = 6.3


def memory_map(
    layers: Sequence[Mapping[str, Any]], memory: Sequence[Mapping[str, Any]], arena_bytes: int
) -> str:
    """A lane of the layers, and below it every buffer in `memory` over its time and the bytes it takes.

    The width of a step is its estimated time, or the same for all where that is not known. The step with
    most bytes alive is marked.
    """
    edges = step_edges([layer["seconds"] for layer in layers])
    plot = HEIGHT - TOP - BOTTOM
    scale = plot / max(arena_bytes, 1)
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="Memory map of the arena"'
        ' xmlns="http://www.w3.org/2000/svg">',
        f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH - LEFT - RIGHT:g}" height="{plot:g}" class="plot"/>',
    ]
    for index, layer in enumerate(layers):
        x, width = edges[index], edges[index + 1] - edges[index]
        tip = f"step {index}: {layer['layer']}, {layer['title']}, {layer['live_bytes']:,} bytes alive"
        if layer["seconds"] is not None:
            tip += f", {duration_text(layer['seconds'])}"
        parts.append(_box(x, 0, width, LANE, "lane", layer["layer"], tip))
    for index, buffer in enumerate(memory):
        x = edges[buffer["first"]] if buffer["first"] >= 0 else LEFT
        last = buffer["last"] + 1
        end = edges[last] if last < len(edges) else WIDTH - RIGHT
        y = TOP + plot - (buffer["offset"] + buffer["bytes"]) * scale
        tip = (
            f"{buffer['buffer']}: {buffer['bytes']:,} bytes at {buffer['offset']:,}, "
            f"steps {max(buffer['first'], 0)} to {min(buffer['last'], len(layers) - 1)}"
        )
        colour = f"c{index % COLOURS}"
        parts.append(_box(x, y, end - x, buffer["bytes"] * scale, colour, buffer["buffer"], tip))
    parts += _peak(layers, edges)
    for fraction in (0.0, 0.5, 1.0):
        y = TOP + plot * (1 - fraction) + 4
        parts.append(
            f'<text x="{LEFT - 6:g}" y="{y:.1f}" text-anchor="end">{round(arena_bytes * fraction):,}</text>'
        )
    parts += _time_axis(layers, edges)
    parts.append("</svg>")
    return "".join(parts)


def step_edges(times: Sequence[float | None]) -> list[float]:
    """Where each step begins, and where the last one ends."""
    known = [time for time in times if time is not None]
    widths = known if len(known) == len(times) and sum(known) > 0 else [1.0] * len(times)
    ends = list(accumulate(widths, initial=0.0))
    room = WIDTH - LEFT - RIGHT - 2 * OUTSIDE
    return [LEFT + OUTSIDE + room * end / max(ends[-1], 1e-30) for end in ends]


def _box(x: float, y: float, width: float, height: float, kind: str, name: str, tip: str) -> str:
    """A rectangle with a tool tip, and the name where there is room for a few letters."""
    drawn = max(width - 0.8, 0.4)
    size = f'width="{drawn:.1f}" height="{max(height - 0.8, 0.4):.1f}"'
    rect = f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}"/>'
    letters = int((width - 6) / CHARACTER)
    label = ""
    if letters >= 4 and height >= 13:
        text = name if len(name) <= letters else name[: letters - 1] + "…"
        label = f'<text x="{x + 4:.1f}" y="{y + height / 2 + 4:.1f}" class="on">{escape(text)}</text>'
    return f"<g><title>{escape(tip)}</title>{rect}{label}</g>"


def _peak(layers: Sequence[Mapping[str, Any]], edges: Sequence[float]) -> list[str]:
    if not layers:
        return []
    peak = _fullest(layers)
    x, width = edges[peak], max(edges[peak + 1] - edges[peak], 1.0)
    return [
        f'<rect x="{x:.1f}" y="{LANE + 1:g}" width="{width:.1f}" height="{HEIGHT - BOTTOM - LANE - 1:g}"'
        f' class="peak">'
        f"<title>{escape('most bytes alive: ' + peak_text(layers))}</title></rect>"
    ]


def peak_text(layers: Sequence[Mapping[str, Any]]) -> str:
    """The step with most bytes alive, in words; empty without steps."""
    if not layers:
        return ""
    peak = _fullest(layers)
    return f"{layers[peak]['live_bytes']:,} bytes at step {peak}, {layers[peak]['layer']}"


def _fullest(layers: Sequence[Mapping[str, Any]]) -> int:
    return max(range(len(layers)), key=lambda index: layers[index]["live_bytes"])


def _time_axis(layers: Sequence[Mapping[str, Any]], edges: Sequence[float]) -> list[str]:
    times = [layer["seconds"] for layer in layers]
    timed = bool(times) and None not in times and sum(times) > 0
    parts = []
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = edges[0] + (edges[-1] - edges[0]) * fraction
        text = duration_text(sum(times) * fraction) if timed else f"{round(len(layers) * fraction)}"
        anchor = "end" if fraction == 1.0 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8:g}" text-anchor="{anchor}">{escape(text)}</text>')
    return parts
