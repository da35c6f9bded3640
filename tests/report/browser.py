"""Pages in a real browser: Chromium without a window, with a profile of its own."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
DARK = "--blink-settings=preferredColorScheme=0"


def chromium(page: Path, *options: str) -> str:
    """What Chromium prints for a page. Fails on anything that the page writes to the console."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *options, page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def screenshot(page: Path, picture: Path, *options: str, width: int = 1200, height: int = 2600) -> None:
    """A PNG of the top of a page; with `DARK` for people who prefer it so."""
    chromium(page, f"--window-size={width},{height}", f"--screenshot={picture.resolve()}", *options)
