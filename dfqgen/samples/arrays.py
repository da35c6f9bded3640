"""numpy's own files, .npz and .npy, never unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import DfqgenError, UserError
from dfqgen.files import LARGEST_FILE_BYTES, check_regular

Array = npt.NDArray[Any]


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays by name. Raises UserError."""
    check_regular(path)
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: is not an .npz file", hint="Save it with numpy.savez(path, x=...).")
    with _refusing_damage(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        if sum(member.file_size for member in members) > LARGEST_FILE_BYTES:
            raise UserError(
                f"{path}: unpacks to more than {LARGEST_FILE_BYTES:,} bytes", "Take fewer samples."
            )
        arrays = {}
        for member in members:
            with archive.open(member) as stream:
                check_header(stream, member.file_size, member.filename)
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = _read(stream)
        return arrays


def read_npy(path: Path) -> Array:
    """The array of a file. Raises UserError."""
    check_regular(path)
    with _refusing_damage(path, ".npy"), path.open("rb") as stream:
        check_header(stream, path.stat().st_size, path.name)
        stream.seek(0)
        return _read(stream)


def check_header(stream: IO[bytes], size_bytes: int, name: str) -> None:
    """Compare an array's stated size with the file's before memory is taken. Raises ValueError."""
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > size_bytes:
        raise ValueError(f"{name} holds objects, or less than its shape says")


def _read(stream: IO[bytes]) -> Array:
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


@contextmanager
def _refusing_damage(path: Path, kind: str) -> Iterator[None]:
    """Whatever numpy and zipfile raise on damaged files is an error for the user."""
    try:
        yield
    except DfqgenError:
        raise
    except (
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
        NotImplementedError,
        RuntimeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UserError(f"{path}: cannot be read as an {kind} file ({error})") from None
