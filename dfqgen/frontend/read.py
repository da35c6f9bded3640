"""Reading an ONNX file from an untrusted source: parse, bring in external data, check the structure.

Everything a user can get wrong about the file itself ends in a ModelFileError or UserError here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from dfqgen.errors import ModelFileError, UserError
from dfqgen.files import check_regular, read_regular
from dfqgen.frontend.guard import LIBRARY_ERRORS, reason, refusing_damage
from dfqgen.frontend.limits import LARGEST_TENSOR_ELEMENTS, MOST_NODES
from dfqgen.frontend.modernize import (
    OLDEST_OPSET,
    convert_old,
    erfc_to_erf,
    mend_axes,
    names_read,
    nested_graphs,
    other_precisions,
    sort_nodes,
    sparse_to_nodes,
    to_single_precision,
)
from dfqgen.frontend.tflite import is_tflite, onnx_from_tflite
from dfqgen.graph.ir import Shape

# Their attributes are graphs, which may read names from around them: these cannot be checked alone.
CONTROL_OPERATORS = frozenset(["If", "Loop", "Scan", "SequenceMap"])

INTEGER_INPUTS = {
    onnx.TensorProto.UINT8: (0, 255),
    onnx.TensorProto.INT8: (-128, 127),
    onnx.TensorProto.UINT16: (0, 65535),
    onnx.TensorProto.INT16: (-32768, 32767),
}
"""Types that inputs may have besides float32: what cameras and microphones give."""
INDEX_TYPES = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
"""Types that they may have where they are numbers of a table's rows (see indices.py)."""

_RE_EXPORT = "Export the model again, and check that the file was copied as a whole."


def read_model(path: str | Path) -> onnx.ModelProto:
    """The model of an ONNX file, external data loaded, local functions inlined, each node checked.

    Nodes are in topological order, floats in single precision, the operator set is OLDEST_OPSET or later.
    Raises ModelFileError when the file is not a sound ONNX model.
    """
    path = Path(path)
    with refusing_damage(path):
        model = _parse(path)
        _check_header(model, path)
        _check_text(model, path)
        _load_external_data(model, path)
        if model.functions:
            model = _inlined(model, path)
        sparse_to_nodes(model.graph)
        sort_nodes(model.graph)
        mend_axes(model.graph)
        erfc_to_erf(model.graph)
        _check_graph(model, path)
        if other_precisions(model.graph):
            _check_types(model, path)
        if opset_version(model) < OLDEST_OPSET:
            model = _converted(model, path)
            _check_graph(model, path)
        to_single_precision(model.graph)
    return model


def opset_version(model: onnx.ModelProto) -> int:
    """Version of the standard operator set the model is written for."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _parse(path: Path) -> onnx.ModelProto:
    data = read_regular(path, kind=ModelFileError)
    if not data:
        raise ModelFileError(f"{path} is empty", _RE_EXPORT)
    if is_tflite(data):
        return onnx_from_tflite(data, path)
    try:
        return onnx.ModelProto.FromString(data)
    except DecodeError:
        # Every ONNX file in practice starts with field 1, the IR version.
        if data[0] == 0x08 and len(data) > 1 and data[1] < 0x40:
            raise ModelFileError(f"{path} is a truncated or damaged ONNX file", _RE_EXPORT) from None
        raise ModelFileError(f"{path} is not an ONNX file", "dfqgen reads ONNX and TFLite models.") from None


def _check_header(model: onnx.ModelProto, path: Path) -> None:
    if not model.HasField("graph") or not model.ir_version:
        raise ModelFileError(f"{path} is not an ONNX file, or a truncated one: it holds no graph", _RE_EXPORT)
    version = opset_version(model)
    newest = onnx.defs.onnx_opset_version()
    if version == 0:
        raise ModelFileError(f"{path} does not say which opset it uses", _RE_EXPORT)
    if version > newest:
        raise ModelFileError(
            f"{path} uses ONNX opset {version}; the installed onnx package knows up to {newest}",
            "Upgrade the onnx package, or export with an older opset.",
        )
    if not model.graph.node:
        raise ModelFileError(f"{path} holds an empty graph: there is nothing to compile")


def _check_text(model: onnx.ModelProto, path: Path) -> None:
    """Every name is text: protobuf gives bytes where it is not UTF-8."""
    graph = model.graph
    names = [graph.name, *(o.domain for o in model.opset_import)]
    names += [value.name for value in (*graph.input, *graph.output, *graph.value_info)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for tensor in _all_tensors(graph):
        names.append(tensor.name)
        names += [text for entry in tensor.external_data for text in (entry.key, entry.value)]
    for name in names:
        if not isinstance(name, str):
            raise ModelFileError(f"{path} is damaged: the name {name!r} is not text", _RE_EXPORT)


def _converted(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model in a newer operator set."""
    try:
        return convert_old(model)
    except LIBRARY_ERRORS as error:
        raise ModelFileError(
            f"{path} uses ONNX opset {opset_version(model)}, and cannot be converted to a newer one "
            f"({reason(error)})",
            f"Export the model again with opset {OLDEST_OPSET} or later.",
        ) from None


