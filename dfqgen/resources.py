"""Where the files that are not Python live: targets, templates, the C runtime.

In a checkout they are top-level folders beside the package; a wheel carries them in `dfqgen/_data/`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = ("targets", "templates", "runtime_c")


@cache
def _root() -> Path:
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if all((root / folder).is_dir() for folder in _FOLDERS):
            return root
    raise RuntimeError(f"this installation of dfqgen lacks its data folders {', '.join(_FOLDERS)}")


def targets_dir() -> Path:
    """Folder of the target descriptions, one TOML file each."""
    return _root() / "targets"


def templates_dir() -> Path:
    """Folder of the Jinja templates the C is rendered from."""
    return _root() / "templates"


def runtime_dir() -> Path:
    """Folder of the C runtime: kernels, and the firmware for emulated boards."""
    return _root() / "runtime_c"
