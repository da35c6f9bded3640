"""What the examples share: where models and pictures lie, and running a built network on float images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import dfqgen
from dfqgen import BuildResult
from dfqgen.graph.ir import Array
from dfqgen.graph.reference import Reference
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.host import HostNetwork


def arguments(description: str, model: str, data: str) -> argparse.Namespace:
    """--model, --data (an .npz with images x, uint8 NHWC) and --output; DFQGEN_SHARED gives the first two."""
    shared = Path(os.environ.get("DFQGEN_SHARED", "."))
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=shared / "models" / model)
    parser.add_argument("--data", type=Path, default=shared / "data" / data)
    parser.add_argument("--output", type=Path, default=Path("out") / Path(model).stem, help="folder of C")
    parser.add_argument("--picture", type=Path, help="where to put the picture (default: beside the C)")
    return parser.parse_args()


def build(model: Path, folder: Path, meaning: InputMeaning) -> BuildResult:
    """The network as C for this machine, checked bit for bit against the integer reference."""
    recipe = dfqgen.make_recipe(target="host", meaning=meaning)
    return dfqgen.build(model, folder, recipe, force=True, progress=lambda stage: print(f"... {stage}"))


def run_c(result: BuildResult, images: Array, meaning: InputMeaning) -> dict[str, Array]:
    """What the C answers to images [N,H,W,C]: by output name, real numbers, in the model's axes."""
    program = result.program
    (source,) = program.inputs
    integers = program.tensors[source.tensor].qtype.quantize(meaning.normalize(images))
    found = HostNetwork(result.folder, native=True).run({source.tensor: integers})
    outputs = {}
    for port in program.outputs:
        real = program.tensors[port.tensor].qtype.dequantize(found[port.tensor])
        outputs[port.name] = (
            real if port.permutation is None else real.transpose(np.argsort(port.permutation))
        )
    return outputs


def run_float(model: Path, images: Array, meaning: InputMeaning) -> Mapping[str, Array]:
    """What onnxruntime answers with the float model, by output name."""
    reference = Reference(model)
    (name,) = reference.input_names
    return reference.run({name: meaning.normalize(images).transpose(0, 3, 1, 2)})
