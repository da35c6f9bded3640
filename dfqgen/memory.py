"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """What glibc keeps of freed arrays for the next ones; other C libraries are left alone.

    Between steps that work on all of a network's weights: what one step freed lies between what it left, in
    pieces that the next one's arrays do not fit into.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
