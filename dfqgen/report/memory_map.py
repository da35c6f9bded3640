"""The arena over time as an inline SVG: steps from left to right, addresses upwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 960.0, 300.0
LEFT, BOTTOM, TOP = 76.0, 30.0, 8.0
COLOURS = ("#4c78a8", "#72b7b2", "#f2a65a", "#8e9fbc", "#9ecf8a", "#c58fb5", "#d8b365", "#88a2aa")


def memory_map(buffers: Sequence[Mapping[str, Any]], steps: int, arena_bytes: int) -> str:
    """Every buffer as a rectangle over the steps it lives and the bytes it takes; names as tool tips."""
    column = (WIDTH - LEFT) / (steps + 2)  # before the first step, the steps, after the last
    plot = HEIGHT - BOTTOM - TOP
    scale = plot / max(arena_bytes, 1)
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="Memory map of the arena"'
        ' xmlns="http://www.w3.org/2000/svg">',
        f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH - LEFT:g}" height="{plot:g}" class="plot"/>',
    ]
    for index, buffer in enumerate(buffers):
        x = LEFT + (buffer["first"] + 1) * column
        width = (buffer["last"] - buffer["first"] + 1) * column
        height = buffer["bytes"] * scale
        y = TOP + plot - buffer["offset"] * scale - height
        tip = (
            f"{buffer['buffer']}: {buffer['bytes']:,} bytes at {buffer['offset']:,}, "
            f"steps {max(buffer['first'], 0)} to {min(buffer['last'], steps - 1)}"
        )
        parts.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(width - 1, 1):.2f}" height="{max(height, 1):.2f}"'
            f' fill="{COLOURS[index % len(COLOURS)]}"><title>{escape(tip)}</title></rect>'
        )
    for fraction in (0.0, 0.5, 1.0):
        y = TOP + plot * (1 - fraction) + 4
        address = round(arena_bytes * fraction)
        parts.append(f'<text x="{LEFT - 6:g}" y="{y:.2f}" text-anchor="end">{address:,}</text>')
    every = max(1, steps // 12)
    for step in range(0, steps, every):
        x = LEFT + (step + 1.5) * column
        parts.append(f'<text x="{x:.2f}" y="{HEIGHT - 10:g}" text-anchor="middle">{step}</text>')
    parts.append("</svg>")
    return "".join(parts)
