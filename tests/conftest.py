"""Shared fixtures; tests that need the networks beside the project are deselected where those are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _shared_folder() -> Path:
    """DFQGEN_SHARED, or `shared` beside the checkout."""
    return Path(os.environ.get("DFQGEN_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared_models: needs the networks beside the project (DFQGEN_SHARED)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (_shared_folder() / "models").is_dir():
        return
    absent = [item for item in items if item.get_closest_marker("shared_models")]
    if not absent:
        return
    config.hook.pytest_deselected(items=absent)
    items[:] = [item for item in items if item not in absent]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Not where items are deselected: the workers of pytest-xdist have no terminal.
    models = _shared_folder() / "models"
    if not models.is_dir():
        terminalreporter.write_line(
            f"tests marked shared_models are deselected: no networks in {models} (DFQGEN_SHARED)"
        )


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder of the networks beside the project."""
    return _shared_folder() / "models"
