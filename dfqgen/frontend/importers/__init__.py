"""ONNX operators to ours, one module a family; `import_model` runs them over a whole model.

To add an operator, write a function of an `OnnxNode` that emits our operators and gives the resulting
tensor in ONNX's axis order, and decorate it with `@importer("Name")` in the module of its family. It refuses
what it cannot do with `Refused`. Layout is not its business beyond explicit transposes around operators that
want channels last.
"""

from __future__ import annotations

import math
import shlex

import onnx

from dfqgen.errors import Problem, UnsupportedModel
from dfqgen.frontend.fold import FoldedModel
from dfqgen.frontend.guard import LIBRARY_ERRORS, reason
from dfqgen.frontend.importers import (  # noqa: F401 - they register
    comparisons,
    concat,
    convolution,
    elementwise,
    functions,
    integer,
    movement,
    norms,
    pooling,
    recurrent,
    resize,
    scan,
    selection,
    stated,
    transposed,
    trees,
)
from dfqgen.frontend.importers.concat import join
from dfqgen.frontend.importers.registry import (
    Builder,
    FirstAxisMoved,
    Importer,
    OnnxNode,
    Refused,
    find_importer,
    supported_operators,
    takes_batch_first,
)
from dfqgen.frontend.importers.selection import select
from dfqgen.frontend.importers.stated import code_inputs, pass_on_codings
from dfqgen.frontend.importers.unrolled import find_chains, import_step
from dfqgen.frontend.limits import LARGEST_NETWORK_ELEMENTS
from dfqgen.frontend.read import node_label
from dfqgen.graph.ir import Graph, Port
from dfqgen.ops.embedding import index_coding
from dfqgen.ops.movement import Reshape

__all__ = ["import_model", "supported_operators"]

MOST_SAMPLES = 16
"""How often one layer is repeated where the first axis is not the batch: as often in C."""

DYNAMIC = "DynamicQuantizeLinear"
_CONTROL = frozenset(["If", "Loop"])
BEHIND_THE_NETWORK = {
    "TopK": "sorts what comes out: dfq_best_k() of runtime_c/api/dfq_api.h does that behind the network",
    "NonMaxSuppression": "gives as many boxes as it finds: runtime_c/api/dfq_boxes.h decodes boxes and "
    "suppresses those that overlap, behind the network",
}
"""What the generated C has helpers for, of operators that are no part of the network proper."""


def import_model(model: FoldedModel, states: frozenset[str] = frozenset()) -> Graph:
    """The model as a Graph in ONNX's own axis order. `states` are outputs that may be inputs as they are.

    Raises UnsupportedModel that lists every node dfqgen cannot compile.
    """
    builder = Builder(model)
    for name, shape in model.inputs.items():
        builder.add_input(name, shape)
    code_inputs(model, builder)
    ports = tuple(_port(name, builder) for name in model.inputs)
    problems: list[Problem] = []
    refused: set[str] = set()
    chains = find_chains(builder)
    for proto in model.nodes:
        chain = chains.get(proto.output[0] if proto.output else "")
        advice = None
        if chain is not None and all(name in builder.tensors for name in (chain.first.source, *chain.begins)):
            builder.tensors[proto.output[0]] = import_step(OnnxNode(proto, builder), chain)
        else:
            advice = _import_node(proto, builder)
        if advice is not None:
            problems.append(Problem(proto.op_type, node_label(proto), advice))
            refused.update(filter(None, proto.output))
            _stand_in(proto, builder)
    names, remarks = _useful_outputs(model, builder, states, problems)
    if problems:
        count = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
        raise UnsupportedModel(
            f"{count} of this model cannot be compiled", tuple(problems), _cut(model, frozenset(refused))
        )
    # The model's own tensors: importers put transposes around them, of which few will be left.
    tensors = set(builder.tensors.values())
    if sum(math.prod(builder.shapes[tensor]) for tensor in tensors) > LARGEST_NETWORK_ELEMENTS:
        raise UnsupportedModel(
            f"the activations of this network have more than {LARGEST_NETWORK_ELEMENTS:,} elements together",
            hint="Give it smaller inputs: --input-shape, or export it so.",
        )
    if model.batch > 1:
        _refuse_batch_behind(names, builder)
        remarks.append(
            f"the model is exported for a batch of {model.batch}; the C takes one sample at a time"
        )
    outputs = tuple(_port(name, builder) for name in names)
    graph = Graph(model.name, ports, outputs, tuple(builder.nodes), tuple(remarks))
    return graph.without_dead_nodes()


