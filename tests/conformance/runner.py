"""The ONNX project's own node tests, as single-sample networks with constant parameters.

The tests give everything as an input and use any first axis. Here an operator's parameters (weights, axes,
shapes) become initializers, and the activations are one sample, their first axis one like the others.
"""

from __future__ import annotations

import copy
import functools
import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node as node_tests
from onnx.backend.test.case.test_case import TestCase

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.frontend import load, supported_operators
from dfqgen.frontend.importers.functions import PLAIN, WITH_ALPHA
from dfqgen.graph.ir import Array, Graph
from dfqgen.ops.argmax import QArgMax
from dfqgen.ops.concat import QConcat
from dfqgen.ops.conv import QConv2D
from dfqgen.ops.movement import QPad, QReshape, QTranspose
from dfqgen.ops.pool import QMaxPool
from dfqgen.ops.recurrent_integer import QRecurrent
from dfqgen.ops.take import QTake
from dfqgen.recipe.records import ActivationsRecipe, Recipe, RoundingRecipe
from dfqgen.samples.meaning import InputMeaning
from tests.programs import prepare_by, program_by

# How many of the first inputs are activations, where it is not one.
ACTIVATIONS = dict.fromkeys(["Add", "Sub", "Mul", "Div", "MatMul"], 2)
VARIADIC = ("Concat", "Sum", "Mean", "Max", "Min")
# Without axes: the whole test is one sample.
ELEMENTWISE = (
    {"Add", "Clip", "Div", "Gelu", "HardSigmoid", "HardSwish", "Identity", "Max", "Mean", "Min"}
    | {"Mul", "Neg", "Pow", "Relu", "Selu", "Sub", "Sum"}
    | PLAIN.keys()
    | WITH_ALPHA.keys()
)


@dataclass(frozen=True, eq=False)
class Case:
    """One test: a model with its parameters inside, inputs and expected outputs, a sample each."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: list[dict[str, Array]]
    outputs: list[list[Array]]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case as a float graph, or why it was refused."""

    case: Case
    graph: Graph | None
    refusal: str = ""

    def feeds(self, sample: int) -> dict[str, Array]:
        """The sample's inputs by tensor, in the graph's axes."""
        assert self.graph is not None
        values = self.case.inputs[sample]
        return {
            port.tensor: port.from_model(values[port.name][None] if port.whole else values[port.name])
            for port in self.graph.inputs
        }


def cases() -> Iterator[Case]:
    """Every node test of one node that dfqgen has an importer for, with float32 activations."""
    operators = set(supported_operators())
    # Importing a module of the package makes its tests; all of them take half a minute.
    for module in pkgutil.iter_modules(node_tests.__path__):
        if module.name.replace("_", "") in {operator.lower() for operator in operators}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(f"{node_tests.__name__}.{module.name}")
    seen = set()
    for test in node_tests._NodeTestCases:
        case = _case(test, operators) if test.name not in seen else None
        seen.add(test.name)
        if case is not None:
            yield case


def _case(test: TestCase, operators: set[str]) -> Case | None:
    assert test.model is not None
    assert test.data_sets is not None
    model = copy.deepcopy(test.model)
    if len(model.graph.node) != 1 or model.graph.node[0].domain not in ("", "ai.onnx"):
        return None
    node = model.graph.node[0]
    if node.op_type not in operators:
        return None
    given, expected = test.data_sets[0]
    inputs = {value.name: array for value, array in zip(model.graph.input, given, strict=True)}
    if not all(isinstance(array, np.ndarray) for array in (*given, *expected)):
        return None
    count = ACTIVATIONS.get(node.op_type, len(node.input) if node.op_type in VARIADIC else 1)
    active = [n for n in dict.fromkeys(node.input[:count]) if n]
    if not active:  # Scan of opset 8 leaves its first input out
        return None
    rank = max(inputs[n].ndim for n in active)
    if node.op_type in ELEMENTWISE:
        active = [n for n in active if inputs[n].ndim == rank]
        inputs.update({n: inputs[n][None] for n in active})
        expected = [value[None] for value in expected]
        rank += 1
    # What broadcasts with another rank becomes a constant.
    active = [n for n in active if inputs[n].ndim == rank]
    if any(inputs[n].dtype != np.float32 or not inputs[n].size for n in active):
        return None
    _bind(model, inputs, active)
    return Case(test.name, node.op_type, model, [{n: inputs[n] for n in active}], [list(expected)])


