"""What other tools reach on the same images in the same run: onnxruntime's static quantization, and AIMET.

    python bench/peers.py --shared ../shared [--aimet-python VENV/bin/python] [--write docs/accuracy.md]

mobilenetv1_075_224, top-1 on 200 ImageNet images. Calibration is with 64 of them, evenly spaced; figures in
brackets leave these out. Beside them the same tools with 64 samples of noise, for they need some, and dfqgen
with no data. AIMET wants an environment of its own (`pip install aimet-onnx` there).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import onnxruntime_static
from subjects import SUBJECTS, replace_table

from dfqgen.commands.evaluate import evaluate
from dfqgen.recipe.choices import Choices, make_recipe
from dfqgen.recipe.records import Granularity
from dfqgen.samples.files import Samples

Array = npt.NDArray[Any]

CALIBRATION_IMAGES = 64
NOISE_SEED = 1
GRANULARITIES: tuple[Granularity, ...] = ("per-tensor", "per-channel")


class Accuracy:
    """Top-1 on all images, and on those that nothing was calibrated with."""

    def __init__(self, labels: Array, calibration: Array) -> None:
        self._labels = labels
        self._others = np.setdiff1d(np.arange(len(labels)), calibration)

    def text(self, scores: Array) -> str:
        right = scores.reshape(len(self._labels), -1).argmax(axis=1) == self._labels
        return f"{100 * right.mean():.1f} ({100 * right[self._others].mean():.1f})"


def aimet(python: Path, model: Path, images: Array, sources: Mapping[str, Array]) -> Mapping[str, Array]:
    """Outputs by method, granularity and source of calibration, by the interpreter that has AIMET."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        samples, outputs = Path(scratch) / "samples.npz", Path(scratch) / "outputs.npz"
        arrays: dict[str, Any] = {"images": images, **sources}
        np.savez(samples, **arrays)
        script = Path(__file__).parent / "peers_aimet.py"
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([python, script, model, samples, outputs], check=True, stdout=sys.stderr, env=clean)
        return dict(np.load(outputs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--aimet-python", type=Path, help="the interpreter AIMET is installed for")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    arguments = parser.parse_args()
    network = SUBJECTS["mobilenet"]
    shared = Path(arguments.shared)
    model = shared / "models" / network.file
    samples = network.samples(shared)
    ((tensor, raw),) = samples.raw.items()
    chosen = np.linspace(0, len(raw) - 1, CALIBRATION_IMAGES).round().astype(int)
    assert samples.labels is not None
    accuracy = Accuracy(samples.labels, chosen)

    images = np.moveaxis(network.meaning.normalize(raw), -1, 1)
    noise = np.random.default_rng(NOISE_SEED).normal(0.0, 0.5, images[chosen].shape)
    sources = {"noise": np.clip(noise, -1.0, 1.0).astype(np.float32), "real": images[chosen]}
    rows: dict[str, list[str]] = {}

    def cell(row: str, text: str) -> None:
        print(f"{row:60s} {text}", file=sys.stderr, flush=True)
        rows.setdefault(row, []).append(text)

    feeds = [{"input": image[None]} for image in images]
    floats = onnxruntime_static.run(model, feeds)["output"]
    cell("float (onnxruntime)", accuracy.text(floats))
    rows["float (onnxruntime)"] *= 4
    for weights in GRANULARITIES:
        choices = Choices(target="cortex-m4", meaning=network.meaning, weights=weights)
        choices["activations"] = "int8"  # as the peers
        calibrated: Choices = {**choices, "calibration_data": Samples({tensor: raw[chosen]})}
        for recipe in (make_recipe(**choices), make_recipe(**calibrated)):
            found = evaluate(model, samples, recipe, float_outputs={"output": floats})
            cell("dfqgen, no data / 64 real images", accuracy.text(found.outputs["output"]))
        for source in sources.values():
            outputs = onnxruntime_static.quantized_outputs(
                model,
                [{"input": sample[None]} for sample in source],
                feeds,
                per_channel=weights == "per-channel",
            )
            title = f"onnxruntime {onnxruntime.__version__} static quantization"
            cell(title, accuracy.text(outputs["output"]))
    if arguments.aimet_python:
        answers = aimet(arguments.aimet_python, model, images, sources)
        for method, words in (("quantsim", "quantsim"), ("equalized", "equalization + quantsim")):
            for weights in GRANULARITIES:
                for name in sources:
                    title = f"AIMET {answers['version']} {words}"
                    cell(title, accuracy.text(answers[f"{method} {weights} {name}"]))
    lines = [
        "| | per-tensor, noise / 64 real images | per-channel, noise / 64 real images |",
        "|---|---|---|",
    ]
    lines += [f"| {row} | {a} / {b} | {c} / {d} |" for row, (a, b, c, d) in rows.items()]
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        replace_table(arguments.write, text, "peers table")


if __name__ == "__main__":
    main()
