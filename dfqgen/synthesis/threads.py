"""One thread for PyTorch: sums in one order, so that a seed gives the same result on any number of cores.

Little is lost. Networks for microcontrollers are small, and threads spend their time waiting for each other,
most of all where other work runs beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, PyTorch computes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
