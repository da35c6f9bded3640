"""Inputs that are numbers of rows: of tokens, classes, positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dfqgen.errors import UserError
from dfqgen.frontend.read import INDEX_TYPES
from dfqgen.graph.ir import Array

MOVERS = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))
"""They leave numbers what they are."""


# fmt: off
ELEMENTWISE = frozenset((
    "Abs", "Add", "Cast", "Clip", "Equal", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Max", "Min", "Mod", "Mul", "Not", "Sub", "Where",
))
# fmt: on
"""Of one number, others being constants, they are functions of it."""


def lookups_of_inputs(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    inputs: Collection[str],
    imports: Sequence[onnx.OperatorSetIdProto],
) -> tuple[tuple[onnx.NodeProto, ...], dict[str, Array]]:
    """Rows that are picked by a function of an input's number become a table in the order of that number.

    Keras counts negative numbers from the end, in eight nodes. Gives the nodes, and the tables.
    """
    makers = {name: node for node in nodes for name in node.output}
    tables: dict[str, Array] = {}
    result = []
    for node in nodes:
        plain = _is_lookup(node, constants) and node.input[1] in makers
        chain = _function_of_one(node.input[1], makers, constants, inputs) if plain else None
        if chain is not None and any(each.op_type not in MOVERS for each in chain):
            table, start = constants[node.input[0]], chain[0]
            rows = _values(chain, node.input[1], start.input[0], constants, len(table), imports)
            if rows is not None and rows.min() >= 0 and rows.max() < len(table):
                name = f"{node.output[0]}/rows"
                tables[name] = table[rows]
                numbers = start.output[0] if start.op_type == "Cast" else start.input[0]
                changed = onnx.NodeProto.FromString(node.SerializeToString())
                changed.input[:] = [name, numbers]
                result.append(changed)
                continue
        result.append(node)
    return tuple(result), tables


def _function_of_one(
    name: str, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, Array], inputs: Collection[str]
) -> list[onnx.NodeProto] | None:
    """The nodes, in order, that compute a tensor from an input by numbers alone; the first one reads it."""
    found: dict[str, onnx.NodeProto] = {}
    sources: set[str] = set()

    def visit(tensor: str) -> bool:
        if tensor in inputs:
            sources.add(tensor)
            return True
        if tensor in constants:
            return constants[tensor].size == 1
        maker = makers.get(tensor)
        if maker is None or maker.op_type not in ELEMENTWISE:
            return False
        if maker.output[0] not in found:
            if not all(visit(other) for other in maker.input if other):
                return False
            found[maker.output[0]] = maker
        return True

    if not visit(name) or len(sources) != 1:
        return None
    chain = list(found.values())
    (source,) = sources
    readers = [node for node in chain if source in node.input]
    return chain if readers == chain[:1] else None


def _values(
    chain: Sequence[onnx.NodeProto],
    result: str,
    source: str,
    constants: Mapping[str, Array],
    count: int,
    imports: Sequence[onnx.OperatorSetIdProto],
) -> Array | None:
    """What the chain makes of 0, 1, ... count - 1; None where it gives no whole numbers."""
    read = {name for node in chain for name in node.input if name in constants}
    graph = helper.make_graph(
        chain,
        "numbers",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [count])],
        [onnx.ValueInfoProto(name=result)],
        [numpy_helper.from_array(constants[name], name) for name in read],
    )
    try:
        run = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
        (values,) = run.run(None, {source: np.arange(count, dtype=np.float32)})
    except Exception:  # whatever the library raises, the nodes stay
        return None
    values = np.asarray(values)
    return values.astype(np.int64) if values.dtype.kind in "iu" and values.shape == (count,) else None


def index_ranges(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    inputs: Collection[str],
) -> dict[str, tuple[int, int]]:
    """The numbers that each input can have that a Gather reads as numbers of a constant's rows.

    Of an integer type, or of floats that nothing reads but a Cast to one. Raises UserError for an input of 32
    or 64 bits that is read otherwise: nothing says how large it gets.
    """
    types = {
        value.name: value.type.tensor_type.elem_type for value in model.graph.input if value.name in inputs
    }
    found = {}
    for name, dtype in types.items():
        rows, only = _rows(name, nodes, constants)
        if rows is not None and (dtype != TensorProto.FLOAT or only):
            found[name] = (0, rows - 1)
        elif dtype in INDEX_TYPES:  # of which nothing says how large they get
            raise UserError(
                f"input {name!r} is {TensorProto.DataType.Name(dtype).lower()}, and not the number of a "
                "table's row; other inputs are float32, or integers of at most 16 bits",
                f"Make it a constant, if it always has one value: --fix {name}=NUMBER; "
                "or export the model with inputs of such a type.",
            )
    return found


def _rows(
    name: str, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array]
) -> tuple[int | None, bool]:
    """How many rows the smallest table has that it picks from, and whether nothing else reads it."""
    moved, rows, only = {name}, list[int](), True
    for node in nodes:
        if not moved.intersection(node.input):
            continue
        if _is_lookup(node, constants) and node.input[1] in moved:
            rows.append(len(constants[node.input[0]]))
        elif node.op_type in MOVERS and node.input[0] in moved:
            moved.update(node.output)
        else:
            only = False
    return min(rows, default=None), only


def _is_lookup(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    table = constants.get(node.input[0]) if node.op_type == "Gather" and len(node.input) > 1 else None
    return table is not None and table.ndim > 0 and axis in (0, -table.ndim) and len(table) > 0
