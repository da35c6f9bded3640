"""Where samples come from: .npz, .npy, .csv, a folder, or a .toml that says how to read one of them."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.files import check_regular, read_regular
from dfqgen.samples.arrays import read_npy, read_npz
from dfqgen.samples.folder import Fit, list_folder, read_folder
from dfqgen.samples.frontend import FrontEnd
from dfqgen.samples.table import read_table

Array = npt.NDArray[Any]

SUFFIXES = (".npz", ".npy", ".csv", ".toml")


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder, and what a .toml says of it."""

    path: Path
    label: str | None = None
    classes: tuple[str, ...] | None = None
    fit: Fit = "crop"
    front_end: FrontEnd | None = None


def source_of(path: Path) -> Source:
    """What a path names. Raises UserError for what holds no samples."""
    if path.is_dir():
        return Source(path)
    check_regular(path)
    if path.suffix.lower() not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        raise UserError(f"{path}: is no file of samples", f"Give {kinds}, or a folder of images or sounds.")
    return _described(path) if path.suffix.lower() == ".toml" else Source(path)


def read_source(path: Path, shape: tuple[int, ...]) -> dict[str, Array]:
    """Arrays by name as in an .npz file, `x` and where there are labels `y`.

    `shape` is that of one sample of the network's only input, channels last. Raises UserError.
    """
    source = source_of(path)
    kind = source.path.suffix.lower()
    if source.path.is_dir():
        x, y = read_folder(source.path, shape, source.fit, source.front_end, source.classes)
    elif kind == ".npz":
        return read_npz(source.path)
    elif kind == ".npy":
        x, y = read_npy(source.path), _labels_beside(source.path)
    else:
        x, y = read_table(source.path, source.label, source.classes)
    return {"x": x} if y is None else {"x": x, "y": y}


def _labels_beside(path: Path) -> Array | None:
    beside = path.with_name(f"{path.stem}_labels.npy")
    return read_npy(beside) if beside.is_file() else None


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; of a folder or a .toml, of all that is read for them. Raises UserError."""
    source = source_of(path)
    if source.path == path and not path.is_dir():
        return hashlib.sha256(read_regular(path)).hexdigest()
    whole = hashlib.sha256()
    if source.path != path:
        whole.update(read_regular(path))
    files = list_folder(source.path).files if source.path.is_dir() else (source.path,)
    for file in files:
        whole.update(file.relative_to(source.path.parent).as_posix().encode() + b"\0")
        whole.update(hashlib.sha256(read_regular(file)).digest())
    return whole.hexdigest()


KEYS = ("path", "label", "classes", "fit", "front-end")


def _described(path: Path) -> Source:
    try:
        table = tomllib.loads(read_regular(path).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: is no TOML ({error})") from None
    if unknown := sorted(table.keys() - set(KEYS)):
        raise UserError(f"{path}: {unknown[0]!r} is unknown", f"It takes {', '.join(KEYS)}.")
    name, label, classes, fit = (table.get(key) for key in KEYS[:4])
    if not isinstance(name, str):
        raise UserError(f"{path}: does not say where the samples are", 'Write path = "FILE or FOLDER".')
    if fit is not None and fit not in get_args(Fit):
        raise UserError(f"{path}: fit is one of {', '.join(get_args(Fit))}, not {fit!r}")
    if not isinstance(label, str | None) or not _names(classes):
        raise UserError(f"{path}: label is a text, classes a list of texts")
    inner = source_of(path.parent / name)
    if inner.path.suffix.lower() == ".toml" or inner != Source(inner.path):
        raise UserError(f"{path}: path is another .toml", "Name the samples themselves.")
    return Source(
        inner.path,
        label,
        None if classes is None else tuple(classes),
        fit or "crop",
        None if "front-end" not in table else _front_end(path, table["front-end"]),
    )


def _names(classes: Any) -> bool:
    return classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes))


def _front_end(path: Path, table: Any) -> FrontEnd:
    where = f"{path}: [front-end]"
    if not isinstance(table, Mapping):
        raise UserError(f"{where} must be a table")
    known = {field.name: field for field in fields(FrontEnd)}
    if unknown := sorted(table.keys() - known.keys()):
        raise UserError(f"{where}: {unknown[0]!r} is unknown", f"It takes {', '.join(known)}.")
    for name, field in known.items():
        if name not in table:
            if field.default is MISSING:
                raise UserError(
                    f"{where} lacks {name}", 'Write kind = "mfcc", rate = 16000 and samples = 16000.'
                )
            continue
        _check(where, name, table[name])
    try:
        return FrontEnd(**table)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


CHOICES = {"kind": ("waveform", "log-mel", "mfcc"), "scale": ("htk", "slaney"), "log": ("ln", "db")}
REALS = frozenset({"low", "high", "power", "floor"})
MOST = 1 << 24
"""Samples of a clip, points of an FFT, bands: more is a mistake, or an attack."""


def _check(where: str, name: str, value: Any) -> None:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise UserError(f"{where}: {name} is one of {', '.join(CHOICES[name])}, not {value!r}")
        return
    number = isinstance(value, int | float if name in REALS else int) and not isinstance(value, bool)
    if not (number and 0 <= value <= MOST):
        raise UserError(
            f"{where}: {name} is {value!r}, not a {'number' if name in REALS else 'whole number'}"
        )
