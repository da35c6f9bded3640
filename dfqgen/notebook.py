"""What objects show of themselves in a notebook: a line, and a small table, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 60


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table; of a long one the first rows."""
    every = list(rows)
    lines = "".join(_row("td", row) for row in every[:MOST_ROWS])
    more = f"<p>and {len(every) - MOST_ROWS} more</p>" if len(every) > MOST_ROWS else ""
    table = f"<table><thead>{_row('th', head)}</thead><tbody>{lines}</tbody></table>"
    return f"<p><b>{escape(title)}</b></p>{table}{more}"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
