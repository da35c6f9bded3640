"""Many builds of networks, measured: what accuracy costs in flash, RAM and time."""

from typing import TYPE_CHECKING

from dfqgen.lazy import on_demand

if TYPE_CHECKING:
    from dfqgen.explore.job import Job, Place
    from dfqgen.explore.search import Search, explore

__all__ = ["Job", "Place", "Search", "explore"]

__getattr__ = on_demand(
    __name__,
    {
        "Job": "dfqgen.explore.job",
        "Place": "dfqgen.explore.job",
        "Search": "dfqgen.explore.search",
        "explore": "dfqgen.explore.search",
    },
)
