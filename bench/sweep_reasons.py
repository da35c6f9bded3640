"""Which layers of the sweep need a reason, and which reason of sweep_reasons.md is theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FACTOR = 1.3
"""A layer with more than so many times our best instructions per MAC needs a reason."""

TEXT = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
"""The last section of docs/sweep.md."""

COVERS = {
    "Convolutions of few inputs an output": (
        r"^\d+x\d+, .*x(1|3|8|16) to |^1x1, stride 2|^2x2|^1x3|^3x1|^3x3, dilation|^3x3, 15x13x12"
    ),
    "Channels that are no multiple of a word": r"^1x1, 7x7x13|^3x3, 9x9x5|9x9x6 to",
    "1x1 to one or two channels": r"^1x1, 12x12x\d+ to [12]$",
    "Groups": r"groups",
    "Fully connected layers": r"^fully",
    "Depthwise 3x3": r"^depthwise 3x3, (?!stride|dilation)(?!.* to )",
    "Depthwise 3x3, stride 2": r"^depthwise 3x3, stride 2",
    "Depthwise of other sizes: 5x5, 7x7, rows, dilated": r"^depthwise (5x5|7x7|1x|3x3, dilation)",
    "Depthwise with a multiplier of two": r"^depthwise 3x3, .* to ",
}
"""By heading, what the descriptions of its layers match; other headings are of layers without MACs or of
other weights.
"""


def reasons_for(layer: str) -> list[str]:
    """Headings that cover a layer of this description."""
    return [title for title, pattern in COVERS.items() if re.search(pattern, layer)]


def above_best(rows: list[tuple[str, float, str]]) -> Iterator[str]:
    """Layers of a table (description, instructions a MAC, kernel) with MACs that need a reason."""
    counted = [row for row in rows if not re.match("max|average|sum|product|softmax", row[0])]
    best = min(price for _, price, kernel in counted if "winograd" not in kernel)
    return (layer for layer, price, _ in counted if price > FACTOR * best)
