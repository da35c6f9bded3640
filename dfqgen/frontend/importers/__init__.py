"""ONNX operators to ours, one module a family; `import_model` runs them over a whole model.

To add an operator, write a function of an `OnnxNode` that emits our operators and gives the resulting
tensor in ONNX's axis order, and decorate it with `@importer("Name")` in the module of its family. It refuses
what it cannot do with `Refused`. Layout is not its business beyond explicit transposes around operators that
want channels last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx

from dfqgen.errors import Problem, UnsupportedModel
from dfqgen.frontend.fold import FoldedModel
from dfqgen.frontend.guard import LIBRARY_ERRORS, reason
from dfqgen.frontend.importers import (  # noqa: F401 - they register
    concat,
    convolution,
    elementwise,
    functions,
    movement,
    pooling,
    resize,
    selection,
    transposed,
)
from dfqgen.frontend.importers.registry import Builder, OnnxNode, Refused, find_importer, supported_operators
from dfqgen.frontend.limits import LARGEST_NETWORK_ELEMENTS
from dfqgen.frontend.read import node_label
from dfqgen.graph.ir import Graph, Port

__all__ = ["import_model", "supported_operators"]

_RECURRENT = frozenset(["LSTM", "GRU", "RNN"])
_CONTROL = frozenset(["If", "Loop", "Scan"])
_QUANTIZED = frozenset((
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
))  # fmt: skip


def import_model(model: FoldedModel) -> Graph:
    """The model as a Graph in ONNX's own axis order.

    Raises UnsupportedModel that lists every node dfqgen cannot compile.
    """
    _refuse_quantized(model)
    builder = Builder(model)
    for name, shape in model.inputs.items():
        builder.add_input(name, shape)
    ports = tuple(Port(name, builder.tensors[name], shape) for name, shape in model.inputs.items())
    problems: list[Problem] = []
    for proto in model.nodes:
        advice = _import_node(proto, builder)
        if advice is not None:
            problems.append(Problem(proto.op_type, node_label(proto), advice))
            _stand_in(proto, builder)
    problems += _bad_outputs(model, builder, problems)
    if problems:
        count = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
        raise UnsupportedModel(f"{count} of this model cannot be compiled", tuple(problems))
    # The model's own tensors: importers put transposes around them, of which few will be left.
    tensors = set(builder.tensors.values())
    if sum(math.prod(builder.shapes[tensor]) for tensor in tensors) > LARGEST_NETWORK_ELEMENTS:
        raise UnsupportedModel(
            f"the activations of this network have more than {LARGEST_NETWORK_ELEMENTS:,} elements together",
            hint="Give it smaller inputs: --input-shape, or export it so.",
        )
    outputs = tuple(
        Port(name, builder.tensors[name], builder.shapes[builder.tensors[name]]) for name in model.outputs
    )
    return Graph(model.name, ports, outputs, tuple(builder.nodes))


def _refuse_quantized(model: FoldedModel) -> None:
    """One line for a network of integers; one whose weights alone are quantized has none of these left."""
    found = [node.op_type for node in model.nodes if node.op_type in _QUANTIZED]
    if found:
        names = ", ".join(dict.fromkeys(found))
        count = "1 node" if len(found) == 1 else f"{len(found)} nodes"
        raise UnsupportedModel(
            f"this model is quantized already: {count} of {names}",
            hint="Quantized models are not taken yet: give the float32 model it was made from.",
        )


def _import_node(proto: onnx.NodeProto, builder: Builder) -> str | None:
    """Import one node; what is wrong and what to do when that fails, else None."""
    model = builder.model
    importer = find_importer(proto.op_type, model.opset) if proto.domain in ("", "ai.onnx") else None
    if importer is None:
        failure = model.failures.get(node_label(proto))
        if failure is None:
            return _advice(proto, builder)
        return failure if proto.domain not in ("", "ai.onnx") else f"is malformed: {failure}"
    if any(name and not _usable(name, builder) for name in proto.input):
        return None  # behind a refused node: nothing more to learn
    try:
        results = importer(OnnxNode(proto, builder))
    except Refused as refusal:
        return str(refusal)
    except ValueError as error:  # a shape rule
        return f"is malformed: {error}"
    except LIBRARY_ERRORS as error:
        return f"is malformed ({reason(error)})"
    for name, tensor in zip(proto.output, [results] if isinstance(results, str) else results, strict=False):
        if name:
            builder.tensors[name] = tensor
    return None


def _usable(name: str, builder: Builder) -> bool:
    """Whether the tensor is a constant, or an activation of known shape with a batch axis."""
    return name in builder.model.constants or builder.shapes.get(builder.tensors.get(name, ""), ()) != ()


def _stand_in(proto: onnx.NodeProto, builder: Builder) -> None:
    """Let what follows a refused node be checked too, where ONNX knows the shape."""
    for name in filter(None, proto.output):
        if name in builder.model.shapes:
            builder.add_input(name, builder.model.shapes[name])


def _advice(proto: onnx.NodeProto, builder: Builder) -> str:
    if proto.domain not in ("", "ai.onnx"):
        return f"belongs to the unknown domain {proto.domain!r}; export with standard ONNX operators"
    if proto.op_type in _RECURRENT:
        return "recurrent layers are not supported"
    if proto.op_type in _CONTROL:
        return "control flow is not supported; export the model with fixed shapes, by tracing"
    activations = [name for name in proto.input if name and name not in builder.model.constants]
    given = _given_by_nodes(activations, builder)
    if not given:
        return "is not supported; compute it before the network, and export the model without it"
    return f"is not supported; run it on the host side: cut the graph with --outputs {','.join(given)}"


def _given_by_nodes(names: Iterable[str], builder: Builder) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in builder.model.inputs]


def _bad_outputs(model: FoldedModel, builder: Builder, problems: list[Problem]) -> list[Problem]:
    """Outputs that no compiled node gives."""
    bad = []
    inputs = {builder.tensors[name] for name in model.inputs}
    for name in model.outputs:
        if name in model.constants:
            bad.append(Problem("output", name, "is a constant: it does not depend on the input"))
        elif builder.tensors.get(name) in inputs:
            bad.append(Problem("output", name, "is the input itself"))
        elif name not in builder.tensors and not problems:
            bad.append(
                Problem("output", name, "is the second output of a node; only first ones are supported")
            )
    return bad
