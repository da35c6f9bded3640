"""Samples from .npz files."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import DfqgenError, UserError
from dfqgen.files import LARGEST_FILE_BYTES, check_regular
from dfqgen.graph.ir import Graph, Port

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Raw samples by input tensor ([N, ...], our axes), and their labels where known.

    `made` says of samples that are not real where they come from.
    """

    raw: Mapping[str, Array]
    labels: Array | None = None
    made: str | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.raw.values())))

    def take(self, limit: int | None) -> Samples:
        """The first `limit` samples."""
        if limit is None or limit >= self.count:
            return self
        labels = None if self.labels is None else self.labels[:limit]
        return Samples({name: value[:limit] for name, value in self.raw.items()}, labels, self.made)


def load_samples(path: Path, graph: Graph) -> Samples:
    """Read an .npz file: `x` [N, ...], and `y` [N], the labels, where there are any.

    uint8 or float32, channels last; the model's own axes are taken too where they differ.
    A network with several inputs has one array for each, named like the input. `made` is a text in files
    of `dfqgen synthesize`.
    """
    arrays = _read_npz(path)
    raw: dict[str, Array] = {}
    for port in graph.fed:
        key = "x" if len(graph.fed) == 1 and "x" in arrays else port.name
        if key not in arrays:
            wanted = "x" if len(graph.fed) == 1 else key
            raise UserError(f"{path}: has no array {wanted!r}, only {', '.join(sorted(arrays)) or 'nothing'}")
        raw[port.tensor] = _as_samples(path, key, arrays[key], port)
    counts = {len(value) for value in raw.values()}
    if len(counts) != 1:
        raise UserError(f"{path}: the inputs have different numbers of samples")
    labels = arrays.get("y")
    if labels is not None and (labels.shape != (counts.pop(),) or labels.dtype.kind not in "iu"):
        raise UserError(f"{path}: y must hold one integer for each sample, not {labels.dtype} {labels.shape}")
    made = arrays.get("made")
    return Samples(raw, labels, str(made) if made is not None and made.dtype.kind == "U" else None)


def _read_npz(path: Path) -> dict[str, Array]:
    check_regular(path)
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: is not an .npz file", hint="Save it with numpy.savez(path, x=...).")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if sum(member.file_size for member in members) > LARGEST_FILE_BYTES:
                raise UserError(
                    f"{path}: unpacks to more than {LARGEST_FILE_BYTES:,} bytes", "Take fewer samples."
                )
            return {m.filename.removesuffix(".npy"): _read_array(archive, m) for m in members}
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
        raise UserError(f"{path}: cannot be read as an .npz file ({error})") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """One array, never unpickled; its stated size is compared with the file's before memory is taken."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
            raise ValueError(f"{member.filename} holds objects, or less than its shape says")
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _as_samples(path: Path, name: str, x: Array, port: Port) -> Array:
    integers = x.dtype.kind in "iu" and (port.holds is not None or port.coding is not None)
    if x.dtype != np.uint8 and x.dtype.kind != "f" and not integers:
        raise UserError(f"{path}: {name!r} must be uint8 or float32, not {x.dtype}")
    if x.ndim < 1 or not len(x):
        raise UserError(f"{path}: {name!r} holds no samples")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError(f"{path}: {name!r} contains NaN or infinite values")
    ours = port.shape[1:]
    model = tuple(np.empty(port.shape, np.bool_).transpose(_inverse(port.permutation)).shape[1:])
    if port.coding is not None and x.dtype.kind in "iu":
        x = port.coding.decode(x)
    if x.shape[1:] == ours:
        return x
    if x.shape[1:] == model:
        return port.from_model(x)
    raise UserError(
        f"{path}: {name!r} holds samples of shape {x.shape[1:]}, input {port.name!r} takes {ours}"
        " (channels last)"
    )


def _inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if permutation is None else tuple(int(axis) for axis in np.argsort(permutation))
