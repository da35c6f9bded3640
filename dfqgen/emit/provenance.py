"""Where a program comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Enough to make a program again: the model's file name (no path) and hash, the recipe as JSON values,
    and the command line, None where flags cannot say it. All text in it is a stranger's.
    """

    model_file: str
    model_sha256: str
    recipe: Mapping[str, Any]
    command: str | None

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "model": {"file": self.model_file, "sha256": self.model_sha256},
            "recipe": dict(self.recipe),
            "command": self.command,
        }