def _bind(model: onnx.ModelProto, values: dict[str, Array], active: list[str]) -> None:
    """Give all inputs but the active ones their value."""
    for value in list(model.graph.input):
        if value.name in active:
            shape = values[value.name].shape
            value.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))
        else:
            model.graph.initializer.append(numpy_helper.from_array(values[value.name], value.name))
            model.graph.input.remove(value)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def load_case(case: Case, folder: Path) -> Loaded:
    """The case through the frontend."""
    if any(value.ndim < 1 for value in case.inputs[0].values()):
        return Loaded(case, None, "has no axes")
    path = folder / "model.onnx"
    onnx.save(case.model, path)
    try:
        return Loaded(case, load(path, input_shapes={n: value.shape for n, value in case.inputs[0].items()}))
    except UserError as error:
        lines = str(error).splitlines()
        return Loaded(case, None, lines[min(1, len(lines) - 1)].split(":", 1)[-1].strip())


def float_error(loaded: Loaded) -> float:
    """Largest difference of the graph's outputs from the expected ones, relative to their size."""
    graph, worst = loaded.graph, 0.0
    assert graph is not None
    for sample, expected in enumerate(loaded.case.outputs):
        results = graph.evaluate(loaded.feeds(sample))
        for port, reference in zip(graph.outputs, expected, strict=True):
            found = port.to_model(results[port.tensor])
            if found.size != reference.size:
                return float("inf")
            scale = 1.0 + np.abs(reference.astype(np.float64)).max(initial=0.0)
            difference = np.abs(found.reshape(reference.shape) - reference.astype(np.float64))
            worst = max(worst, float(difference.max(initial=0.0)) / scale)
    return worst


@functools.cache
def all_cases() -> tuple[Case, ...]:
    return tuple(cases())


@functools.cache
def quantized(loaded: Loaded) -> tuple[Program, list[dict[str, Array]], list[dict[str, Array]]]:
    """The case as integers, ranges measured on the test's own inputs; its inputs, and what the float graph
    makes of exactly these (so that rounding the inputs is no error), by tensor.
    """
    graph = loaded.graph
    assert graph is not None
    samples = [loaded.feeds(i) for i in range(len(loaded.case.inputs))]
    stacked = {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
    recipe = Recipe(
        activations=ActivationsRecipe(range_method="min-max", activations="int8"),
        rounding=RoundingRecipe(bias="none"),
    )
    meanings = {port.name: InputMeaning() for port in graph.inputs}
    prepared = prepare_by(graph, meanings, recipe, stacked)
    program = program_by(prepared, recipe)
    types = {port.tensor: program.tensors[port.tensor].qtype for port in program.inputs}
    integers = [{name: types[name].quantize(value) for name, value in sample.items()} for sample in samples]
    reals = [{name: types[name].dequantize(value) for name, value in sample.items()} for sample in integers]
    return program, integers, [graph.evaluate(real) for real in reals]


def tolerance(loaded: Loaded, program: Program, tensor: str) -> float:
    """How far an output may be from the float graph's, from the scales alone.

    Half a step for every rounding on the way, and one more for the input's rounding, which may push a value
    beyond the measured range; a convolution adds half a step of each weight times its input, a recurrent
    layer that at every step of the sequence.
    """
    qtype = program.tensors[tensor].qtype
    bound = 0.0
    for op in program.ops:
        output, inputs = program.tensors[op.output], [program.tensors[name] for name in op.inputs]
        if isinstance(op, QReshape | QTake | QConcat | QTranspose | QPad | QMaxPool | QArgMax):
            continue
        bound += 1.5 * output.qtype.scale
        if isinstance(op, QConv2D):
            largest = max(abs(end) for end in inputs[0].qtype.real_range)
            accumulator = (
                op.requantize.multiplier * 2.0 ** (op.requantize.pre_shift - 32) * output.qtype.scale
            )
            weight_scale = float(np.max(accumulator)) / inputs[0].qtype.scale
            bound += 0.5 * weight_scale * largest * int(np.prod(op.weight.shape[1:]))
        if isinstance(op, QRecurrent):
            # Sums have 12 bits; the rows of sigmoids are halved.
            for rows, largest in ((op.of_input, -inputs[0].qtype.dtype.minimum), (op.of_state, 32768)):
                step = 2.0 * float(rows.multiplier.max()) * 2.0 ** (rows.pre_shift - 32) / 4096.0
                bound += 0.5 * op.steps * step * largest * rows.depth
    return max(bound, 1e-5 + 0.01 * qtype.scale)
