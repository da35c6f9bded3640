"""Accuracy on labelled data: the float network against the generated C, compiled for this machine."""

from __future__ import annotations

import os
import runpy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from dfqgen.compile import Compiled, compile_model
from dfqgen.emit.package import emit, write_files
from dfqgen.errors import UserError
from dfqgen.files import check_regular
from dfqgen.fixedpoint.program import Program
from dfqgen.graph.ir import Array
from dfqgen.notebook import html_table
from dfqgen.plan import plan_program
from dfqgen.progress import Progress, silent
from dfqgen.recipe.records import Recipe
from dfqgen.report.facts import Facts, note_facts, rounded
from dfqgen.samples.doubts import sample_warnings
from dfqgen.samples.files import Samples, load_samples
from dfqgen.samples.sources import source_of
from dfqgen.targets import load_target
from dfqgen.verify.against_float import FloatComparison
from dfqgen.verify.compare import ErrorMeter, OutputComparison, measure_of
from dfqgen.verify.host import HostNetwork
from dfqgen.verify.metrics import BoxAgreement, agreement, box_agreement, mean_iou, top_k_accuracy

BATCH = 4

Decoder = Callable[[Mapping[str, Array]], tuple[Array, Array]]
"""Outputs of one sample by name, in the model's axes -> boxes [N, 4] (x1, y1, x2, y2), scores [N]."""

Outputs = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Both networks' outputs by port name, in our axes, [N, ...] float32, and how long the C took."""

    compiled: Compiled
    samples: Samples
    float_outputs: Outputs
    outputs: Outputs
    seconds_per_sample: float

    @cached_property
    def compared(self) -> tuple[OutputComparison, ...]:
        """How close each output is, in the terms of its task, as a build judges it.

        A map of classes is judged as a mask where it is the network's only output: beside others it may be
        anything.
        """
        return tuple(_compared(self))

    def __repr__(self) -> str:
        return f"<Evaluation of {self.compiled.network.model.name} on {self.samples.count} samples>"

    def _repr_html_(self) -> str:
        facts = evaluation_facts(self)
        rows = [
            (entry["name"], key, value)
            for entry in facts["outputs"]
            for key, value in entry.items()
            if key != "name"
        ]
        return html_table(repr(self), ("output", "measure", "value"), rows)


def evaluate(
    model: str | Path,
    data: str | Path | Samples,
    recipe: Recipe | None = None,
    *,
    limit: int | None = None,
    progress: Progress = silent,
    float_outputs: Outputs | None = None,
) -> Evaluation:
    """Run float (onnxruntime) and the generated C over samples, on all cores.

    The C is made of the kernels for this machine; every target's kernels give the same bits. Pass
    `float_outputs` of an earlier evaluation on the same samples to run the float network only once.
    Raises UserError (ToolMissing without a C compiler).
    """
    if not isinstance(data, Samples):
        source_of(Path(data))
    compiled = compile_model(model, recipe, progress)
    samples = data if isinstance(data, Samples) else load_samples(Path(data), compiled.network.graph)
    samples = samples.take(limit)
    inputs = compiled.network.normalize(samples.raw)
    outputs, seconds = c_outputs(compiled, inputs, progress)
    if float_outputs is None:
        progress(f"running onnxruntime on {samples.count} samples")
        batch = batch_of(compiled.program, samples.count)
        found = _in_batches(compiled.network.runner(), inputs, samples.count, batch)
        float_outputs = _by_name(compiled, found)
    return Evaluation(compiled, samples, float_outputs, outputs, seconds)


def c_outputs(
    compiled: Compiled, inputs: Mapping[str, Array], progress: Progress = silent
) -> tuple[Outputs, float]:
    """The generated C, compiled for this machine, on all cores; and its seconds a sample.

    `inputs` are [N, ...] by tensor as the float network sees them; outputs are real values by port name.
    """
    program = compiled.program
    progress("compiling the C for this machine")
    network = host_network(compiled)

    def integers(chunk: Mapping[str, Array]) -> dict[str, Array]:
        quantized = {name: program.tensors[name].qtype.quantize(value) for name, value in chunk.items()}
        found = network.run(quantized)
        return {name: program.tensors[name].qtype.dequantize(value) for name, value in found.items()}

    count = len(next(iter(inputs.values())))
    progress(f"running the C on {count} samples")
    started = time.perf_counter()
    outputs = _in_batches(integers, inputs, count, batch_of(program, count))
    elapsed = time.perf_counter() - started
    return _by_name(compiled, outputs), elapsed * (os.cpu_count() or 1) / count


def _by_name(compiled: Compiled, outputs: Mapping[str, Array]) -> Outputs:
    """From tensors to the ports' names."""
    names = {port.tensor: port.name for port in compiled.network.graph.given}
    return {names[tensor]: value for tensor, value in outputs.items() if tensor in names}


def batch_of(program: Program, count: int) -> int:
    """How many samples run in a row: all of them as one sequence where there are states."""
    return count if program.states else BATCH


def host_network(compiled: Compiled) -> HostNetwork:
    """The program as C of this machine's kernels, compiled with all its instructions and loaded."""
    target = load_target("host")
    plan = plan_program(compiled.program, target)
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        write_files(emit(compiled.program, plan, target), Path(folder))
        return HostNetwork(Path(folder), native=True)


