"""How the steps of a long job tell what they do."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with what is about to be done."""


def silent(stage: str) -> None:
    """Progress that nobody watches."""
