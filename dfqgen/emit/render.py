"""Templates -> text."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import jinja2

from dfqgen import resources


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; emit/names.py makes every text safe
    )


def render(template: str, **context: Any) -> bytes:
    """A template of templates/ filled in, as UTF-8. Piece by piece: weights are tens of megabytes of text."""
    text = io.BytesIO()
    for piece in _environment().get_template(template).generate(**context):
        text.write(piece.encode("utf-8"))
    return text.getvalue()