def _check_types(model: onnx.ModelProto, path: Path) -> None:
    """What is declared half or double precision is that: afterwards all of it is single."""
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelFileError(f"{path} is not valid ONNX: {reason(error)}", _RE_EXPORT) from None


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with its local functions expanded."""
    if inlined_nodes(model) > MOST_NODES:
        raise ModelFileError(f"{path} unfolds into more than {MOST_NODES:,} nodes", _RE_EXPORT)
    try:
        return onnx.inliner.inline_local_functions(model)
    except LIBRARY_ERRORS as error:
        raise ModelFileError(
            f"{path} is damaged: its local functions do not expand ({reason(error)})", _RE_EXPORT
        ) from None


def inlined_nodes(model: onnx.ModelProto) -> int:
    """How many nodes the model has once its local functions are expanded; MOST_NODES + 1 where too many.

    Functions of functions may double at each level; ones that call themselves have no end.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    known: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in functions and key not in known:
                known[key] = MOST_NODES + 1  # while it is being counted: it calls itself
                known[key] = size(functions[key].node)
            total += known.get(key, 1)
            total += sum(size(graph.node) for graph in nested_graphs(node))
        return min(total, MOST_NODES + 1)

    return size(model.graph.node)


def _check_graph(model: onnx.ModelProto, path: Path) -> None:
    """Each node fits its operator's schema, and each tensor is given once, before it is read."""
    graph = model.graph
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    given = [t.name for t in graph.initializer]
    known = set(given)
    inputs = [value.name for value in graph.input]
    if len(set(given)) != len(given) or len(set(inputs)) != len(inputs):
        raise ModelFileError(f"{path} is damaged: two inputs or initializers have one name", _RE_EXPORT)
    known.update(inputs)
    for node in graph.node:
        label = f"node {node_label(node)!r} ({node.op_type})"
        missing = [name for name in node.input if name and name not in known]
        if missing:
            raise ModelFileError(
                f"{path} is damaged: {label} reads {missing[0]!r}, which nothing before it gives", _RE_EXPORT
            )
        for name in filter(None, node.output):
            if name in known:
                raise ModelFileError(f"{path} is damaged: {name!r} is given again by {label}", _RE_EXPORT)
            known.add(name)
        for attribute in node.attribute:
            # ONNX's own shape inference of Split writes beyond its outputs where there are fewer.
            if attribute.name == "num_outputs" and attribute.i != len(node.output):
                found = f"{len(node.output)} outputs, not {attribute.i}"
                raise ModelFileError(f"{path} is damaged: {label} has {found}", _RE_EXPORT)
        if onnx.defs.has(node.op_type, node.domain) and node.op_type not in CONTROL_OPERATORS:
            try:
                onnx.checker.check_node(node, context)
            except LIBRARY_ERRORS as error:
                raise ModelFileError(f"{path} is not valid ONNX: {label}: {reason(error)}") from None
    if not graph.output:
        raise ModelFileError(f"{path} is damaged: the graph has no output", _RE_EXPORT)
    if len({value.name for value in graph.output}) != len(graph.output):
        raise ModelFileError(f"{path} is damaged: two outputs have one name", _RE_EXPORT)
    for value in graph.output:
        if value.name not in known:
            raise ModelFileError(f"{path} is damaged: nothing gives the output {value.name!r}", _RE_EXPORT)
        if value.type.HasField("tensor_type") and not value.type.tensor_type.elem_type:
            raise ModelFileError(f"{path} is damaged: the output {value.name!r} is of no type", _RE_EXPORT)


def node_label(node: onnx.NodeProto) -> str:
    """What a user can look for in a viewer: the node's name, or its first output when it has none."""
    return str(node.name or next((name for name in node.output if name), "?"))


# --- external data ---


def _all_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _all_tensors(attribute.g)
            for nested in attribute.graphs:
                yield from _all_tensors(nested)


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Replace references to other files by their bytes; those files must lie in the model's folder."""
    folder = path.parent.resolve()
    for tensor in _all_tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = _inside(folder, location, tensor.name)
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
            check_regular(file)
            with file.open("rb") as stream:
                stream.seek(offset)
                data = stream.read(length)
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"cannot read the external data of tensor {tensor.name!r} from {location!r}: {error}"
            ) from None
        if 0 <= length != len(data):
            raise ModelFileError(
                f"external data file {location!r} is truncated: tensor {tensor.name!r} needs {length} bytes "
                f"at {offset}, {len(data)} are there",
                _RE_EXPORT,
            )
        tensor.raw_data = data
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT


