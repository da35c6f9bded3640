"""Build the MLPerf Tiny networks and MobileNet for Cortex-M cores and print a Markdown table of the results.

    python bench/networks.py MODELS_FOLDER [--on cortex-m4 ...]

Every row: flash (constants and code) and arena for the first core, instructions an inference on each
emulated core, and how close the C is to the float network on random inputs of the stated meaning. Bits are
checked everywhere.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dfqgen import Budget, InputMeaning, build, make_recipe
from dfqgen.commands import run
from dfqgen.report.words import count_text, size_text, sqnr_text


@dataclass(frozen=True, slots=True)
class Network:
    """A file and what its input means."""

    name: str
    meaning: InputMeaning
    emulate: bool = True


IMAGE = InputMeaning()
NETWORKS = (
    Network("ic01_resnet8", IMAGE),
    Network("ic01_resnet8-folded", IMAGE),
    Network("vww01_mobilenetv1_025", InputMeaning(std=(255.0,))),
    Network("vww01_mobilenetv1_025-folded", InputMeaning(std=(255.0,))),
    Network("kws01_dscnn", InputMeaning(lo=-150.0, hi=150.0)),
    Network("ad01_autoencoder", InputMeaning(lo=-60.0, hi=20.0)),
    Network("mobilenetv1_075_224", InputMeaning((127.5,), (127.5,)), emulate=False),
    Network("mobilenetv1_075_224-folded", InputMeaning((127.5,), (127.5,)), emulate=False),
)


def row(network: Network, models: Path, targets: list[str], scratch: Path) -> list[str]:
    """One line of the table."""
    facts, counts = [], []
    for target in targets if network.emulate else targets[:1]:
        recipe = make_recipe(target=target, meaning=network.meaning, activations="int8")
        folder = scratch / target / network.name
        result = build(models / f"{network.name}.onnx", folder, recipe, budget=Budget(8 << 20, 4 << 20))
        facts.append(result.facts)
        if network.emulate:
            counts.append(count_text(run(folder, target)["instructions"]))
    sizes, output = facts[0]["sizes"], facts[0]["comparison"]["outputs"][0]
    return [
        network.name,
        count_text(sizes["macs"]),
        size_text(sizes["weight_bytes"]),
        size_text(sizes["code_bytes"]),
        size_text(sizes["arena_bytes"]),
        *(counts or [""] * len(targets)),
        sqnr_text(output),
    ]


def main(
    models: Annotated[Path, typer.Argument(help="The folder of the .onnx files.")],
    on: Annotated[list[str] | None, typer.Option(help="Targets to emulate.")] = None,
) -> None:
    """Print the table."""
    targets = on or ["cortex-m4"]
    head = ["network", "MACs", "constants", "code", "arena", *(f"instructions, {t}" for t in targets), "SQNR"]
    print("| " + " | ".join(head) + " |")
    print("|---" + "|--:" * (len(head) - 1) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        for network in NETWORKS:
            if (models / f"{network.name}.onnx").is_file():
                print("| " + " | ".join(row(network, models, targets, Path(scratch))) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
