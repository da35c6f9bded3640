"""What must hold of any file given as a model: a float graph equal to onnxruntime's, or a clear refusal."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from dfqgen.compile import quantize_graph, read_network
from dfqgen.emit.package import emit
from dfqgen.errors import UserError
from dfqgen.frontend.modernize import mend_axes, names_read, sort_nodes
from dfqgen.frontend.read import needed_nodes, opset_version
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.fake_quantize import FakeQuantize
from dfqgen.ops.functions import SMALLEST_DIVISOR
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.pool import MaxPool
from dfqgen.plan import plan_program
from dfqgen.recipe.records import Recipe
from dfqgen.targets import load_target
from tests.models import ROOT

RELATIVE = 1e-3
"""Of the largest value. Another order of adding in float32 gives 1e-6, functions of large values more."""
RELATIVE_IN_STEPS = 5e-2
"""The same where the file rounds to steps of its own: what is half way goes up here and down there."""
LARGEST_VALUE = 1e30
BROADCASTING = 8
"""The opset from which all elementwise operators broadcast; files before it are taken as if theirs did."""
SAMPLE_ELEMENTS = 1 << 20
"""Larger inputs are compiled, not compared."""

onnxruntime.set_default_logger_severity(4)


class Verdict(Enum):
    """`FAULT`: an exception that is no answer to a user. `LENIENT`: onnxruntime refuses the file, dfqgen
    takes it. `UNLIKE`: the float graph is not what onnxruntime computes. `HANG`, `CRASH`: seen from outside.
    """

    TAKEN = "taken"
    REFUSED = "refused"
    FAULT = "fault"
    LENIENT = "lenient"
    UNLIKE = "unlike"
    HANG = "hang"
    CRASH = "crash"

    @property
    def is_finding(self) -> bool:
        return self not in (Verdict.TAKEN, Verdict.REFUSED)


PARTIAL = frozenset(("log", "sqrt", "pow"))
"""Functions that onnxruntime gives no number for below zero, and dfqgen the nearest that there is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, where it was found, and in words."""

    verdict: Verdict
    place: str = ""
    detail: str = ""


def examine(data: bytes, *, whole: bool = True) -> Outcome:
    """Read and compare one model file; with `whole` make its program and its C, too."""
    with tempfile.TemporaryDirectory(prefix="dfqgen-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        try:
            return _examine(path, data, whole)
        except UserError as error:
            return Outcome(Verdict.REFUSED, detail=str(error)[:300])
        except Exception as error:
            return Outcome(Verdict.FAULT, _place(error), f"{type(error).__name__}: {str(error)[:300]}")


def _examine(path: Path, data: bytes, whole: bool) -> Outcome:
    recipe = Recipe()
    network = read_network(path, recipe.input, recipe.code)
    if whole:
        program = quantize_graph(network.graph, network.meanings, recipe).program
        target = load_target("cortex-m4")
        emit(program, plan_program(program, target), target, golden=())
    inputs = _inputs(network.graph)
    if sum(value.size for value in inputs.values()) > SAMPLE_ELEMENTS:
        return Outcome(Verdict.TAKEN)
    network.runner()(inputs)  # as `build` does: onnxruntime's refusals are the user's
    return compare(network.graph, inputs, data)


def compare(graph: Graph, inputs: dict[str, Array], data: bytes) -> Outcome:
    """The float graph beside the file as it is in onnxruntime, on one sample."""
    model = onnx.ModelProto.FromString(data)
    compiled = {port.name for port in graph.outputs}
    for value in [value for value in model.graph.output if value.name not in compiled]:
        model.graph.output.remove(value)  # a constant
    sort_nodes(model.graph)
    mend_axes(model.graph)
    nodes = needed_nodes(model.graph.node, list(compiled))
    for node in nodes:
        node.name = ""  # onnxruntime alone refuses names that occur twice
    read = compiled.union(*(names_read(node) for node in nodes))
    kept = onnx.GraphProto(node=nodes, input=[value for value in model.graph.input if value.name in read])
    for field in ("node", "input"):
        del getattr(model.graph, field)[:]
        getattr(model.graph, field).extend(getattr(kept, field))
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        return _lenient("load", error)
    named = {port.name: port.encoded(port.to_model(inputs[port.tensor])) for port in graph.inputs}
    feeds = {value.name: _feed(value, named.get(value.name)) for value in session.get_inputs()}
    try:
        names = [port.name for port in graph.outputs]
        expected = dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:
        if opset_version(model) < BROADCASTING:
            return Outcome(Verdict.TAKEN)
        return _lenient("run", error)
    partial: list[str] = []

    def watch(node: Node, operands: tuple[Array, ...], result: Array) -> None:
        if isinstance(node.op, Elementwise) and node.op.function in PARTIAL and np.any(operands[0] <= 0.0):
            partial.append(node.name)

    with np.errstate(all="ignore"):
        found = graph.evaluate(inputs, watch)
    if partial and any(isinstance(node.op, MaxPool) for node in graph.nodes):
        return Outcome(Verdict.TAKEN)  # onnxruntime's maximum may be any, where values are no numbers
    for port in graph.outputs:
        reference = port.decoded(np.asarray(expected[port.name]))
        ours = port.to_model(found[port.tensor])
        if reference.size > ours.size and graph.remarks:  # of a batch that the file fixes, the first sample
            reference = reference.reshape(-1)[: ours.size]
        message = difference(ours, reference, *_agreement(graph))
        if message and not _ill_conditioned(graph, inputs, port.tensor, found[port.tensor]):
            return Outcome(Verdict.UNLIKE, _operators(graph), f"output {port.name!r}: {message}")
    return Outcome(Verdict.TAKEN)


def _agreement(graph: Graph) -> tuple[float, float]:
    """How near the two must be, of the largest value, and below which value that is asked."""
    operators = [node.op for node in graph.nodes]
    stepped = any(isinstance(op, FakeQuantize) for op in operators)
    pole = any("reciprocal" in repr(op) for op in operators)  # of any part of a function in steps
    return RELATIVE_IN_STEPS if stepped else RELATIVE, 1 / SMALLEST_DIVISOR if pole else LARGEST_VALUE


def _ill_conditioned(graph: Graph, inputs: dict[str, Array], tensor: str, found: Array) -> bool:
    """Whether a last bit more at the inputs moves an output as far as two orders of adding may differ: a
    recurrence that amplifies, whose values in float32 are nobody's.
    """
    values = [port.tensor for port in graph.inputs if port.holds is None]
    nudged = {name: np.nextafter(inputs[name], np.float32(2.0)) for name in values}
    with np.errstate(all="ignore"):
        moved = graph.evaluate({**inputs, **nudged})[tensor]
    return bool(difference(moved, found, *_agreement(graph)))


def difference(found: Array, expected: Array, relative: float, below: float) -> str:
    """In words; empty where they agree. Values that are no numbers say nothing."""
    if found.size != expected.size:
        return f"{found.shape} instead of {expected.shape}"
    found, expected = found.reshape(-1).astype(np.float64), expected.reshape(-1).astype(np.float64)
    finite = np.isfinite(found) & np.isfinite(expected) & (np.abs(expected) < below)
    if not finite.any():
        return ""
    scale = max(1.0, np.abs(expected[finite]).max())
    worst = float(np.abs(found - expected)[finite].max())
    return f"{worst:.3g} off, the largest value is {scale:.3g}" if worst > relative * scale else ""


def _inputs(graph: Graph) -> dict[str, Array]:
    generator = np.random.default_rng(0)
    values = {}
    for port in graph.inputs:
        shape = graph.shapes[port.tensor]
        if port.holds is None:
            value: Array = generator.uniform(-1.0, 1.0, shape)
        else:
            value = generator.integers(port.holds[0], port.holds[1] + 1, shape)
        values[port.tensor] = value.astype(np.float32)
    return values


def _feed(value: onnxruntime.NodeArg, given: Array | None) -> Array:
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
    dtype = kinds.get(value.type, np.dtype(value.type.removeprefix("tensor(").removesuffix(")")))
    shape = [n if isinstance(n, int) and n > 0 else 1 for n in value.shape]
    if given is None:
        return np.zeros(shape, dtype)
    if given.size != np.prod(shape, dtype=object) and shape:  # the same sample for all of a fixed batch
        given = np.repeat(given, max(shape[0] // max(len(given), 1), 1), axis=0)
    return given.reshape(shape if given.size == np.prod(shape, dtype=object) else given.shape).astype(dtype)


def _lenient(stage: str, error: Exception) -> Outcome:
    text = str(error).strip()
    if "NOT_IMPLEMENTED" in text:  # a gap of onnxruntime, no fault of the model
        return Outcome(Verdict.TAKEN)
    return Outcome(Verdict.LENIENT, f"{stage}: {_gist(text)}", text[:300])


def _gist(text: str) -> str:
    """What kind of complaint it is: its words without names and numbers."""
    words = text.split(":")[-1] if len(text) < 120 else text[-120:]
    return "".join(char for char in words if char.isalpha() or char == " ")[:60].strip()


def _operators(graph: Graph) -> str:
    return " ".join(sorted({type(node.op).__name__ for node in graph.nodes}))[:60]


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if str(ROOT / "dfqgen") in frame.filename] or list(frames)
    frame = own[-1]
    return f"{type(error).__name__} {Path(frame.filename).stem}.py:{frame.lineno}"
