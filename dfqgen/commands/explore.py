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
    models: Sequence[Path],
    folder: Path,
    search: Search,
    base: Choices,
    data: Path | None = None,
    progress: Progress = silent,
) -> Facts:
    """Measure what is missing in `folder`, and write explore.json, explore.html and explore.png there.

    Raises UserError.
    """
    facts = measure_all(models, folder, search, base, data, progress)
    progress("drawing")
    files = write_pages(facts, folder)
    return {**facts, "files": [str(folder / name) for name in files]}
