"""Constant folding and shape inference in one walk over the ONNX graph.

Exporters write padding and reshapes as subgraphs of Shape, Gather, Concat and the like, and weights as what
training made them of. With the input shape fixed they are constants. Shapes come from ONNX's own inference,
node by node, so that each node sees what was folded before it; values come from ONNX's reference
implementation, those of costly operators, and those it lacks, from onnxruntime. A node on an activation,
such as BatchNormalization, is never touched; an `If` whose condition is constant becomes the branch taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dfqgen.errors import ModelFileError
from dfqgen.frontend.expand import expanded, inlined_branch, taken_branch
from dfqgen.frontend.fused import NotPlain
from dfqgen.frontend.indices import index_ranges, lookups_of_inputs
from dfqgen.frontend.loops import loop_as_scan, scan_shapes
from dfqgen.frontend.modernize import names_read
from dfqgen.frontend.read import integer_ranges, needed_nodes, node_label, opset_version, stated_batch
from dfqgen.graph.ir import Array, Shape

# A folded tensor is a shape, a mask or a weight at most; beyond this it is a mistake or an attack.
LARGEST_FOLDED_ELEMENTS = 1 << 22
# All folded tensors together, and the steps to compute them: seconds, on any machine.
MOST_FOLDED_ELEMENTS = 1 << 26
MOST_FOLDING_STEPS = 1 << 32
# Constants that shape inference may want to read: shapes, axes, scales.
LARGEST_SHAPE_ELEMENTS = 1024

_INFERENCE_ERRORS = (
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    RuntimeError,
    ValueError,
)

# Deterministic, in time and memory that their inputs and outputs bound.
# fmt: off
FOLDABLE = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh",
    "BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast",
    "CastLike", "Ceil", "Celu", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape", "Cos", "Cosh",
    "CumSum", "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Expand",
    "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "GlobalAveragePool",
    "GlobalMaxPool", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
    "InstanceNormalization", "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "LpNormalization", "Max", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod",
    "Mul", "Neg", "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "ReverseSequence",
    "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size",
    "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze",
    "Where", "Xor",
))
# What they do to a constant of integers times scales they do to its scales.
MOVING = frozenset((
    "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
))
# Each output element takes many steps: onnxruntime computes these.
COSTLY = frozenset((
    "AveragePool", "Conv", "ConvTranspose", "Einsum", "Gemm", "LpPool", "MatMul", "MaxPool", "Resize",
    "Upsample",
))
LARGEST_SIZE = 1 << 48
"""Elements that an address could reach, far beyond any network."""
ROUNDING = frozenset(("QuantizeLinear", "DequantizeLinear"))
_INTEGER_BITS = {"int4": 4, "uint4": 4, "int8": 8, "uint8": 8}
# Their shapes depend on values, but their inputs bound them.
SHAPED_BY_VALUES = frozenset(("Compress", "NonZero", "Unique"))
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A constant is whole multiples of `scale`, element by element (of its shape); stored in `bits` bits."""

    scale: Array
    bits: int


@dataclass(frozen=True, slots=True)
class FoldedModel:
    """What is left to import: nodes on activations, in order, and the constants they read.

    `grids` tell of constants that are dequantized integers, `biases` has those of int32 as float64, which
    float32 cannot hold; `integer_inputs` are the ranges of inputs of
    integer types, `indices` those of them that are numbers of a table's rows. `batch` is the batch that the
    file states where it was made 1, else 1. `shapes` holds every activation whose shape ONNX could infer;
    `failures` why it could not, by the label of the node.
    """

    name: str
    opset: int
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    integer_inputs: Mapping[str, tuple[int, int]]
    indices: frozenset[str]
    batch: int
    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]
    grids: Mapping[str, Grid]
    biases: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    failures: Mapping[str, str]


