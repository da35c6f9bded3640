"""How the steps of a long job tell what they do."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with what is about to be done, as text; with a `Part` where it is known how much of it is done."""


class Part(str):
    """A stage of which `done` of `total` is done; as text like "AdaRound: 3 of 12 layers"."""

    task: str
    share: float

    def __new__(cls, task: str, done: float, total: float, text: str) -> Part:
        """`text` says after the task's name how far it is."""
        part = super().__new__(cls, f"{task}: {text}")
        part.task, part.share = task, min(1.0, done / total) if total else 1.0
        return part


def silent(stage: str) -> None:
    """Progress that nobody watches."""
