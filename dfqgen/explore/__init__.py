"""Many builds of networks, measured: what accuracy costs in flash, RAM and time."""

from dfqgen.explore.job import Job, Place
from dfqgen.explore.search import Search, explore

__all__ = ["Job", "Place", "Search", "explore"]