def _inside(folder: Path, location: str, tensor: str) -> Path:
    """The file at `location`, which must be a plain path inside `folder`, links followed."""
    parts = location.replace("\\", "/").split("/")
    escapes = not location or "\0" in location or location[0] in "/\\" or ":" in parts[0] or ".." in parts
    file = folder if escapes else (folder / location).resolve()
    if escapes or not file.is_relative_to(folder):
        raise ModelFileError(
            f"the external data of tensor {tensor!r} lies outside the model's folder: {location!r}",
            "For safety only files beside the model are read; move the data there and save the model again.",
        )
    if not file.is_file():
        raise ModelFileError(
            f"the external data file {location!r} of tensor {tensor!r} is missing",
            "Copy it beside the model.",
        )
    return file


# --- inputs and outputs ---


def needed_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> tuple[onnx.NodeProto, ...]:
    """The nodes some output depends on."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(name for name in node.output if name):
            kept.append(node)
            needed.update(names_read(node))
    return tuple(reversed(kept))


def cut_outputs(model: onnx.ModelProto, outputs: Iterable[str]) -> None:
    """Make these tensors the outputs of the graph, in place.

    Raises UserError for a name the graph does not give.
    """
    graph = model.graph
    available = [name for node in graph.node for name in node.output if name]
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    chosen = list(dict.fromkeys(outputs))
    if not chosen:
        raise UserError("no outputs were named to cut the graph at")
    for name in chosen:
        if name not in available:
            raise _no_such_tensor(name, available, "an output")
    kept = [values.get(name, onnx.ValueInfoProto(name=name)) for name in chosen]
    del graph.output[:]
    graph.output.extend(kept)


def cut_inputs(model: onnx.ModelProto, inputs: Iterable[str]) -> None:
    """Make these tensors inputs of the graph, in place; the others stay where something still needs them.

    Raises UserError for a name the graph does not give.
    """
    graph = model.graph
    own = {value.name for value in graph.input}
    chosen = [name for name in dict.fromkeys(inputs) if name not in own]
    if not chosen:
        return
    available = [name for node in graph.node for name in node.output if name]
    for name in chosen:
        if name not in available:
            raise _no_such_tensor(name, [*own, *available], "an input")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    for name in chosen:
        value = onnx.ValueInfoProto()
        value.CopyFrom(known.get(name, onnx.ValueInfoProto(name=name)))
        if not value.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        graph.input.append(value)
        for node in graph.node:
            for i, output in enumerate(node.output):
                if output == name:
                    node.output[i] = f"{name}/before the cut"
    kept = needed_nodes(graph.node, [value.name for value in graph.output])
    read = set().union(*(names_read(node) for node in kept), (value.name for value in graph.output))
    values = [value for value in graph.input if value.name in read]
    nodes = onnx.GraphProto(node=kept, input=values)
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes.node)
    graph.input.extend(nodes.input)


def fix_inputs(model: onnx.ModelProto, values: Mapping[str, float]) -> None:
    """Make these inputs constants, all elements one value, in place. Axes of no stated size get one element.

    Raises UserError for a name that is no input, and a value that its type does not hold.
    """
    inputs = {value.name: value for value in model.graph.input}
    for name, value in values.items():
        if name not in inputs:
            raise UserError(f"the model has no input {name!r} to fix", f"Its inputs: {', '.join(inputs)}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type)
        shape = tuple(n or 1 for n in _stated_shape(inputs[name]) or ())
        _checked(name, shape)
        whole = np.full(shape, value)
        with np.errstate(all="ignore"):
            if dtype.kind not in "iufb" or np.any(whole.astype(dtype).astype(np.float64) != whole):
                raise UserError(f"the input {name!r} is {dtype}, which cannot be {value:g}")
        model.graph.input.remove(inputs[name])
        model.graph.initializer.append(numpy_helper.from_array(whole.astype(dtype), name))


def _no_such_tensor(name: str, available: Sequence[str], use: str) -> UserError:
    close = difflib.get_close_matches(name, available, n=3)
    return UserError(
        f"the model has no tensor {name!r} to use as {use}",
        f"Similar names: {', '.join(close)}" if close else "dfqgen inspect lists them.",
    )


def fixed_input_shapes(
    model: onnx.ModelProto, input_shapes: Mapping[str, Shape] | None = None
) -> dict[str, Shape]:
    """Shape of each graph input (initializers left out): the file's with a batch of 1, or as given.

    Raises UserError for an input that stays dynamic or that is not float32.
    """
    overrides = dict(input_shapes or {})
    initializers = {t.name for t in model.graph.initializer}
    outputs = [value.name for value in model.graph.output]
    read = set().union(outputs, *(names_read(n) for n in needed_nodes(model.graph.node, outputs)))
    shapes: dict[str, Shape] = {}
    dynamic: dict[str, tuple[int | None, ...] | None] = {}
    for value in model.graph.input:
        if value.name in initializers:
            continue
        if value.name not in read:  # nothing needs it, whatever it is
            overrides.pop(value.name, None)
            continue
        _check_input_type(value)
        stated = _stated_shape(value)
        override = overrides.pop(value.name, None)
        if override is not None:
            stated = _overridden(value.name, stated, tuple(override))
        elif stated and (stated[0] is None or _is_batch(stated)):
            if all(n is not None for n in stated):  # onnxruntime runs the batch as the file has it
                _checked(value.name, tuple(n for n in stated if n is not None))
            stated = (1, *stated[1:])
        if stated is None or any(n is None for n in stated):
            dynamic[value.name] = _stated_shape(value)
            continue
        shapes[value.name] = _checked(value.name, tuple(n for n in stated if n is not None))
    if overrides:
        names = ", ".join(value.name for value in model.graph.input if value.name not in initializers)
        raise UserError(f"the model has no input {next(iter(overrides))!r}", f"Its inputs: {names}")
    if dynamic:
        words = ", ".join(_in_words(name, shape) for name, shape in dynamic.items())
        raise UserError(
            f"the model's input shape is dynamic ({words}); generated C has fixed shapes",
            "Fix it, for example " + " ".join(_example_shape(name, shape) for name, shape in dynamic.items()),
        )
    return shapes


def _in_words(name: str, shape: tuple[int | None, ...] | None) -> str:
    return f"{name}:" + ("?" if shape is None else "x".join("?" if n is None else str(n) for n in shape))


def _example_shape(name: str, shape: tuple[int | None, ...] | None) -> str:
    """An option that fixes it: one sample, and areas and lengths that are usual."""
    shape = shape or (None, 3, None, None)
    usual = {2: 512, 3: 100}.get(len(shape), 224)
    batch = 0 if shape[0] is None else 1  # states have their layers first
    filled = [n or (1 if axis == batch else usual) for axis, n in enumerate(shape)]
    return f"--input-shape {name}:" + "x".join(map(str, filled))


def _is_batch(shape: tuple[int | None, ...]) -> bool:
    """Whether the first axis counts samples. [T, 1, F] is a sequence or a state, the batch behind time."""
    return len(shape) > 1 and not (len(shape) == 3 and shape[1] == 1)


def _check_input_type(value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        raise UserError(f"input {value.name!r} is not a tensor")
    dtype = value.type.tensor_type.elem_type
    if dtype == onnx.TensorProto.FLOAT:
        return
    if dtype in INTEGER_INPUTS or dtype in INDEX_TYPES:
        return
    known = onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(dtype).lower() if dtype in known else f"of unknown type {dtype}"
    raise UserError(
        f"input {value.name!r} is {name}; inputs are float32, or integers of at most 16 bits",
        f"Make it a constant, if it always has one value: --fix {value.name}=NUMBER; "
        "or export the model with inputs of such a type.",
    )


def integer_ranges(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """The values that each input of an integer type can have."""
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    return {name: INTEGER_INPUTS[dtype] for name, dtype in types.items() if dtype in INTEGER_INPUTS}


def _stated_shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    # Some exporters write 0 or -1 for "unknown" on any axis.
    return tuple(n if n is not None and n > 0 else None for n in sizes)


def _overridden(name: str, stated: tuple[int | None, ...] | None, shape: Shape) -> Shape:
    if stated is not None and len(stated) != len(shape):
        raise UserError(f"input {name!r} has {len(stated)} axes, the given shape {shape} has {len(shape)}")
    return shape


def _checked(name: str, shape: Shape) -> Shape:
    elements = 1
    for n in shape:
        elements *= n
    if any(n < 1 for n in shape) or elements > LARGEST_TENSOR_ELEMENTS:
        raise UserError(
            f"input {name!r} cannot have shape {'x'.join(map(str, shape))}",
            f"An input has at least one and at most {LARGEST_TENSOR_ELEMENTS:,} elements.",
        )
    return shape


def stated_batch(model: onnx.ModelProto, input_shapes: Mapping[str, Shape]) -> int:
    """The batch that the file fixes where `input_shapes` have 1 instead, else 1."""
    batches = [1]
    for value in model.graph.input:
        stated, shape = _stated_shape(value), input_shapes.get(value.name)
        if stated and shape and stated[0] is not None and shape[0] == 1:
            batches.append(stated[0])
    return max(batches)
