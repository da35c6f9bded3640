"""TFLite Micro's person detector on Cortex-M: dfqgen, and the CMSIS-NN calls that TFLite Micro makes.

    python bench/person_detect.py SHARED --cmsis-nn ../CMSIS-NN [--target cortex-m4]
    python bench/person_detect.py SHARED --tflite person_detect.tflite

The model is quantized already (tflm_person_detect.onnx in SHARED/models), so both compute with its integers:
every result of CMSIS-NN is checked against ours, to the difference that its second rounding makes. With the
.tflite file that TFLite Micro has, the program's integers beside those of TFLite's interpreter on 200 images.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import typer
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # type: ignore[import-untyped]
from cortex_m import Bench
from PIL import Image

from dfqgen import make_recipe
from dfqgen.compile import compile_model
from dfqgen.targets import load_target

Array = npt.NDArray[Any]

IMAGES = 200
SIDE = 96
KERNELS = {
    "XNNPACK, one rounding a layer": OpResolverType.AUTO,
    "reference, two roundings": OpResolverType.BUILTIN_REF,
}


def images(shared: Path) -> Array:
    """Photographs in shades of grey, int8 [N, 96, 96, 1]."""
    photos = np.load(shared / "data" / "imagenet.npz")["x"][:IMAGES]
    grey = [
        Image.fromarray(photo).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for photo in photos
    ]
    return (np.stack([np.asarray(image, np.int16) for image in grey]) - 128).astype(np.int8)[..., None]


def readable(file: Path) -> bytes:
    """The file as newer interpreters take it: its vectors name a fourth axis for their scales."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(file.read_bytes()), 0))
    for tensor in model.subgraphs[0].tensors:
        if tensor.shape is not None and len(tensor.shape) == 1 and tensor.quantization is not None:
            tensor.quantization.quantizedDimension = 0
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def interpreted(model: bytes, inputs: Array, kernels: OpResolverType) -> Array:
    """The interpreter's scores, int64 [N, classes]."""
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    source, scores = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for sample in range(len(inputs)):
        interpreter.set_tensor(source, inputs[sample : sample + 1])
        interpreter.invoke()
        found.append(interpreter.get_tensor(scores).ravel().astype(np.int64))
    return np.stack(found)


def beside_tflite(shared: Path, file: Path) -> None:
    """Print how many scores are TFLite's."""
    program = compile_model(file, make_recipe()).program
    inputs = images(shared)
    (scores,) = program.run({program.inputs[0].tensor: inputs}).values()
    ours = scores.reshape(len(inputs), -1).astype(np.int64)
    print("| TFLite's kernels | same | within a step | largest | top-1 agreement |")
    print("|---|--:|--:|--:|--:|")
    for name, kernels in KERNELS.items():
        theirs = interpreted(readable(file), inputs, kernels)
        off = np.abs(ours - theirs)
        agreed = np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))
        shares = [f"{100 * np.mean(off <= steps):.1f} %" for steps in (0, 1)]
        print("| " + " | ".join([name, *shares, str(off.max()), f"{100 * agreed:.1f} %"]) + " |")


def beside_cmsis_nn(shared: Path, cmsis_nn: Path, targets: list[str]) -> None:
    """Print the instructions of both."""
    print("| core | multiply-accumulates | instructions | with CMSIS-NN | ratio | arena | wrong values |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in targets:
        core = load_target(name)
        program = compile_model(
            shared / "models" / "tflm_person_detect.onnx", make_recipe(target=name)
        ).program
        with tempfile.TemporaryDirectory(prefix="dfqgen-") as work:
            bench = Bench(shared / "models", cmsis_nn, Path(work))
            counted, _, arena_bytes = bench.count(program, core, "speed")
            ours = sum(counted.instructions)
            theirs = sum(instructions for instructions, _ in bench.count_cmsis(program, core))
        cells = [name, f"{program.macs:,}", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.2f}"]
        cells += [f"{arena_bytes:,} B", str(counted.wrong_values)]
        print("| " + " | ".join(cells) + " |", flush=True)


def main(
    shared: Annotated[Path, typer.Argument(help="The folder with models/ and data/.")],
    cmsis_nn: Annotated[Path | None, typer.Option(help="A checkout of CMSIS-NN.")] = None,
    tflite: Annotated[Path | None, typer.Option(help="TFLite Micro's person_detect.tflite.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Targets.")] = None,
) -> None:
    """Print the tables."""
    if tflite is not None:
        beside_tflite(shared, tflite)
    if cmsis_nn is not None:
        beside_cmsis_nn(shared, cmsis_nn, target or ["cortex-m4"])


if __name__ == "__main__":
    typer.run(main)
