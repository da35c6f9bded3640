"""Many builds of one or several models, measured and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfqgen.explore.pages import write_pages
from dfqgen.explore.search import Search
from dfqgen.explore.search import explore as measure_all
from dfqgen.progress import Progress, silent
from dfqgen.recipe.choices import Choices
from dfqgen.report.facts import Facts


def explore(
    models: Sequence[str | Path],
    folder: str | Path,
    search: Search,
    base: Choices | None = None,
    data: str | Path | None = None,
    progress: Progress = silent,
) -> Facts:
    """Measure what is missing in `folder`, and write explore.json, explore.html and explore.png there.

    `base` are choices as of `make_recipe`, the same for all builds. Raises UserError.
    """
    folder = Path(folder)
    samples = None if data is None else Path(data)
    facts = measure_all([Path(model) for model in models], folder, search, base or {}, samples, progress)
    progress("drawing")
    files = write_pages(facts, folder)
    return {**facts, "files": [str(folder / name) for name in files]}
