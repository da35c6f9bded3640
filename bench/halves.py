"""The honest test of the constants behind ranges: chosen on half of the networks, judged on the other half.

    python bench/halves.py --shared ../shared [--only ic01_resnet8,kws01_dscnn] [--write docs/accuracy.md]

For every network, activations in int8 by ranges with each pair of constants (`tensor_ranges.DAMAGE`,
`SURPRISE_OCTAVES`) are simulated on real samples, weights in float. On each half, every other network by
name, the pair with the best mean SQNR is chosen; the other half's figures with it stand beside those with
the constants as they are. Equalization is decided by the constants as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from subjects import replace_table, table_parser
from zoo_networks import read_zoo, subject

from dfqgen.compile import compile_model
from dfqgen.quantization import tensor_ranges
from dfqgen.quantization.simulated import simulated_noise
from dfqgen.quantization.types import assign_types
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.records import ActivationsRecipe

SAMPLES = 8
DAMAGES = (0.00125, 0.005, 0.02)
OCTAVES = (0.4, 0.8, 1.2)
NETWORKS = (
    "ad01_autoencoder",
    "armkws_CNN",
    "armkws_DNN",
    "armkws_DS_CNN",
    "ic01_resnet8",
    "ic01_resnet8-folded",
    "kws01_dscnn",
    "mp_face_detection_short_range",
    "vww01_mobilenetv1_025",
    "vww01_mobilenetv1_025-folded",
)

Pair = tuple[float, float]
"""A damage, and octaves of a surprise."""
PRESENT: Pair = (tensor_ranges.DAMAGE, tensor_ranges.SURPRISE_OCTAVES)
PAIRS: tuple[Pair, ...] = tuple(itertools.product(DAMAGES, OCTAVES))


def set_constants(pair: Pair) -> None:
    """Have ranges chosen by other constants, in this process."""
    tensor_ranges.DAMAGE, octaves = pair
    quantiles = (np.arange(40) + 0.5) / 40
    tensor_ranges.SURPRISES = 2.0 ** np.concatenate(
        [tensor_ranges.USUAL_OCTAVES * ndtri(quantiles), -octaves * np.log(1.0 - quantiles)]
    )


def decibels(name: str, shared: Path) -> dict[Pair, float]:
    """SQNR of a network's outputs, of all together, with every pair of constants."""
    network = read_zoo(shared)[name]
    found = subject(network, shared, SAMPLES)
    choices = Choices(input_shape=network.shapes, meaning=found.meaning, activations="int8")
    set_constants(PRESENT)
    compiled = compile_model(network.path(shared), make_recipe(**choices))
    graph, prepared = compiled.network.graph, compiled.quantized.prepared
    raw = {port.tensor: port.from_model(np.concatenate(found.raw[port.name])) for port in graph.inputs}
    samples = compiled.network.normalize(raw)
    exact = prepared.graph.evaluate(samples)
    result = {}
    for pair in PAIRS:
        set_constants(pair)
        noise = simulated_noise(assign_types(prepared, ActivationsRecipe(activations="int8")), samples, exact)
        result[pair] = float(-10.0 * np.log10(max(noise, 1e-30)))
    return result


def best(measured: Mapping[str, Mapping[Pair, float]]) -> Pair:
    """The pair with the best mean over networks."""
    return max(PAIRS, key=lambda pair: float(np.mean([figures[pair] for figures in measured.values()])))


def lines(measured: Mapping[str, Mapping[Pair, float]]) -> Iterator[str]:
    """The table."""
    names = list(measured)
    halves = [{name: measured[name] for name in names[start::2]} for start in (0, 1)]
    yield "| network | constants as they are | chosen on the other half | best of all |"
    yield "|---|--:|--:|--:|"
    for half, other in (halves, halves[::-1]):
        pair = best(other)
        rows = [
            (name, figures[PRESENT], figures[pair], max(figures.values())) for name, figures in half.items()
        ]
        damage, octaves = pair
        means = [float(np.mean(column)) for column in list(zip(*rows, strict=True))[1:]]
        for name, *values in (*rows, (f"**mean** (damage {damage:g}, {octaves:g} octaves)", *means)):
            yield f"| {name} | " + " | ".join(f"{value:.1f} dB" for value in values) + " |"


def main() -> None:
    arguments = table_parser(__doc__).parse_args()
    measured = {}
    for name in arguments.only.split(",") if arguments.only else NETWORKS:
        measured[name] = decibels(name, Path(arguments.shared))
        present, most = measured[name][PRESENT], max(measured[name].values())
        print(f"{name:32} {present:.1f} dB, at best {most:.1f} dB", flush=True)
    text = "\n".join(lines(measured))
    print(text)
    if arguments.write:
        replace_table(arguments.write, text, "halves table")


if __name__ == "__main__":
    main()
