"""Who does the jobs: processes of this machine, or a Dask cluster (extra `dfqgen[cluster]`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from joblib import Parallel, delayed

from dfqgen.errors import ToolMissing, UserError
from dfqgen.explore.job import Files, Job, measure
from dfqgen.report.facts import Facts

RETRIES = 3
"""How often a job may lose its worker."""

CONNECT_SECONDS = 15

Results = Iterator[tuple[Job, list[Facts]]]
"""As they come, in any order."""


def here(jobs: Sequence[Job], files: Files, processes: int) -> Results:
    """In so many processes. Joblib starts one anew when it has grown, which is no matter for a warning."""
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    work = Parallel(n_jobs=processes, return_as="generator_unordered")
    yield from work(delayed(_with_job)(job, files) for job in jobs)


def _with_job(job: Job, files: Files) -> tuple[Job, list[Facts]]:
    return job, measure(job, {name: files[name] for name in (job.model, job.data) if name is not None})


def on_cluster(jobs: Sequence[Job], files: Files, scheduler: str) -> Results:
    """On the workers of a Dask scheduler, like tcp://host:8786. Every worker gets the files once, those that
    join later too; a job whose worker is lost runs on another. Raises UserError (ToolMissing without
    dask.distributed).
    """
    try:
        from distributed import Client, as_completed

        from dfqgen.explore.dask_files import Shelf, from_shelf
    except ImportError:
        raise ToolMissing("a cluster needs dask.distributed", "pip install 'dfqgen[cluster]'") from None
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"there is no Dask scheduler at {scheduler}: {error}",
            "Start one with `dask scheduler`, and workers with `dask worker tcp://HOST:8786`.",
        ) from None
    shelf = Shelf(dict(files))
    with client, client.as_current():
        client.register_plugin(shelf, name=shelf.name)
        try:
            futures = [
                client.submit(from_shelf, _with_job, job, shelf.name, key=job.key, retries=RETRIES)
                for job in jobs
            ]
            for future in as_completed(futures):
                yield future.result()
                future.release()
        finally:
            client.unregister_worker_plugin(shelf.name)
