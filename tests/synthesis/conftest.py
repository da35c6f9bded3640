"""These tests need PyTorch."""

from __future__ import annotations

import pytest

from tests.tools import IN_CI

if not IN_CI:
    pytest.importorskip("torch")
