"""Tests of the benchmarks, which live outside the package."""

import sys

from tests.models import ROOT

__all__ = ["ROOT"]

sys.path.insert(0, str(ROOT / "bench"))
