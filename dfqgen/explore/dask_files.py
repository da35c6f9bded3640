"""Files on a Dask cluster: a plugin, so that workers which join later or come back have them too.

Scattered data would go with the workers that hold it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from distributed import WorkerPlugin, get_worker

from dfqgen.explore.job import Files, Job

T = TypeVar("T")


class Shelf(WorkerPlugin):
    """Contents by hash, on every worker."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.name = "dfqgen-" + hashlib.sha256("".join(sorted(files)).encode()).hexdigest()


def from_shelf(work: Callable[[Job, Files], T], job: Job, name: str) -> T:
    """Do a job on a worker with the files of its shelf."""
    shelf = get_worker().plugins[name]
    assert isinstance(shelf, Shelf)
    return work(job, shelf.files)
