"""A fault of dfqgen itself, on file: what is needed to see it again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

_LIBRARIES = ("numpy", "scipy", "onnx", "onnxruntime", "protobuf", "typer", "jinja2", "cffi")
_LARGEST_HASHED_BYTES = 1 << 28


def record_fault(error: Exception) -> str:
    """Write what is needed to find the fault again; in words where it is."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if "dfqgen" in Path(line.filename).parts] or lines
    place = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    what = f"this is a fault of dfqgen, not yours: {type(error).__name__}{place}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dfqgen-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(_reproduction(error))
    except OSError as failure:
        return f"{what}\nNo file with the details could be written: {failure.strerror}"
    return (
        f"{what}\nPlease report it with {file.name}, which has the command, versions and where it happened, "
        "and with the model if you may share it."
    )


def _reproduction(error: Exception) -> str:
    """The command, the files it names, versions, and the traceback."""
    arguments = sys.argv[1:]
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    parts = [
        f"dfqgen {_version('dfqgen')}, Python {platform.python_version()}, {platform.platform()}",
        libraries,
        f"dfqgen {shlex.join(arguments)}",
        *(_file_line(Path(argument)) for argument in arguments if _is_file(argument)),
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(parts)


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):
        return False


def _file_line(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST_HASHED_BYTES:
        return f"{path}: {size:,} bytes"
    return f"{path}: {size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"