def _refuse_batch_behind(outputs: list[str], builder: Builder) -> None:
    """Of a batch that the file fixes one sample is taken, from the front of each output."""
    behind = [name for name in outputs if builder.tensors[name] in builder.lifted]
    if behind:
        raise UnsupportedModel(
            f"the model is exported for a batch of {builder.model.batch}, which is not the first axis of "
            f"its output {behind[0]!r}",
            hint="Export it for one sample, or fix all axes of the input with --input-shape.",
        )


def _port(name: str, builder: Builder) -> Port:
    tensor, coding = builder.tensors[name], builder.codings.get(name)
    holds = None if coding else builder.model.integer_inputs.get(name)
    if holds is not None and name in builder.model.indices:
        coding = index_coding(holds[1] + 1)
    return Port(
        name, tensor, builder.shapes[tensor], whole=tensor in builder.lifted, holds=holds, coding=coding
    )


def _import_node(proto: onnx.NodeProto, builder: Builder) -> str | None:
    """Import one node; what is wrong and what to do when that fails, else None."""
    model = builder.model
    importer = find_importer(proto.op_type, model.opset) if proto.domain in ("", "ai.onnx") else None
    if importer is None:
        failure = model.failures.get(node_label(proto))
        if failure is None:
            return _advice(proto)
        standard = proto.domain in ("", "ai.onnx") and proto.op_type not in _CONTROL
        return f"is malformed: {failure}" if standard else failure
    if any(name and not _usable(name, builder) for name in proto.input):
        return None  # behind a refused node: nothing more to learn
    try:
        first = len(builder.nodes)
        results = _results(importer, proto, builder)
        pass_on_codings(OnnxNode(proto, builder), first)
    except Refused as refusal:
        return str(refusal)
    except ValueError as error:  # a shape rule
        return f"is malformed: {error}"
    except LIBRARY_ERRORS as error:
        return f"is malformed ({reason(error)})"
    for name, tensor in zip(proto.output, results, strict=False):
        if name and tensor:
            builder.tensors[name] = tensor
    return None


def _results(importer: Importer, proto: onnx.NodeProto, builder: Builder) -> tuple[str, ...]:
    """Our tensors of the node's outputs: with ONNX's first axis as the batch, else with one in front."""
    whole = any(builder.tensors.get(name) in builder.lifted for name in proto.input)
    if not whole:
        try:
            return _as_tuple(importer(OnnxNode(proto, builder)))
        except FirstAxisMoved as moved:
            if takes_batch_first(importer):
                raise Refused(str(moved)) from None
    if takes_batch_first(importer):
        return _sample_by_sample(importer, proto, builder)
    node = OnnxNode(proto, builder, lead=1)
    return tuple(result and _settled(node, result) for result in _as_tuple(importer(node)))


def _as_tuple(results: str | tuple[str, ...]) -> tuple[str, ...]:
    return (results,) if isinstance(results, str) else results


def _settled(node: OnnxNode, tensor: str) -> str:
    """A result behind a leading axis: without it where ONNX's own first axis can be the batch."""
    shape = node.shape_of(tensor)
    if len(shape) < 2:
        raise Refused("gives a single number without axes; export the model with the batch axis kept")
    if shape[1] == 1:
        return node.emit(Reshape(shape[1:]), tensor)
    node.builder.lifted.add(tensor)
    return tensor


