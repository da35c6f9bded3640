"""Tools that tests need. Where one is missing the test is skipped, but in CI it must be there: it fails."""

from __future__ import annotations

import os
import shutil

import pytest

IN_CI = "CI" in os.environ


def needs(*commands: str) -> pytest.MarkDecorator:
    """Skip a test where a command is not installed, except in CI."""
    missing = [command for command in commands if shutil.which(command) is None]
    return pytest.mark.skipif(bool(missing) and not IN_CI, reason=f"not installed: {', '.join(missing)}")
