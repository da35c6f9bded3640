"""What synthetic samples are worth: DSG and AdaRound beside nearest rounding, noise and real images.

    python bench/accuracy_dsg.py --shared ../shared [--networks ic01,mobilenet] [--rows w8,w4]

Top-1 of the integer program, which is what the generated C computes bit for bit. "real" takes every n-th
image of the set for AdaRound; its second figure leaves these images out, as do all second figures, so that
they compare. Times are seconds on the clock and of processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.frontend import load
from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.bias_from_samples import correct_bias_on_samples
from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.prepare import prepare
from dfqgen.quantization.quantize import quantize_graph
from dfqgen.quantization.weights import low_bits
from dfqgen.synthesis import AdaRound, SynthesisOptions, TorchGraph, adaround, synthesize

BATCH = 20
SOURCES = ("noise", "procedural", "plain", "dsg", "real")


@dataclass(frozen=True, slots=True)
class Subject:
    """A network, what its input means, its data, and how much work it gets."""

    file: str
    meaning: InputMeaning
    data: str
    samples: int
    synthesis: SynthesisOptions
    adaround: AdaRound


SUBJECTS = {
    "ic01": Subject(
        "ic01_resnet8.onnx",
        InputMeaning(),
        "cifar10.npz",
        64,
        SynthesisOptions(count=64, iterations=150),
        AdaRound(iterations=2000),
    ),
    "mobilenet": Subject(
        "mobilenetv1_075_224.onnx",
        InputMeaning((127.5,), (127.5,)),
        "imagenet.npz",
        32,
        SynthesisOptions(count=32, iterations=50),
        AdaRound(iterations=2000),
    ),
}


class Experiment:
    """One network with everything its rows share."""

    def __init__(self, subject: Subject, shared: Path) -> None:
        self.subject = subject
        self.graph: Graph = load(shared / "models" / subject.file)
        self.port = self.graph.inputs[0]
        self.meanings = {self.port.name: subject.meaning}
        archive = np.load(shared / "data" / subject.data)
        self.images, self.labels = subject.meaning.normalize(archive["x"]), archive["y"]
        step = len(self.labels) // subject.samples
        self.calibration = np.arange(subject.samples) * step
        self._samples: dict[str, Mapping[str, Array]] = {}

    def top1(self, predict: Callable[[Array], Array]) -> tuple[float, float]:
        """Per cent right of all images, and of those that "real" does not calibrate on."""
        starts = range(0, len(self.labels), BATCH)
        winners = np.concatenate([predict(self.images[i : i + BATCH]) for i in starts])
        right = winners == self.labels
        return 100 * float(right.mean()), 100 * float(np.delete(right, self.calibration).mean())

    def float_top1(self) -> tuple[float, float]:
        network = TorchGraph(self.graph)

        def predict(x: Array) -> Array:
            with torch.no_grad():
                scores = next(iter(network({self.port.tensor: torch.tensor(x)}).values()))
            return scores.reshape(len(x), -1).argmax(dim=1).numpy()

        return self.top1(predict)

    def program_top1(self, program: Program) -> tuple[float, float]:
        qtype = program.tensors[self.port.tensor].qtype

        def predict(x: Array) -> Array:
            scores = next(iter(program.run({self.port.tensor: qtype.quantize(x)}).values()))
            return scores.reshape(len(x), -1).argmax(axis=1)

        return self.top1(predict)

    def samples(self, source: str) -> Mapping[str, Array]:
        """Samples of one kind; made once."""
        if source not in self._samples:
            options = self.subject.synthesis
            if source == "real":
                made: Mapping[str, Array] = {self.port.tensor: self.images[self.calibration]}
            else:
                if source == "noise":
                    options = replace(options, start="noise", iterations=0)
                elif source == "procedural":
                    options = replace(options, iterations=0)
                elif source == "plain":
                    options = options.plain()
                made = synthesize(self.graph, self.meanings, options).samples
            self._samples[source] = made
        return self._samples[source]


def rows(
    experiment: Experiment, wanted: tuple[str, ...], sources: tuple[str, ...]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """(what, top-1) row by row."""
    yield "float", experiment.float_top1()
    graph, meanings = experiment.graph, experiment.meanings
    if "w8" in wanted:
        options = QuantizeOptions(weights="per-tensor")
        data_free = prepare(graph, meanings, options)
        yield "W8A8 per-tensor, DFQ", experiment.program_top1(quantize_graph(data_free, options))
        samples = experiment.samples("dsg")
        corrected, weights = correct_bias_on_samples(data_free, options, samples)
        program = quantize_graph(corrected, options, weights=weights)
        yield "W8A8 per-tensor, biases from DSG samples", experiment.program_top1(program)
        learned = adaround(data_free, options, samples, experiment.subject.adaround)
        program = quantize_graph(learned.prepared, options, weights=learned.weights)
        yield "W8A8 per-tensor, DSG + AdaRound", experiment.program_top1(program)
    if "w4" not in wanted:
        return
    options = QuantizeOptions()
    data_free = prepare(graph, meanings, options)
    everything = {n.output: IntType.INT4 for n in data_free.graph.nodes if isinstance(n.op, Conv2D)}
    for name, bits in (("inner layers", low_bits(data_free.graph, IntType.INT4)), ("all", everything)):
        program = quantize_graph(data_free, options, bits=bits)
        yield f"W4A8 per-channel ({name}), nearest", experiment.program_top1(program)
        for source in sources:
            samples = experiment.samples(source)
            learned = adaround(data_free, options, samples, experiment.subject.adaround, bits=bits)
            program = quantize_graph(learned.prepared, options, weights=learned.weights)
            yield f"W4A8 per-channel ({name}), {source} + AdaRound", experiment.program_top1(program)
        if experiment.subject.file.startswith("mobilenet"):
            return  # depthwise layers at 4 bits are not wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--networks", default="ic01,mobilenet")
    parser.add_argument("--rows", default="w8,w4")
    parser.add_argument("--sources", default=",".join(SOURCES))
    arguments = parser.parse_args()
    for name in arguments.networks.split(","):
        experiment = Experiment(SUBJECTS[name], arguments.shared)
        print(f"\n| {name} | top-1 | without the calibration images | seconds | processor seconds |")
        print("|---|---|---|---|---|", flush=True)
        clock, processor = time.perf_counter(), time.process_time()
        for what, (all_images, others) in rows(
            experiment, tuple(arguments.rows.split(",")), tuple(arguments.sources.split(","))
        ):
            seconds = time.perf_counter() - clock, time.process_time() - processor
            row = (f"{all_images:.1f}", f"{others:.1f}", f"{seconds[0]:.0f}", f"{seconds[1]:.0f}")
            print(f"| {what} | {' | '.join(row)} |", flush=True)
            clock, processor = time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
