"""Reading files that others made: regular ones, of a bounded size."""

from __future__ import annotations

import stat
from pathlib import Path

from dfqgen.errors import UserError

LARGEST_FILE_BYTES = (1 << 31) - 1
"""protobuf's own bound for a model; samples beyond it do not fit the memory of many machines."""


def check_regular(
    path: Path, *, largest_bytes: int = LARGEST_FILE_BYTES, kind: type[UserError] = UserError
) -> None:
    """Raise `kind` unless `path` is a regular file (links followed) of at most `largest_bytes`.

    A device or a pipe may never end, so nothing is opened before this is known.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise kind(f"cannot read {str(path)!r}: {reason or error}") from None
    if stat.S_ISDIR(status.st_mode):
        raise kind(f"{path} is a folder", "Give the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise kind(f"{path} is a device or a pipe, not a file", "Save it as a file and give that.")
    if status.st_size > largest_bytes:
        raise kind(f"{path} has {status.st_size:,} bytes; at most {largest_bytes:,} are read")


def read_regular(
    path: Path, *, largest_bytes: int = LARGEST_FILE_BYTES, kind: type[UserError] = UserError
) -> bytes:
    """The bytes of a file that `check_regular` accepts. Raises `kind` when it cannot be read."""
    check_regular(path, largest_bytes=largest_bytes, kind=kind)
    try:
        return path.read_bytes()
    except OSError as error:
        raise kind(f"cannot read {str(path)!r}: {error.strerror or error}") from None
