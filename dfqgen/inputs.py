"""What goes into a network: samples from .npz files, and random ones of a stated meaning."""

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
from dfqgen.quantization.options import InputMeaning

Array = npt.NDArray[Any]

# What is assumed when the user says nothing: the network was fed normalised values.
UNSTATED = InputMeaning(lo=-1.0, hi=1.0)
PIXELS = (0.0, 255.0)


def state_meaning(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, bounds: tuple[float, float] | None
) -> InputMeaning | None:
    """What the options say of the input, or None when they say nothing.

    With a mean or a deviation alone, raw values are pixels, 0..255.
    """
    if mean is None and std is None and bounds is None:
        return None
    lo, hi = bounds if bounds is not None else PIXELS
    if not lo < hi:
        raise UserError(f"the input range {lo:g},{hi:g} is not a range: the first number must be the smaller")
    if std is not None and not all(s > 0 for s in std):
        raise UserError("the input's standard deviation must be above zero")
    return InputMeaning(mean or (0.0,), std or (1.0,), lo, hi)


def meanings_for(graph: Graph, stated: InputMeaning | None) -> dict[str, InputMeaning]:
    """The meaning of every input by port name: as stated, or the default."""
    meaning = UNSTATED if stated is None else stated
    for port in graph.inputs:
        for what, values in (("mean", meaning.mean), ("standard deviation", meaning.std)):
            if len(values) not in (1, port.shape[-1]):
                raise UserError(
                    f"the input {what} has {len(values)} values, {port.name!r} has {port.shape[-1]} channels",
                    "Give one value, or one for each channel.",
                )
    return {port.name: meaning for port in graph.inputs}


def normalize_inputs(
    graph: Graph, meanings: Mapping[str, InputMeaning], raw: Mapping[str, Array]
) -> dict[str, Array]:
    """Raw inputs by tensor as the float network sees them; `meanings` are by port name."""
    return {port.tensor: meanings[port.name].normalize(raw[port.tensor]) for port in graph.inputs}


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
    for port in graph.inputs:
        key = "x" if len(graph.inputs) == 1 and "x" in arrays else port.name
        if key not in arrays:
            wanted = "x" if len(graph.inputs) == 1 else key
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
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise UserError(f"{path}: {name!r} must be uint8 or float32, not {x.dtype}")
    if x.ndim < 1 or not len(x):
        raise UserError(f"{path}: {name!r} holds no samples")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError(f"{path}: {name!r} contains NaN or infinite values")
    ours = port.shape[1:]
    model = tuple(np.empty(port.shape, np.bool_).transpose(_inverse(port.permutation)).shape[1:])
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


def random_samples(
    graph: Graph, meanings: Mapping[str, InputMeaning], count: int, seed: int = 0, *, smooth: bool = True
) -> Samples:
    """Raw inputs of the stated meaning: white noise, by turns with `smooth` random fields for images."""
    generator = np.random.default_rng(seed)
    raw = {}
    for port in graph.inputs:
        meaning = meanings[port.name]
        unit = np.stack(
            [_random_field(port.shape[1:], generator, smooth=smooth and bool(i % 2)) for i in range(count)]
        )
        centre, spread = (meaning.lo + meaning.hi) / 2, (meaning.hi - meaning.lo) / 4
        raw[port.tensor] = np.clip(centre + spread * unit, meaning.lo, meaning.hi).astype(np.float32)
    return Samples(raw)


def _random_field(shape: tuple[int, ...], generator: np.random.Generator, *, smooth: bool) -> Array:
    """Standard normal values; smooth over H and W when asked (a 4x4 grid, bilinearly enlarged)."""
    if not smooth or len(shape) != 3 or min(shape[:2]) < 8:
        return generator.standard_normal(shape)
    field = generator.standard_normal((4, 4, shape[2]))
    for axis in (0, 1):
        at = np.linspace(0.0, 3.0, shape[axis])
        low = np.minimum(at.astype(np.int64), 2)
        weight = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        field = field.take(low, axis) * (1 - weight) + field.take(low + 1, axis) * weight
    return field + 0.2 * generator.standard_normal(shape)
