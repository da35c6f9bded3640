"""Samples as files: .npz to use again, and a contact sheet to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.samples.files import load_samples as load_raw_samples
from dfqgen.samples.meaning import InputMeaning, normalize_inputs

# White pixels between the images of a contact sheet.
GUTTER = 2


def save_samples(
    path: Path,
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    samples: Mapping[str, Array],
    made: str = "synthesized",
) -> None:
    """Write samples (as the float network sees them) as raw values, what `--calibration-data` reads.

    The array is called x, or like the input where there are several; channels last. `made` tells readers
    that these are not real samples, and what they come from.
    """
    arrays: dict[str, Any] = {"made": np.array(made)}
    for port in graph.fed:
        raw = meanings[port.name].denormalize(samples[port.tensor])
        arrays["x" if len(graph.fed) == 1 else port.name] = raw.astype(np.float32)
    np.savez_compressed(path, **arrays)


def load_samples(path: Path, graph: Graph, meanings: Mapping[str, InputMeaning]) -> dict[str, Array]:
    """Samples from a file of raw values, as the float network sees them, by input tensor."""
    raw = load_raw_samples(path, graph).raw
    return normalize_inputs(graph, meanings, raw)


def save_contact_sheet(
    path: Path, graph: Graph, meanings: Mapping[str, InputMeaning], samples: Mapping[str, Array]
) -> None:
    """All samples of the first input as a PNG, its range from black to white; one plane of other inputs."""
    from matplotlib.image import imsave

    port = graph.fed[0]
    images = samples[port.tensor]
    if images.ndim < 3:
        raise UserError(f"the samples of {port.name!r} are no images: there is nothing to draw")
    meaning = meanings[port.name]
    shades = np.clip((meaning.denormalize(images) - meaning.lo) / (meaning.hi - meaning.lo), 0.0, 1.0)
    if shades.ndim == 3:
        shades = shades[..., None]
    if shades.shape[-1] != 3:
        shades = np.repeat(shades[..., :1], 3, axis=-1)
    count, height, width, _ = shades.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.ones((rows * (height + GUTTER) + GUTTER, columns * (width + GUTTER) + GUTTER, 3))
    for i, image in enumerate(shades):
        top = GUTTER + i // columns * (height + GUTTER)
        left = GUTTER + i % columns * (width + GUTTER)
        sheet[top : top + height, left : left + width] = image
    imsave(path, sheet)
