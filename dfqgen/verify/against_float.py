"""A compiled network beside the float network it came from: its outputs, and every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.reference import Reference
from dfqgen.graph.steps import run_steps, with_states
from dfqgen.samples.doubts import sample_warnings
from dfqgen.samples.files import Samples, load_samples
from dfqgen.samples.meaning import InputMeaning, normalize_inputs
from dfqgen.samples.noise import random_samples
from dfqgen.verify.compare import (
    LayerComparison,
    OutputComparison,
    Runner,
    compare_layers,
    compare_outputs,
)
from dfqgen.verify.host import HostNetwork

# How many multiply-accumulates a comparison may spend; it takes fewer samples of a large network.
C_MACS = 20_000_000_000
INTERPRETER_MACS = 2_000_000_000
RANDOM_SAMPLES = 64
RANDOM_MACS = 2_000_000_000
RANDOM_ELEMENTS = 1 << 28  # of the largest tensor, all samples together
LAYER_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A model file, its float graph as read, and what its inputs mean by port name."""

    model: Path
    graph: Graph
    meanings: Mapping[str, InputMeaning]

    def normalize(self, raw: Mapping[str, Array]) -> dict[str, Array]:
        """Raw inputs by tensor as the float network sees them."""
        return normalize_inputs(self.graph, self.meanings, raw)

    def runner(self) -> Runner:
        """The float network by onnxruntime, between tensors in our axes; states go on from step to step."""
        reference = Reference.of(self.model, self.graph)

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            named = {
                port.name: port.to_model(port.encoded(inputs[port.tensor])) for port in self.graph.inputs
            }
            found = reference.run(named)
            real = {port: port.decoded(port.from_model(found[port.name])) for port in self.graph.outputs}
            # A state may have got other axes than the model gives it.
            return {port.tensor: value.reshape(-1, *port.shape[1:]) for port, value in real.items()}

        return run if not self.graph.states else lambda inputs: run_steps(self.graph, run, inputs)[0]


@dataclass(frozen=True, slots=True)
class FloatComparison:
    """What was compared on which samples, by what the integers were computed, and what is odd about the
    samples.
    """

    source: str
    integers_by: str
    outputs: tuple[OutputComparison, ...]
    warnings: tuple[str, ...] = ()


def compare_with_float(
    network: Network, program: Program, built: HostNetwork | None, data: Path | None
) -> FloatComparison:
    """The whole network, by the generated C where it is compiled, by the interpreter otherwise.

    On the samples of `data` (see `load_samples`), or random ones. Raises UserError.
    """
    samples, source = choose_samples(network, program, data, INTERPRETER_MACS if built is None else C_MACS)
    outputs = compare_outputs(
        program,
        network.runner(),
        program.play if built is None else built.run,
        network.normalize(samples.raw),
        samples.labels,
    )
    by = "the interpreter" if built is None else "the generated C"
    odd = () if data is None else sample_warnings(network.graph, network.meanings, samples)
    return FloatComparison(source, by, tuple(outputs), odd)


def layers_are_cheap(program: Program) -> bool:
    """Whether comparing every layer takes but seconds."""
    return LAYER_SAMPLES * program.macs <= INTERPRETER_MACS


def compare_layers_with_float(
    network: Network, graph: Graph, program: Program, data: Path | None
) -> tuple[LayerComparison, ...]:
    """Every layer, on a few samples: the interpreter against `graph`, what the passes made of the model."""
    samples, _ = choose_samples(network, program, data, 0)
    return compare_layers(program, graph, with_states(graph, network.normalize(samples.raw)))


def choose_samples(
    network: Network, program: Program, data: Path | None, most_macs: int
) -> tuple[Samples, str]:
    """The user's samples or random ones, as many as `most_macs` allow, and what they are in words."""
    macs = max(program.macs, 1)
    affordable = max(LAYER_SAMPLES, most_macs // macs)
    if data is None:
        largest = max(prod(shape) for shape in network.graph.shapes.values())
        affordable = min(most_macs // macs, RANDOM_MACS // macs, RANDOM_ELEMENTS // largest)
        count = max(LAYER_SAMPLES, min(RANDOM_SAMPLES, affordable))
        samples = random_samples(network.graph, network.meanings, count)
        return samples, f"{samples.count} random inputs of the stated meaning"
    samples = load_samples(data, network.graph)
    if samples.count <= affordable:
        return samples, f"all {samples.count} samples of {data.name}"
    return samples.take(affordable), f"the first {affordable} of {samples.count} samples of {data.name}"
