"""Samples from a folder of images or of sounds, whose sub-folders are the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dfqgen.errors import DfqgenError, ToolMissing, UserError
from dfqgen.files import LARGEST_FILE_BYTES, check_regular
from dfqgen.samples.frontend import FrontEnd

Array = npt.NDArray[Any]
Fit = Literal["crop", "stretch", "exact"]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
SOUNDS = frozenset({".wav"})
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Of Pillow, by the input's channels."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Files in order, and the class of each where sub-folders tell."""

    files: tuple[Path, ...]
    labels: tuple[int, ...] | None


def list_folder(folder: Path, classes: Sequence[str] | None = None) -> Listing:
    """What lies in a folder, sorted. With sub-folders they are the classes: in the order of `classes`, else
    sorted by name. Hidden files are passed over. Raises UserError for folders that are neither.
    """
    names = sorted(path.name for path in _visible(folder) if path.is_dir())
    if not names:
        return Listing(_samples_of(folder), None)
    if loose := next((path for path in _visible(folder) if not path.is_dir()), None):
        raise UserError(f"{folder}: {loose.name} lies beside folders of classes", "Put it into one of them.")
    order = list(classes or names)
    if unknown := set(names) - set(order):
        raise UserError(f"{folder}: the folder {min(unknown)!r} is none of the classes {', '.join(order)}")
    files: list[Path] = []
    labels: list[int] = []
    for index, name in enumerate(order):
        found = _samples_of(folder / name) if name in names else ()
        files += found
        labels += [index] * len(found)
    return Listing(tuple(files), tuple(labels))


def _visible(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from None


def _samples_of(folder: Path) -> tuple[Path, ...]:
    found = tuple(_visible(folder))
    for path in found:
        if path.suffix.lower() not in IMAGES | SOUNDS:
            kinds = ", ".join(sorted(IMAGES | SOUNDS))
            raise UserError(f"{path}: is no image and no sound", f"A folder of samples holds {kinds}.")
    return found


def read_folder(
    folder: Path, shape: tuple[int, ...], fit: Fit, front_end: FrontEnd | None, classes: Sequence[str] | None
) -> tuple[Array, Array | None]:
    """(x [N, ...], y [N] or None): images as uint8 of `shape` (H, W, C), sounds as features of the front end.

    Raises UserError.
    """
    listing = list_folder(folder, classes)
    kinds = {path.suffix.lower() in SOUNDS for path in listing.files}
    if len(kinds) != 1:
        raise UserError(f"{folder}: holds {'images and sounds' if kinds else 'no samples'}")
    read: Callable[[Path], Array]
    if kinds == {True}:
        if front_end is None:
            raise UserError(
                f"{folder}: how sounds become features must be stated",
                "Give a .toml with a path and a [front-end], see docs/data.md.",
            )
        read = SoundReader(front_end)
    else:
        if len(shape) != 3 or shape[2] not in MODES:
            raise UserError(f"{folder}: holds images, the input takes {shape}", "Give such samples as .npz.")
        if len(listing.files) * int(np.prod(shape)) > LARGEST_FILE_BYTES:
            raise UserError(f"{folder}: takes more than {LARGEST_FILE_BYTES:,} bytes", "Take fewer images.")
        read = ImageReader(shape, fit)
    x = np.stack([_reading(path, read) for path in listing.files])
    return x, None if listing.labels is None else np.asarray(listing.labels)


def _reading(path: Path, read: Callable[[Path], Array]) -> Array:
    """One file; whatever a library raises on damaged ones is an error for the user."""
    check_regular(path)
    try:
        return read(path)
    except DfqgenError:
        raise
    except Exception as error:  # decoders of many formats: their errors are of many kinds
        raise UserError(f"{path}: cannot be read ({type(error).__name__}: {error})") from None


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Images as uint8 [H, W, C]. "crop": the shorter side to the input's, then the middle, as torchvision's
    Resize and CenterCrop do; "stretch": both sides, whatever becomes of circles; "exact": of this size
    already.
    """

    shape: tuple[int, ...]
    fit: Fit

    def __call__(self, path: Path) -> Array:
        try:
            from PIL import Image, ImageOps
        except ImportError:
            raise ToolMissing("reading images needs Pillow", "pip install 'dfqgen[data]'") from None
        height, width, channels = self.shape
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert(MODES[channels])
        if image.size != (width, height):
            if self.fit == "exact":
                raise UserError(
                    f"{path}: has {image.width}x{image.height} pixels, the input {width}x{height}"
                )
            resize = ImageOps.fit if self.fit == "crop" else Image.Image.resize
            image = resize(image, (width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class SoundReader:
    """Features of .wav files; channels are averaged."""

    front_end: FrontEnd

    def __call__(self, path: Path) -> Array:
        from scipy.io import wavfile

        rate, sound = wavfile.read(path)
        if rate != self.front_end.rate:
            raise UserError(
                f"{path}: has {rate} samples a second, the front end {self.front_end.rate}",
                "Resample it first.",
            )
        if sound.dtype == np.uint8:
            sound = (sound.astype(np.float64) - 128.0) / 128.0
        elif sound.dtype.kind == "i":
            sound = sound.astype(np.float64) / (1 << (8 * sound.dtype.itemsize - 1))
        return self.front_end.features(sound if sound.ndim == 1 else sound.mean(axis=1))