def _in_batches(
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    inputs: Mapping[str, Array],
    count: int,
    batch: int,
) -> dict[str, Array]:
    """`run` over slices of the samples, on threads (the C and onnxruntime release the interpreter lock)."""
    chunks = [
        {name: value[start : start + batch] for name, value in inputs.items()}
        for start in range(0, count, batch)
    ]
    parts = Parallel(n_jobs=-1, backend="threading")(delayed(run)(chunk) for chunk in chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def comparison(evaluation: Evaluation, source: str) -> FloatComparison:
    """How close the outputs are, as a build has it; `source` names the samples."""
    return FloatComparison(source, "the generated C", evaluation.compared)


def _compared(evaluation: Evaluation) -> Iterator[OutputComparison]:
    program = evaluation.compiled.program
    tensors = {port.name: port.tensor for port in program.outputs}
    labels = evaluation.samples.labels
    for name, value in evaluation.outputs.items():
        reference, meter = evaluation.float_outputs[name], ErrorMeter()
        meter.add(reference, value)
        measure = measure_of(program, tensors[name])
        rests = meter.rests(program.tensors[tensors[name]].qtype)
        found = OutputComparison(name, len(value), meter.sqnr_db, meter.largest, meter.undefined, rests=rests)
        if measure == "indices":
            found = replace(found, sqnr_db=float("nan"), equal=float(np.mean(reference == value)))
        elif is_map(value) and len(evaluation.outputs) == 1:
            found = replace(found, mean_iou=_mean_iou(reference, value))
        elif measure == "classes":
            flat, exact = value.reshape(len(value), -1), reference.reshape(len(value), -1)
            found = replace(found, top1_agreement=agreement(flat, exact))
            if labels is not None:
                right, in_float = (top_k_accuracy(scores, labels, 1) for scores in (flat, exact))
                found = replace(found, accuracy=right, float_accuracy=in_float)
        yield found


def evaluation_facts(
    evaluation: Evaluation, decode: Decoder | None = None, warnings: Sequence[str] = ()
) -> Facts:
    """What `dfqgen eval` prints: one entry an output, in the terms of its task.

    Scores [N, classes] with labels give top-1 and top-5, without labels the agreement of arg-maxes; a
    map [N, H, W, classes] the mean IoU with the float network's mask; indices the share of equal ones;
    `decode` the agreement of boxes.
    """
    compiled = evaluation.compiled
    result: Facts = {
        "model": compiled.network.model.name,
        "samples": evaluation.samples.count,
        "host_ms_per_sample": round(1e3 * evaluation.seconds_per_sample, 3),
        "outputs": [_output_facts(evaluation, found) for found in evaluation.compared],
    }
    if decode is not None:
        boxes = _box_agreement(evaluation, decode)
        result["boxes"] = {
            "float": boxes.reference,
            "matched": boxes.matched,
            "recall": boxes.recall,
            "invented": boxes.invented,
        }
    result["steps"] = note_facts(compiled.quantized.notes)
    network = compiled.network
    odd = sample_warnings(network.graph, network.meanings, evaluation.samples)
    result["warnings"] = list(dict.fromkeys([*compiled.warnings, *odd, *warnings]))
    return result


def _output_facts(evaluation: Evaluation, found: OutputComparison) -> Facts:
    value, reference = evaluation.outputs[found.name], evaluation.float_outputs[found.name]
    labels = evaluation.samples.labels
    entry: Facts = {
        "name": found.name,
        "sqnr_db": rounded(found.sqnr_db, 2),
        "max_error": rounded(found.max_error, 6),
        "undefined": found.undefined,
    }
    if found.equal is not None:
        entry["equal"] = found.equal
    elif is_map(value):
        entry["mean_iou"] = _mean_iou(reference, value) if found.mean_iou is None else found.mean_iou
    elif found.top1_agreement is not None:
        entry["top1_agreement"] = found.top1_agreement
        if labels is not None:
            flat, exact = value.reshape(len(value), -1), reference.reshape(len(value), -1)
            for k in (1, 5) if value.shape[-1] > 5 else (1,):
                entry[f"float_top{k}"] = top_k_accuracy(exact, labels, k)
                entry[f"top{k}"] = top_k_accuracy(flat, labels, k)
    return entry


def is_map(value: Array) -> bool:
    """Whether [N, H, W, classes] has scores for every pixel."""
    return value.ndim == 4 and min(value.shape[1:3]) > 1 and value.shape[-1] > 1


def _mean_iou(reference: Array, value: Array) -> float:
    """Of the masks of largest scores, mean over samples."""
    masks = zip(value.argmax(axis=-1), reference.argmax(axis=-1), strict=True)
    return float(np.mean([mean_iou(mask, expected, value.shape[-1]) for mask, expected in masks]))


def _box_agreement(evaluation: Evaluation, decode: Decoder) -> BoxAgreement:
    ports = {port.name: port for port in evaluation.compiled.network.graph.outputs}
    total = BoxAgreement(0, 0, 0)
    for sample in range(evaluation.samples.count):

        def detections(outputs: Outputs, sample: int = sample) -> tuple[Array, Array]:
            one = {name: ports[name].to_model(value[sample : sample + 1]) for name, value in outputs.items()}
            return decode(one)

        total += box_agreement(*detections(evaluation.outputs), *detections(evaluation.float_outputs))
    return total


def load_decoder(path: Path) -> Decoder:
    """The function `decode` of a Python file (it is run: use only your own). Raises UserError."""
    check_regular(path)
    try:
        scope: dict[str, Any] = runpy.run_path(str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # whatever the user's own file raises
        raise UserError(f"{path}: cannot be run: {error}") from None
    if not callable(scope.get("decode")):
        raise UserError(
            f"{path}: defines no function decode(outputs)", "It turns outputs into boxes and scores."
        )
    decoder: Decoder = scope["decode"]
    return decoder
