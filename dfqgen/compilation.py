"""Model file -> fixed-point program: the front half of every command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from dfqgen.errors import UserError
from dfqgen.files import read_regular
from dfqgen.fixedpoint.program import Program
from dfqgen.frontend import load
from dfqgen.frontend.read import read_model
from dfqgen.graph.ir import Graph, Shape
from dfqgen.inputs import UNSTATED, Samples, load_samples, meanings_for, normalize_inputs
from dfqgen.quantization.learned import learned_program
from dfqgen.quantization.mixed_program import mixed_program
from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.prepare import Prepared, prepare
from dfqgen.quantization.quantize import quantize_graph
from dfqgen.sample_sources import MadeSamples, SampleSource, default_source, make_samples
from dfqgen.targets import Target, load_target

ScaleMode = Literal["multiplier", "power-of-two"]
Progress = Callable[[str], None]
"""Called with what is about to be done."""


def silent(stage: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What decides the fixed-point program and its kernels.

    `input_shapes` go by input name; "" names the only one. `name` prefixes everything in the C; None takes
    the model file's. `meaning` None means that the user did not say; `scales` None takes the target's way.
    `calibration_data`, an .npz file or samples, replaces the data-free statistics. `rounding_data` is what
    AdaRound and empirical bias correction run on: None is the calibration data, else synthetic samples,
    or procedural ones where there is no batch normalization.
    """

    target: str = "host"
    name: str | None = None
    optimize: Literal["speed", "size"] = "speed"
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    io_layout: Literal["nhwc", "nchw"] = "nhwc"
    meaning: InputMeaning | None = None
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    scales: ScaleMode | None = None
    calibration_data: Path | Samples | None = None
    rounding_data: SampleSource | Path | Samples | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A program, and everything it came from."""

    graph: Graph
    meanings: Mapping[str, InputMeaning]
    quantize: QuantizeOptions
    prepared: Prepared
    program: Program
    target: Target
    warnings: tuple[str, ...]

    def normalize(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Raw inputs by tensor as the float network sees them."""
        return normalize_inputs(self.graph, self.meanings, raw)


def load_graph(model: Path, options: CompileOptions, progress: Progress = silent) -> Graph:
    """The float graph of a model file, named as the C will be."""
    progress("reading the model")
    shapes = dict(options.input_shapes)
    if "" in shapes:
        shapes[_only_input(model)] = shapes.pop("")
    graph = load(model, input_shapes=shapes, io_layout=options.io_layout)
    # Not the graph's own name: exporters call every graph the same, and networks must live side by side.
    return replace(graph, name=options.name or model.stem)


def _only_input(model: Path) -> str:
    graph = read_model(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constants]
    if len(names) != 1:
        raise UserError(
            f"{model} has {len(names)} inputs, so an input shape must say which one it is for",
            f"Write NAME:1,3,32,32 for each of {', '.join(names)}.",
        )
    return names[0]


def compile_model(model: Path, options: CompileOptions, progress: Progress = silent) -> Compiled:
    """Read the model, apply the data-free passes, quantize. Raises UserError and its kinds."""
    target = load_target(options.target)
    graph = load_graph(model, options, progress)
    meanings = meanings_for(graph, options.meaning)
    quantize = replace(options.quantize, scales=options.scales or cast(ScaleMode, target.scales))
    wanted = _Wanted(graph, meanings, quantize, progress)
    given = None
    if options.calibration_data is not None:
        progress("measuring statistics on the calibration data")
        given = wanted.given(options.calibration_data)
    elif quantize.statistics == "synthetic":
        given = wanted.made("synthetic")
    progress("data-free quantization")
    prepared = (
        prepare(graph, meanings, quantize)
        if given is None
        else prepare(
            graph,
            meanings,
            quantize,
            given.samples,
            source=given.description,
            synthetic=given.synthetic,
        )
    )
    if quantize.learns:
        driving = options.rounding_data
        if driving is None:
            driving = default_source(graph) if options.calibration_data is None else options.calibration_data
        used = wanted.made(driving) if isinstance(driving, str) else wanted.given(driving)
        prepared, program = learned_program(prepared, quantize, used.samples, used.description, progress)
    elif quantize.mixes:
        prepared, program = mixed_program(prepared, quantize, progress)
    else:
        program = quantize_graph(prepared, quantize)
    warnings = () if options.meaning is not None else (UNSTATED_WARNING,)
    return Compiled(graph, meanings, quantize, prepared, program, target, warnings)


@dataclass(slots=True, eq=False)
class _Wanted:
    """Samples for a graph, normalised; what has to be made is made once."""

    graph: Graph
    meanings: Mapping[str, InputMeaning]
    quantize: QuantizeOptions
    progress: Progress
    _made: dict[str, MadeSamples] = field(default_factory=dict)

    def given(self, data: Path | Samples) -> MadeSamples:
        """The user's samples."""
        samples = data if isinstance(data, Samples) else load_samples(data, self.graph)
        kind = "samples" if samples.made is None else f"samples {samples.made}"
        return MadeSamples(
            normalize_inputs(self.graph, self.meanings, samples.raw),
            kind if isinstance(data, Samples) else f"{kind} ({data.name})",
            synthetic=samples.made is not None,
        )

    def made(self, source: SampleSource) -> MadeSamples:
        if source not in self._made:
            self._made[source] = make_samples(
                self.graph,
                self.meanings,
                source,
                count=self.quantize.sample_count,
                seed=self.quantize.seed,
                progress=self.progress,
            )
        return self._made[source]


UNSTATED_WARNING = (
    f"nothing says what the network's input means, so values from {UNSTATED.lo:g} to {UNSTATED.hi:g} are "
    "assumed; state it with --input-mean, --input-std and --input-range, or accuracy may be lost"
)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(read_regular(path)).hexdigest()


def provenance(model: Path, options: CompileOptions, compiled: Compiled) -> dict[str, Any]:
    """Where a program comes from, as JSON values: enough to make it again. No paths, no times."""
    meaning, quantize = options.meaning, compiled.quantize
    return {
        "name": options.name,
        "model": {"file": model.name, "sha256": file_hash(model)},
        "input_shapes": {name: list(shape) for name, shape in options.input_shapes.items()},
        "io_layout": options.io_layout,
        "input": None if meaning is None else _fields(meaning),
        "quantize": _fields(quantize),
        "calibration_data": _samples_record(options.calibration_data),
        "rounding_data": _samples_record(options.rounding_data),
    }


def _samples_record(data: SampleSource | Path | Samples | None) -> dict[str, Any] | None:
    if isinstance(data, str):
        return {"made": data}
    if isinstance(data, Path):
        return {"file": data.name, "sha256": file_hash(data)}
    return None if data is None else {"samples": data.count}


def options_from_provenance(record: Mapping[str, Any], target: str) -> CompileOptions:
    """The options that `provenance` recorded, without what needs samples, which may not be at hand."""
    meaning = record["input"]
    quantize = QuantizeOptions(**record["quantize"]).without_samples()
    return CompileOptions(
        target=target,
        name=record["name"],
        input_shapes={name: tuple(shape) for name, shape in record["input_shapes"].items()},
        io_layout=record["io_layout"],
        meaning=None
        if meaning is None
        else InputMeaning(tuple(meaning["mean"]), tuple(meaning["std"]), meaning["lo"], meaning["hi"]),
        quantize=quantize,
        scales=quantize.scales,
    )


def _fields(record: Any) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value := getattr(record, name), tuple) else value
        for name in record.__dataclass_fields__
    }
