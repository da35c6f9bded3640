"""Inputs that are numbers of rows: of tokens, classes, positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import TensorProto

from dfqgen.errors import UserError
from dfqgen.frontend.read import INDEX_TYPES
from dfqgen.graph.ir import Array

MOVERS = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))
"""They leave numbers what they are."""


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
