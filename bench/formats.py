"""What quantized models in and out keep: networks that onnxruntime quantized, imported and exported again.

    python bench/formats.py SHARED [--only ic01]

Every network of MLPerf Tiny is quantized by onnxruntime's quantize_static on 64 samples, in each form that it
writes, and read by dfqgen. `same` and `within a step` compare the integers of the output with onnxruntime's
as it runs the file by default: integer kernels where it has them (on a processor with VNNI: without it they
saturate). `unfused` is `within a step` of what it gives without graph optimizations, in float between
roundings, and `itself` compares these two: how far apart two programs are that are both right.
`largest layer` is the share of integers that differ in the layer where most do, each layer on the same
inputs; `back` says whether exported and read again the bits are the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnx
import typer
from onnxruntime.quantization import QuantFormat, QuantType
from onnxruntime_static import Feeds, quantized_model, run
from PIL import Image
from subjects import SUBJECTS, Subject

from dfqgen import make_recipe
from dfqgen.compile import Compiled, compile_model
from dfqgen.errors import UserError
from dfqgen.export import compare_with_onnxruntime, qdq_model
from dfqgen.frontend import load

Array = npt.NDArray[Any]

CALIBRATION = 64
MOST = 1000
BATCH = 50
NETWORKS = ("ic01", "vww01", "kws01", "ad01")
FORMS: Mapping[str, Mapping[str, Any]] = {
    "QDQ, int8": {},
    "QDQ, uint8 x int8": {"activations": QuantType.QUInt8},
    "QDQ, uint8, weights asymmetric": {
        "activations": QuantType.QUInt8,
        "weights": QuantType.QUInt8,
        "per_channel": False,
    },
    "QOperator": {"form": QuantFormat.QOperator, "activations": QuantType.QUInt8},
    "QDQ, int16 x int8": {"activations": QuantType.QInt16},
}


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A network's samples, as the model takes them and with labels where there are some."""

    feeds: Feeds
    values: Mapping[str, Array]
    labels: Array | None


def samples_of(subject: Subject, shared: Path) -> Data:
    port = load(shared / "models" / subject.file).inputs[0]
    samples = subject.samples(shared)
    raw = samples.raw[port.tensor]
    if subject.data is not None and subject.resize is not None:
        raw = views(np.load(shared / "data" / subject.data)["x"], subject.resize)
    values = subject.meaning.normalize(raw[:MOST])
    feeds = [{port.name: port.to_model(values[i : i + 1])} for i in range(len(values))]
    labels = None if samples.labels is None else samples.labels[:MOST]
    return Data(feeds, {port.tensor: values}, labels)


def views(images: Array, size: int) -> Array:
    """Images [N,H,W,3] whole, mirrored and cropped in three ways, each resized: five times as many."""
    side = images.shape[1]
    cuts = (slice(0, 5 * side // 7), slice(2 * side // 7, side), slice(side // 7, 6 * side // 7))
    every = [images, images[:, :, ::-1], *(images[:, cut, cut] for cut in cuts)]
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
            for view in every
            for image in view
        ]
    )


def our_output(compiled: Compiled, data: Data) -> Array:
    """The program's outputs as reals, [N, ...]."""
    program = compiled.program
    (port,), (output,) = program.inputs, program.outputs
    (values,) = data.values.values()
    integers = program.tensors[port.tensor].qtype.quantize(values)
    parts = [
        program.run({port.tensor: integers[i : i + BATCH]})[output.tensor]
        for i in range(0, len(integers), BATCH)
    ]
    return program.tensors[output.tensor].qtype.dequantize(np.concatenate(parts))


def share(a: Array, b: Array, step: float, steps: int) -> str:
    """How many values are at most `steps` apart."""
    return f"{100 * float(np.mean(np.abs(a - b) < (steps + 0.5) * step)):.1f} %"


def comes_back(compiled: Compiled, folder: Path, data: Data) -> bool:
    """Whether the exported model is the same program. Raises UserError where it has no such form."""
    path = folder / "again.onnx"
    onnx.save(qdq_model(compiled.program), path)
    again = compile_model(path).program
    program = compiled.program
    (values,) = data.values.values()
    (here,), (there,) = program.inputs, again.inputs
    integers = program.tensors[here.tensor].qtype.quantize(values[:CALIBRATION])
    (expected,) = program.run({here.tensor: integers}).values()
    (found,) = again.run({there.tensor: integers}).values()
    return np.array_equal(expected, found)


def largest_layer(compiled: Compiled, data: Data) -> str:
    program = compiled.program
    (values,) = data.values.values()
    (port,) = program.inputs
    integers = {port.tensor: program.tensors[port.tensor].qtype.quantize(values[:16])}
    layers = compare_with_onnxruntime(program, integers)
    worst = max(layers, key=lambda layer: layer.differ / layer.values)
    return (
        f"{100 * worst.differ / worst.values:.2f} % ({worst.operator}, {max(x.largest for x in layers)} step)"
    )


def row(name: str, form: str, shared: Path, folder: Path) -> list[str]:
    """One line of the table."""
    subject = SUBJECTS[name]
    data = samples_of(subject, shared)
    file = folder / f"{name}.onnx"
    file.write_bytes(
        quantized_model(shared / "models" / subject.file, data.feeds[:CALIBRATION], **FORMS[form])
    )
    compiled = compile_model(file, make_recipe())
    step = compiled.program.tensors[compiled.program.outputs[0].tensor].qtype.scale
    (plain,), (fused,) = (run(file, data.feeds, optimize=optimize).values() for optimize in (False, True))
    ours = our_output(compiled, data).reshape(plain.shape)
    first, theirs = (scores.reshape(len(scores), -1).argmax(axis=1) for scores in (ours, fused))
    cells = [name, form, str(len(ours)), share(ours, fused, step, 0), share(ours, fused, step, 1)]
    cells += [share(ours, plain, step, 1), share(plain, fused, step, 1)]
    cells += [f"{100 * float(np.mean(first == theirs)):.1f} %"]
    right = [] if data.labels is None else [float(np.mean(best == data.labels)) for best in (first, theirs)]
    cells += [" / ".join(f"{100 * rate:.1f}" for rate in right)]
    try:
        return [*cells, largest_layer(compiled, data), "yes" if comes_back(compiled, folder, data) else "no"]
    except UserError:
        return [*cells, "", "not exported"]


def main(
    shared: Annotated[Path, typer.Argument(help="The folder with models/ and data/.")],
    only: Annotated[list[str] | None, typer.Option(help="Networks.")] = None,
) -> None:
    """Print the table."""
    head = [
        "network", "form", "samples", "same", "within a step", "unfused", "itself", "top-1 agreement",
        "top-1, C / onnxruntime", "largest layer", "back",
    ]  # fmt: skip
    print("| " + " | ".join(head) + " |")
    print("|---|---" + "|--:" * (len(head) - 2) + "|")
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        for name in only or NETWORKS:
            for form in FORMS:
                print("| " + " | ".join(row(name, form, shared, Path(scratch))) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
