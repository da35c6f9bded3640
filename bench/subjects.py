"""The networks and samples that accuracy is measured on, and the tables it is written to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dfqgen.frontend import load
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import InputMeaning

NORMAL_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """A network, what its input means, and the samples it is measured on."""

    file: str
    meaning: InputMeaning
    data: str | None = None
    resize: int | None = None

    def samples(self, shared: Path) -> Samples:
        """Raw samples; random normals within the stated range where there is no data."""
        graph = load(shared / "models" / self.file)
        port = graph.inputs[0]
        if self.data is None:
            lo, hi = self.meaning.lo, self.meaning.hi
            noise = np.random.default_rng(1).normal(
                (lo + hi) / 2, (hi - lo) / 6, (NORMAL_SAMPLES, *port.shape[1:])
            )
            return Samples({port.tensor: np.clip(noise, lo, hi).astype(np.float32)})
        archive = np.load(shared / "data" / self.data)
        images = archive["x"]
        labels = archive["y"] if self.resize is None and "y" in archive else None
        if self.resize is not None:
            size = (self.resize, self.resize)
            images = np.stack(
                [np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BILINEAR)) for x in images]
            )
        return Samples({port.tensor: images.reshape(-1, *port.shape[1:])}, labels)


MOBILENET = InputMeaning((127.5,), (127.5,))
PIXELS = InputMeaning()
UNIT = InputMeaning((0.0,), (255.0,))

SUBJECTS = {
    "mobilenet": Subject("mobilenetv1_075_224.onnx", MOBILENET, "imagenet.npz"),
    "mobilenet-folded": Subject("mobilenetv1_075_224-folded.onnx", MOBILENET, "imagenet.npz"),
    "ic01": Subject("ic01_resnet8.onnx", PIXELS, "cifar10.npz"),
    "ic01-folded": Subject("ic01_resnet8-folded.onnx", PIXELS, "cifar10.npz"),
    "vww01": Subject("vww01_mobilenetv1_025.onnx", UNIT, "imagenet.npz", resize=96),
    "vww01-folded": Subject("vww01_mobilenetv1_025-folded.onnx", UNIT, "imagenet.npz", resize=96),
    "effnet_lite0": Subject("effnet_lite0.onnx", InputMeaning((127.0,), (128.0,)), "imagenet.npz"),
    "kws01": Subject("kws01_dscnn.onnx", InputMeaning(lo=-90.0, hi=90.0)),
    "ad01": Subject("ad01_autoencoder.onnx", InputMeaning(lo=-60.0, hi=20.0)),
}


def table_parser(description: str | None) -> argparse.ArgumentParser:
    """For a script that measures networks and writes a table into a document."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    return parser


def chosen_names(parser: argparse.ArgumentParser, only: str | None, known: Collection[str]) -> list[str]:
    """The names that --only gives, or all; an unknown one ends the script."""
    names = only.split(",") if only else list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown networks: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def replace_table(document: Path, text: str, name: str = "accuracy table") -> None:
    """Put the table between the document's markers, of which `name` is the first."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, marker, rest = document.read_text().partition(begin)
    if not marker:
        raise SystemExit(f"{document} has no {begin.strip()}")
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}{text}\n{end}{after}")