def fold_constants(model: onnx.ModelProto, input_shapes: Mapping[str, Shape]) -> FoldedModel:
    """Fold every subgraph that does not depend on the values of the inputs, and infer shapes.

    Raises ModelFileError for an initializer whose data does not fit its shape.
    """
    live = _live_nodes(model.graph)
    walk = _Walk(model, live, input_shapes)
    nodes: list[onnx.NodeProto] = []
    pending = list(reversed(live))
    while pending:
        node = pending.pop()
        inside = walk.expand(node)
        if inside is not None:
            pending.extend(reversed(inside))
        elif not walk.fold(node):
            nodes.append(node)
    outputs = tuple(value.name for value in model.graph.output)
    looked_up, tables = lookups_of_inputs(nodes, walk.constants, input_shapes, walk.opset_imports)
    walk.constants.update(tables)
    kept = needed_nodes(looked_up, outputs)
    inputs = {name: s for name, s in input_shapes.items() if any(name in n.input for n in kept)}
    indices = index_ranges(model, kept, walk.constants, inputs)
    return FoldedModel(
        name=model.graph.name,
        opset=walk.opset,
        inputs=inputs,
        outputs=outputs,
        integer_inputs=integer_ranges(model) | indices,
        indices=frozenset(indices),
        batch=stated_batch(model, input_shapes),
        nodes=kept,
        constants=walk.constants,
        grids=walk.grids,
        biases=walk.biases,
        shapes=walk.shapes,
        failures=walk.failures,
    )


def _live_nodes(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, ...]:
    return needed_nodes(tuple(graph.node), tuple(value.name for value in graph.output))


