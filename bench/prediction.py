"""The SQNR that is predicted of each output beside what real samples give, int8.

    python bench/prediction.py --shared ../shared [--only ic01_resnet8,kws01_dscnn] [--write docs/accuracy.md]

Both are of the tensor that an output is judged at, before a softmax or its like, with what that cannot tell
apart taken off (`statistics.saturation`): so they differ from the SQNR of the
output itself. The program runs in the interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from subjects import replace_table, table_parser
from zoo_networks import read_zoo, subject

from dfqgen.compile import Compiled, compile_model
from dfqgen.graph.ir import Array
from dfqgen.quantization.predicted_noise import simulated_sqnr
from dfqgen.recipe import Choices, make_recipe

SAMPLES = 12
NETWORKS = (
    "armkws_CNN",
    "armkws_DS_CNN",
    "armkws_DNN",
    "kws01_dscnn",
    "ad01_autoencoder",
    "ic01_resnet8",
    "ic01_resnet8-folded",
    "andes_rnnoise",
    "vww01_mobilenetv1_025",
    "vww01_mobilenetv1_025-folded",
    "mp_face_detection_short_range",
    "ppocr_cls",
    "minifasnet_v2",
    "bcresnet8",
)


def rows(name: str, shared: Path) -> Iterator[tuple[str, float, float]]:
    """Each output with its predicted and its measured decibels."""
    network = read_zoo(shared)[name]
    found = subject(network, shared, SAMPLES)
    choices = Choices(input_shape=network.shapes, meaning=found.meaning, activations="int8")
    compiled = compile_model(network.path(shared), make_recipe(**choices))
    graph = compiled.network.graph
    raw = {port.tensor: port.from_model(np.concatenate(found.raw[port.name])) for port in graph.inputs}
    yield from decibels(compiled, compiled.network.normalize(raw))


def decibels(compiled: Compiled, inputs: Mapping[str, Array]) -> Iterator[tuple[str, float, float]]:
    """The same of a program on inputs [N, ...] by tensor, as the float network sees them."""
    quantized = compiled.quantized
    measured = simulated_sqnr(quantized.prepared.graph, quantized.program, inputs)
    for name, found in measured.items():
        yield name, quantized.predicted_db[name], found


def main() -> None:
    arguments = table_parser(__doc__).parse_args()
    names = arguments.only.split(",") if arguments.only else NETWORKS
    lines = ["| network | output | predicted | measured | off by |", "|---|---|--:|--:|--:|"]
    for name in names:
        for output, predicted, measured in rows(name, Path(arguments.shared)):
            short = output if len(output) < 24 else f"{output[:20]}..."
            difference = f"{predicted - measured:+.1f}"
            cells = [name, short, f"{predicted:.1f} dB", f"{measured:.1f} dB", difference]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
        if arguments.write:
            replace_table(arguments.write, "\n".join(lines), "prediction table")


if __name__ == "__main__":
    main()
