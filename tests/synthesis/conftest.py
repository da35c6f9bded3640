"""These tests need PyTorch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
