"""The bounds of the proofs of sums of trees and of rows of tables (see edges.py)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.ops.embedding import MOST_ROWS, QEmbedding
from dfqgen.ops.trees import QTreeEnsemble
from tests.fixedpoint.edges import Edge, case, clamps, ends, full, with_input, with_op, with_output


def short(*values: object) -> np.ndarray:
    return np.array(values, np.int16)


def trees() -> Iterator[Edge]:
    op = QTreeEnsemble(
        "op", ("x",), "y",
        feature=short(0, 2), threshold=short(3, -3), children=short([1, -1], [-2, -3]), roots=short(0, -1),
        leaves=short([1, 2], [3, 4], [5, 6]), start=full(7, 2, dtype=np.int32),
        shift=0, zero_point=0, lo=-128, hi=127,
    )  # fmt: skip
    base = case(op, (1, 3), (1, 2))
    yield from clamps(base)
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("shift", base, "shift", 0, 24, "the shift")
    for what, outside, message in (
        ("rank", with_input(base, shape=(1, 3, 1)), "(1, 3, 1) -> (1, 2) is not a sum of trees"),
        ("outputs", with_output(base, shape=(1, 3)), "(1, 3) -> (1, 3) is not a sum of trees"),
        ("features of the input", with_input(base, shape=(1, 2)), "a feature lies outside [0, 1]"),
    ):
        yield Edge(what, base, outside, message)
    for name, what, values, shape in (
        ("threshold", "thresholds", short(0, 0, 0), (2,)),
        ("children", "children", short([1, -1]), (2, 2)),
        ("roots", "roots", short([0], [1]), (2,)),
    ):
        message = f"the table of {what} has shape {values.shape}, not {shape}"
        yield Edge(f"shape of {name}", base, with_op(base, **{name: values}), message)
    for name, what in (
        ("feature", "features"), ("threshold", "thresholds"), ("children", "children"), ("roots", "roots"),
    ):  # fmt: skip
        wide = with_op(base, **{name: getattr(op, name).astype(np.int64)})
        yield Edge(f"type of {name}", base, wide, f"{what} lie in int64, not int16")
    wide = with_op(base, start=op.start.astype(np.int64))
    yield Edge("type of the start", base, wide, "the start lies in int64, not int32")
    message = "the table of thresholds has shape (2,), not (1,)"
    yield Edge("count of nodes", base, with_op(base, feature=short(0)), message)
    message = "leaves lie in int64, not int16"
    yield Edge("type of leaves", base, with_op(base, leaves=op.leaves.astype(np.int64)), message)
    deep = with_op(base, leaves=op.leaves[:, :, None])
    yield Edge("rank of leaves", base, deep, "(1, 3) -> (1, 2) is not a sum of trees")
    none = with_op(base, leaves=op.leaves[:0])
    yield Edge("leaves", base, none, "(1, 3) -> (1, 2) is not a sum of trees")
    long = with_op(base, start=full(7, 3, dtype=np.int32))
    yield Edge("shape of the start", base, long, "the start has shape (3,), not (2,)")
    yield Edge("feature", base, with_op(base, feature=short(-1, 2)), "a feature lies outside [0, 2]")
    beyond = "a child lies outside [-3, 1]"
    for children in (short([2, -1], [-2, -3]), short([1, -4], [-2, -3])):
        yield Edge(f"child {children[0]}", base, with_op(base, children=children), beyond)
    for roots in (short(2, -1), short(0, -4)):
        yield Edge(f"root {roots}", base, with_op(base, roots=roots), beyond)
    backwards = "a child stands before its parent: a walk might not end"
    for children in (short([0, -1], [-2, -3]), short([1, -1], [-2, 0]), short([1, -1], [1, -3])):
        yield Edge(f"children {children.tolist()}", base, with_op(base, children=children), backwards)
    # Two trees of leaves up to 6, the halves of the shift and the output's own 128.
    room = (1 << 31) - 1 - 12 - 128
    near, far = (with_op(base, start=full(value, 2, dtype=np.int32)) for value in (room, room + 1))
    yield Edge("sum", near, far, "the sum can reach 2147483648, beyond 32 bits")
    low, lower = (with_op(base, start=full(-value, 2, dtype=np.int32)) for value in (room, room + 1))
    yield Edge("negative sum", low, lower, "the sum can reach 2147483648, beyond 32 bits")
    half = with_op(near, start=full(room - 4, 2, dtype=np.int32), shift=3)
    more = with_op(half, shift=4)
    yield Edge("half of the shift", half, more, "the sum can reach 2147483651, beyond 32 bits")


def rows() -> Iterator[Edge]:
    numbers = QType(IntType.INT16, 1.0, -32768)
    op = QEmbedding("op", ("x",), "y", np.zeros((3, 2), np.int8), -32768)
    base = case(op, (1, 5), (1, 5, 2), x=numbers)
    for what, outside in (
        ("scale", with_input(base, qtype=QType(IntType.INT16, 0.5, -32768))),
        ("offset", with_input(base, qtype=QType(IntType.INT16, 1.0, 0))),
    ):
        message = f"{outside.inputs[0]} does not hold numbers of rows less 32768"
        yield Edge(what, base, outside, message)
    flat = with_output(base, shape=(1, 10, 1))
    yield Edge("shape", base, flat, f"{flat.inputs[0]} -> {flat.output} are no rows of a table of 3")
    most, more = (with_op(base, table=np.zeros((count, 2), np.int8)) for count in (MOST_ROWS, MOST_ROWS + 1))
    beyond = f"{more.inputs[0]} -> {more.output} are no rows of a table of 65537"
    yield Edge("rows", most, more, beyond)
    none = with_op(base, table=np.zeros((0, 2), np.int8))
    yield Edge("no rows", base, none, f"{none.inputs[0]} -> {none.output} are no rows of a table of 0")
    one = with_op(base, table=np.zeros((1, 2), np.int8))
    yield Edge("least rows", one, none, f"{none.inputs[0]} -> {none.output} are no rows of a table of 0")
    narrow = with_op(base, table=np.zeros((3, 1), np.int8))
    yield Edge("channels", base, narrow, "the table has shape (3, 1), not (3, 2)")
    wide = with_op(base, table=np.zeros((3, 2), np.int16))
    yield Edge("type", base, wide, "the table lies in int16, not int8")


TABLE_EDGES = [*trees(), *rows()]