def _sample_by_sample(importer: Importer, proto: onnx.NodeProto, builder: Builder) -> tuple[str, ...]:
    """A layer on several samples: once for each, on the same weights."""
    node = OnnxNode(proto, builder, lead=1)
    places = [i for i in range(len(proto.input)) if proto.input[i] in builder.tensors]
    wholes = {i: node.tensor(i) for i in places}
    count = max(node.shape_of(tensor)[1] for tensor in wholes.values())
    if count > MOST_SAMPLES or any(node.shape_of(tensor)[1] != count for tensor in wholes.values()):
        raise Refused(
            f"works on {count} samples; up to {MOST_SAMPLES} are supported, the first axis being the batch"
        )
    outer = {proto.input[i]: builder.tensors[proto.input[i]] for i in places}
    parts: list[tuple[str, ...]] = []
    for sample in range(count):
        for i in places:
            one = select(node, wholes[i], 1, [sample])
            builder.tensors[proto.input[i]] = node.reshape(one, node.shape_of(one)[1:])
        parts.append(_as_tuple(importer(OnnxNode(proto, builder))))
    builder.tensors.update(outer)
    joined = []
    for results in zip(*parts, strict=True):
        rows = [node.reshape(result, (1, *node.shape_of(result))) for result in results]
        joined.append(_settled(node, join(node, 1, rows)))
    return tuple(joined)


def _usable(name: str, builder: Builder) -> bool:
    """Whether the tensor is a constant, or an activation of known shape with a batch axis."""
    return name in builder.model.constants or builder.shapes.get(builder.tensors.get(name, ""), ()) != ()


def _stand_in(proto: onnx.NodeProto, builder: Builder) -> None:
    """Let what follows a refused node be checked too, where ONNX knows the shape; not what reads integers of
    unknown scale.
    """
    if proto.op_type == DYNAMIC:
        return
    for name in filter(None, proto.output):
        if name in builder.model.shapes:
            builder.add_input(name, builder.model.shapes[name])


def _advice(proto: onnx.NodeProto) -> str:
    if proto.domain not in ("", "ai.onnx"):
        return f"belongs to the unknown domain {proto.domain!r}; export with standard ONNX operators"
    if proto.op_type == DYNAMIC:
        return (
            "finds the scale of every input while the network runs; the generated C has fixed scales. "
            "Quantize statically (onnxruntime's quantize_static), or give the float32 model"
        )
    if proto.op_type in _CONTROL:
        return "control flow is not supported; export the model with fixed shapes, by tracing"
    return BEHIND_THE_NETWORK.get(proto.op_type, "is not supported")


def _cut(model: FoldedModel, refused: frozenset[str]) -> str:
    """How to compile what does not depend on refused nodes (by a name they give), leaving out the rest.

    The tensors that refused nodes read and the outputs that are left, as far as nodes give them.
    """
    tainted, given, wanted = set[str](), set[str](), dict[str, None]()
    for proto in model.nodes:
        names = [name for name in proto.input if name and name not in model.constants]
        bad = not refused.isdisjoint(proto.output)
        if bad and tainted.isdisjoint(names):
            wanted.update(dict.fromkeys(name for name in names if name in given))
        bad = bad or not tainted.isdisjoint(names)
        (tainted if bad else given).update(filter(None, proto.output))
    wanted.update(dict.fromkeys(name for name in model.outputs if name in given))
    if not wanted:
        return _cut_in_front(model, refused)
    return f"Run the rest on the host side: cut the model with --outputs {shlex.quote(','.join(wanted))}"


def _cut_in_front(model: FoldedModel, refused: frozenset[str]) -> str:
    """The same where refused nodes stand at the input: what they give becomes the input."""
    read = {name for proto in model.nodes if refused.isdisjoint(proto.output) for name in proto.input}
    given = [name for proto in model.nodes for name in proto.output if name in refused and name in read]
    if not given:
        return ""
    names = shlex.quote(",".join(given))
    return f"Compute that on the host side: cut the model with --inputs {names}"


def _useful_outputs(
    model: FoldedModel, builder: Builder, states: frozenset[str], problems: list[Problem]
) -> tuple[list[str], list[str]]:
    """The outputs that depend on the input, and a remark on each of the others, which are left out.

    Adds to the problems where none is left, or one is not given.
    """
    inputs = {builder.tensors[name] for name in model.inputs}
    useful, useless = [], {}
    for name in model.outputs:
        if name in model.constants:
            useless[name] = "is a constant: it does not depend on the input"
        elif builder.tensors.get(name) in inputs and name not in states:
            useless[name] = "is the input itself"
        else:
            useful.append(name)
            if name not in builder.tensors and not problems:
                advice = "is the second output of a node; only first ones are supported"
                problems.append(Problem("output", name, advice))
    if not useful:
        problems += [Problem("output", name, why) for name, why in useless.items()]
    return useful, [f"the output {name!r} {why}; it is left out" for name, why in useless.items()]
