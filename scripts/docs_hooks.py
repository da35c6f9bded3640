"""Beside mkdocs: links to files outside docs/ become their names, as the site lacks those files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")
ROOT = Path(__file__).resolve().parent.parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Raise FileNotFoundError for a link to a file that is not there."""
    return OUTSIDE.sub(_name, markdown)


def _name(link: re.Match[str]) -> str:
    text, path = link.groups()
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"docs link to {path}")
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}` of the repository)"
