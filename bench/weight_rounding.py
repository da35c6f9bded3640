"""What rounding of 8-bit weights alone does to each output, activations in float: to nearest and by feedback.

    python bench/weight_rounding.py --shared ../shared [--only ic01_resnet8] [--write docs/accuracy.md]

SQNR on real samples, no data used, with and without the correction of biases. Networks in italics had a say
in `second_moments.DOUBT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from subjects import replace_table, table_parser
from zoo_networks import read_zoo, subject

from dfqgen.compile import compile_model
from dfqgen.graph.ir import Array, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.rounding import Independent, Rounded
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.recipe import Choices, make_recipe
from dfqgen.verify.compare import ErrorMeter

SAMPLES = 16
TUNED = ("armkws_CNN", "ic01_resnet8-folded", "mlc_kws_float", "vww01_mobilenetv1_025")
NETWORKS = (
    *TUNED,
    "ad01_autoencoder",
    "armkws_DNN",
    "armkws_DS_CNN",
    "bcresnet8",
    "ic01_resnet8",
    "kws01_dscnn",
    "minifasnet_v2",
    "mp_face_detection_short_range",
    "vww01_mobilenetv1_025-folded",
)


def cells(name: str, shared: Path) -> list[str]:
    """SQNR of each output in dB: nearest, nearest with biases corrected, feedback with biases corrected."""
    network = read_zoo(shared)[name]
    found = subject(network, shared, SAMPLES)
    choices = Choices(
        input_shape=network.shapes, meaning=found.meaning, activations="int8", rounding="nearest"
    )
    recipe = make_recipe(**choices)
    compiled = compile_model(network.path(shared), recipe)
    graph = compiled.network.graph
    raw = {port.tensor: port.from_model(np.concatenate(found.raw[port.name])) for port in graph.inputs}
    samples = compiled.network.normalize(raw)
    typed = assign_types(compiled.quantized.prepared, recipe.activations)
    ways = (
        Independent(recipe.weights, "nearest", correct_bias=False),
        Independent(recipe.weights, "nearest"),
        Independent(recipe.weights, "feedback"),
    )
    return [", ".join(decibels(typed, way.round(typed, {}), samples)) for way in ways]


def decibels(typed: Typed, rounded: Rounded, samples: Mapping[str, Array]) -> list[str]:
    """Of every output: the graph with rounded weights beside the float one."""
    ops: dict[str, Op] = {
        node.output: replace(node.op, weight=rounded.weights[node.output].dequantize())
        for node in rounded.graph.nodes
        if isinstance(node.op, Conv2D)
    }
    exact, changed = typed.graph.evaluate(samples), rounded.graph.replace_ops(ops).evaluate(samples)
    found = []
    for port in typed.graph.given:
        meter = ErrorMeter()
        meter.add(exact[port.tensor], changed[port.tensor])
        found.append(f"{meter.sqnr_db:.1f}")
    return found


def main() -> None:
    arguments = table_parser(__doc__).parse_args()
    names = arguments.only.split(",") if arguments.only else NETWORKS
    lines = ["| network | nearest | nearest, biases corrected | feedback, biases corrected |"]
    lines.append("|---|--:|--:|--:|")
    for name in names:
        shown = f"*{name}*" if name in TUNED else name
        lines.append(f"| {shown} | {' | '.join(f'{cell} dB' for cell in cells(name, arguments.shared))} |")
        print(lines[-1], flush=True)
        if arguments.write:
            replace_table(arguments.write, "\n".join(lines), "weights table")


if __name__ == "__main__":
    main()