class _Walk:
    """Types and constants seen so far."""

    def __init__(
        self, model: onnx.ModelProto, live: tuple[onnx.NodeProto, ...], input_shapes: Mapping[str, Shape]
    ) -> None:
        self.opset = opset_version(model)
        self.ir_version = model.ir_version
        self.opset_imports = [helper.make_opsetid("", self.opset)]
        self.constants: dict[str, Array] = {}
        self.grids: dict[str, Grid] = {}
        self.biases: dict[str, Array] = {}
        self.shapes: dict[str, Shape] = dict(input_shapes)
        self.failures: dict[str, str] = {}
        self._types: dict[str, onnx.TypeProto] = {
            value.name: helper.make_tensor_type_proto(
                value.type.tensor_type.elem_type, input_shapes[value.name]
            )
            for value in model.graph.input
            if value.name in input_shapes
        }
        self._data: dict[str, onnx.TensorProto] = {}
        self._elements_left = MOST_FOLDED_ELEMENTS
        self._steps_left = MOST_FOLDING_STEPS
        read = {name for node in live for name in names_read(node)}
        for tensor in model.graph.initializer:
            if tensor.name in read:
                self._add_constant(tensor.name, _to_array(tensor))

    def expand(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, ...] | None:
        """The nodes this one stands for (a branch that is always taken, a fused operator's), or None."""
        known = bool(node.input) and node.input[0] in self.constants
        if node.op_type == "If" and _standard_domain(node) and known:
            branch = taken_branch(node, bool(self.constants[node.input[0]].any()))
            return None if branch is None else inlined_branch(node, branch)
        try:
            loop = node.op_type == "Loop" and _standard_domain(node)
            expansion = (
                loop_as_scan(node, self.constants, self.shapes) if loop else expanded(node, self._rank)
            )
        except NotPlain as reason:
            self.failures[node_label(node)] = str(reason)
            return None
        if expansion is None:
            return None
        for name, value in expansion.constants.items():
            self._add_constant(name, value)
        return expansion.nodes

    def fold(self, node: onnx.NodeProto) -> bool:
        """Infer the node's output types; compute it when it is constant. True when it is gone."""
        types = self._infer(node)
        values = self._evaluate(node, types)
        if values is not None:
            for name, value in zip(node.output, values, strict=False):
                self._add_constant(name, value)
            grid = self._grid(node)
            if grid is not None:
                self.grids[node.output[0]] = grid
            bias = self._bias(node)
            if bias is not None:
                self.biases[node.output[0]] = bias
            return True
        for name, type_proto in types.items():
            self._types[name] = type_proto
            shape = _shape_of(type_proto)
            if shape is not None:
                self.shapes[name] = shape
        return False

    def _grid(self, node: onnx.NodeProto) -> Grid | None:
        """The grid of a node's constant output: of integers dequantized, or moved."""
        source = node.input[0] if node.input else ""
        if node.op_type == "DequantizeLinear":
            scale = written_out(self.constants[node.input[1]], self.constants[source].shape, node)
            bits = _INTEGER_BITS.get(self.constants[source].dtype.name)
            usable = scale is not None and bits is not None and np.all(np.isfinite(scale) & (scale > 0))
            return Grid(scale, bits) if usable and scale is not None and bits is not None else None
        if node.op_type not in MOVING or source not in self.grids:
            return None
        given = {name: self.constants[name] for name in node.input[1:] if name}
        moved = self._run(node, {source: np.ascontiguousarray(self.grids[source].scale), **given})
        return None if moved is None else replace(self.grids[source], scale=moved[0])

    def _bias(self, node: onnx.NodeProto) -> Array | None:
        """The node's constant output without loss, of int32 dequantized."""
        if node.op_type != "DequantizeLinear" or self.constants[node.input[0]].dtype != np.int32:
            return None
        integers = self.constants[node.input[0]]
        scale = written_out(self.constants[node.input[1]], integers.shape, node)
        shifted = len(node.input) > 2 and node.input[2] and np.any(self.constants[node.input[2]])
        return None if scale is None or shifted else integers * scale.astype(np.float64)

    def _rank(self, name: str) -> int | None:
        if name in self.constants:
            return self.constants[name].ndim
        return len(self.shapes[name]) if name in self.shapes else None

    def _add_constant(self, name: str, value: Array) -> None:
        self.constants[name] = value
        tensor_dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        self._types[name] = helper.make_tensor_type_proto(tensor_dtype, value.shape)
        if value.size <= LARGEST_SHAPE_ELEMENTS:
            self._data[name] = numpy_helper.from_array(value, name)

    def _infer(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        if node.op_type in ROUNDING and _standard(node) and node.input and node.input[0] in self.shapes:
            # Any integer type in any opset: onnxruntime's tools write what newer ones allow.
            dtype = int(TensorProto.FLOAT)
            if node.op_type == "QuantizeLinear":
                zero_point = self._types.get(node.input[2]) if len(node.input) > 2 else None
                dtype = int(TensorProto.UINT8) if zero_point is None else zero_point.tensor_type.elem_type
            return {node.output[0]: helper.make_tensor_type_proto(dtype, self.shapes[node.input[0]])}
        if node.op_type == "Scan" and _standard_domain(node):
            known = self.shapes | {
                name: self.constants[name].shape for name in node.input if name in self.constants
            }
            return {
                name: helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
                for name, shape in scan_shapes(node, known).items()
                if name
            }
        if not _standard(node) or not onnx.defs.has(node.op_type, self.opset):
            return {}
        inputs = [name for name in node.input if name]
        if any(name not in self._types for name in inputs):
            return {}
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        try:
            types = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in inputs},
                {name: self._data[name] for name in inputs if name in self._data},
                opset_imports=self.opset_imports,
                ir_version=self.ir_version,
            )
        except _INFERENCE_ERRORS as error:
            self.failures[node_label(node)] = str(error).strip().splitlines()[0]
            return {}  # the importer of the operator says more where it can
        return {name: t for name, t in types.items() if name and t.HasField("tensor_type")}

    def _evaluate(self, node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto]) -> list[Array] | None:
        """Values of the node's outputs when they are constant, small enough, and can be computed."""
        if not _standard(node) or node.op_type not in FOLDABLE | COSTLY:
            return None
        if node.op_type in ("Shape", "Size") and node.input[0] in self.shapes:
            if self._too_large(node, types):
                return None
            # Only the shape matters: a view of one zero stands in for the activation.
            stand_in = np.broadcast_to(np.float32(0.0), self.shapes[node.input[0]])
            return self._run(node, {node.input[0]: stand_in})
        if any(name and name not in self.constants for name in node.input) or self._too_large(node, types):
            return None
        return self._run(node, {name: self.constants[name] for name in node.input if name})

    def _too_large(self, node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto]) -> bool:
        """True unless every output is known to stay small, before anything is computed.

        What is not too large is taken off the budget of the whole model.
        """
        read = [self.constants[name].size for name in node.input if name in self.constants]
        if node.op_type in SHAPED_BY_VALUES:
            return max(read, default=0) > LARGEST_SHAPE_ELEMENTS
        elements = 0
        for name in filter(None, node.output):
            shape = _shape_of(types[name]) if name in types else None
            count = LARGEST_FOLDED_ELEMENTS + 1 if shape is None else math.prod(shape)
            if count > LARGEST_FOLDED_ELEMENTS:
                return True
            elements += count
        # An output element of a matrix product or a convolution reads at most the smaller input.
        steps = elements * min((size for size in read if size > 1), default=1)
        steps = steps if node.op_type in COSTLY else 0
        if elements > self._elements_left or steps > self._steps_left:
            return True
        self._elements_left -= elements
        self._steps_left -= steps
        return False

    def _run(self, node: onnx.NodeProto, feeds: Mapping[str, Array]) -> list[Array] | None:
        outputs = [name for name in node.output if name]
        graph = helper.make_graph(
            [node],
            "fold",
            [self._value_info(name, value) for name, value in feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        )
        model = helper.make_model(graph, opset_imports=self.opset_imports, ir_version=self.ir_version)
        if node.op_type == "Constant" and node.attribute[0].name == "sparse_value":
            return [_dense(node.attribute[0].sparse_tensor)]
        libraries = (_by_onnxruntime,) if node.op_type in COSTLY else (_by_reference, _by_onnxruntime)
        for run in libraries:
            try:
                results = run(model, outputs, dict(feeds))
            except Exception:  # whatever a library raises, the other one is asked, or the node stays
                continue
            values = [np.asarray(value) for value in results]
            if len(values) == len(node.output) and not any(value.dtype == object for value in values):
                return values
        return None

    def _value_info(self, name: str, value: Array) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def written_out(scale: Array, shape: Shape, node: onnx.NodeProto) -> Array | None:
    """The scales of a DequantizeLinear for each element: one for all, one along `axis`, or one a block."""
    attributes = {a.name: a.i for a in node.attribute if a.name in ("axis", "block_size")}
    if scale.size == 1:
        return np.broadcast_to(scale.reshape(()), shape)
    axis = attributes.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis < len(shape):
        return None
    block = attributes.get("block_size", 0)
    if block > 0:
        return np.repeat(scale, block, axis=axis) if scale.shape[axis] * block == shape[axis] else None
    if scale.shape != (shape[axis],):
        return None
    return np.broadcast_to(scale.reshape((-1,) + (1,) * (len(shape) - axis - 1)), shape)


def _dense(tensor: onnx.SparseTensorProto) -> Array:
    """A sparse tensor written out; indices count elements, or are one tuple each."""
    shape, values = tuple(tensor.dims), _to_array(tensor.values)
    indices = _to_array(tensor.indices).astype(np.int64)
    if indices.ndim == 2:
        indices = np.ravel_multi_index(tuple(indices.T), shape)
    result = np.zeros(math.prod(shape), values.dtype)
    result[indices] = values
    return result.reshape(shape)


def _by_reference(model: onnx.ModelProto, outputs: list[str], feeds: dict[str, Array]) -> list[Array]:
    return list(ReferenceEvaluator(model).run(outputs, feeds))


def _by_onnxruntime(model: onnx.ModelProto, outputs: list[str], feeds: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Array] = session.run(outputs, feeds)
    return results


def _standard(node: onnx.NodeProto) -> bool:
    nested = any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute)
    return _standard_domain(node) and not nested


def _standard_domain(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx")


def _shape_of(type_proto: onnx.TypeProto) -> Shape | None:
    """None where it is not known, or cannot be: ONNX's inference gives negative sizes to windows beyond their
    input, and multiplies sizes beyond all memory.
    """
    tensor = type_proto.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    shape = tuple(int(d.dim_value) for d in tensor.shape.dim)
    elements = math.prod(max(size, 1) for size in shape)
    return shape if min(shape, default=0) >= 0 and elements < LARGEST_SIZE else None


def _to_array(tensor: onnx.TensorProto) -> Array:
    try:
        value: Any = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError) as error:
        raise ModelFileError(
            f"the data of initializer {tensor.name!r} does not fit its type and shape {list(tensor.dims)}: "
            f"{str(error).splitlines()[0]}",
            "The file is damaged; export the model again.",
        ) from None
    return np.asarray(value)
