"""The overflow proof: just inside a bound is accepted and stays in 32 bits, one step on is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program, QPort, QState
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.kernels import REGISTRY
from dfqgen.ops import integer_operators
from dfqgen.ops.movement import QReshape
from dfqgen.targets import Isa
from tests.fixedpoint.attention_edges import ATTENTION_EDGES
from tests.fixedpoint.edges import LIMITS, OTHER_EDGES, Edge, case, extremes, with_output
from tests.fixedpoint.recurrent_edges import RECURRENT_EDGES
from tests.fixedpoint.table_edges import TABLE_EDGES
from tests.fixedpoint.wide_edges import WIDE_EDGES
from tests.kernels.library import KernelLibrary, check_exact
from tests.tools import needs

EDGES = [*OTHER_EDGES, *WIDE_EDGES, *RECURRENT_EDGES, *ATTENTION_EDGES, *TABLE_EDGES]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_just_inside_a_bound_is_accepted(edge: Edge) -> None:
    edge.inside.op.verify(edge.inside.inputs, edge.inside.output)


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_just_outside_a_bound_is_refused_with_the_reason(edge: Edge) -> None:
    with pytest.raises(ProgramError, match=re.escape(f"op: {edge.message}")):
        edge.outside.op.verify(edge.outside.inputs, edge.outside.output)


@needs("gcc")
@pytest.mark.parametrize("isa", list(Isa))
def test_just_inside_kernels_stay_in_32_bits_for_extreme_inputs(isa: Isa) -> None:
    # A signed overflow or a shift that C does not define stops the test run.
    library = KernelLibrary(REGISTRY, isa, ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"))
    runs = 0
    for inside in [*{id(edge.inside): edge.inside for edge in EDGES}.values(), *LIMITS]:
        for extreme in extremes(inside):
            runs += check_exact(library, extreme, isa)
    assert runs > 50


def test_every_integer_operator_has_its_bounds_tested() -> None:
    tested = {type(edge.inside.op).__name__ for edge in EDGES}
    assert tested == {
        name for name, kind in integer_operators().items() if kind.__module__.startswith("dfqgen.")
    }


RESHAPE = case(QReshape("op", ("x",), "y", (1, 6)), (1, 2, 3), (1, 6))


def program(**fields: Any) -> Program:
    """One reshape; `fields` replace those of the program."""
    (x,), y = RESHAPE.inputs, RESHAPE.output
    whole = Program("net", (QPort("x", "x"),), (QPort("y", "y"),), {"x": x, "y": y}, (RESHAPE.op,))
    return replace(whole, **fields)


def with_type(dtype: IntType, scale: float, zero_point: int) -> Program:
    qtype = QType(dtype, scale, zero_point)
    (x,), y = RESHAPE.inputs, RESHAPE.output
    return program(tensors={"x": replace(x, qtype=qtype), "y": replace(y, qtype=qtype)})


def with_shape(*shape: int) -> Program:
    (x,) = RESHAPE.inputs
    op, y = replace(RESHAPE.op, shape=shape), with_output(RESHAPE, shape=shape).output  # type: ignore[type-var]
    return program(tensors={"x": replace(x, shape=shape), "y": y}, ops=(op,))


KEEPING = QState("s", "x", "y")
ACCEPTED = {
    "as it is": program(),
    "int16": with_type(IntType.INT16, 1.0, -32768),
    "the smallest zero point": with_type(IntType.INT8, 1.0, -128),
    "the largest zero point": with_type(IntType.INT8, 1.0, 127),
    "a state": program(
        inputs=(),
        tensors={"x": RESHAPE.inputs[0], "y": replace(RESHAPE.inputs[0], name="y")},
        ops=(QReshape("op", ("x",), "y", (1, 2, 3)),),
        states=(KEEPING,),
    ),
    "int32 that is only reshaped": with_type(IntType.INT32, 1.0, 0),
    "as many elements as an int32 counts": with_shape(1, (1 << 31) - 1),
}
REFUSED = {
    "two inputs or states are one tensor": program(states=(KEEPING,)),
    "the new state 's' is never written": program(inputs=(), states=(replace(KEEPING, output="x"),)),
    f"the state 's' is {RESHAPE.inputs[0]}, and {RESHAPE.output} after a step": program(
        inputs=(), states=(KEEPING,)
    ),
    "x: activations are int8 or int16, not int4": with_type(IntType.INT4, 1.0, 0),
    "x: the zero point -129 is no int8": with_type(IntType.INT8, 1.0, -129),
    "x: the zero point 128 is no int8": with_type(IntType.INT8, 1.0, 128),
    "x: the scale 0.0 is not positive and finite": with_type(IntType.INT8, 0.0, 0),
    "x: the scale inf is not positive and finite": with_type(IntType.INT8, np.inf, 0),
    "x: the scale nan is not positive and finite": with_type(IntType.INT8, np.nan, 0),
    "x: (2, 3) is no shape of one sample": with_shape(2, 3),
    "x: (1, 0) is no shape of one sample": with_shape(1, 0),
    "x: () is no shape of one sample": with_shape(),
    "x: (1, 2147483648) has more elements than an int32 can count": with_shape(1, 1 << 31),
    "op: 'x' cannot be float32": with_type(IntType.FLOAT32, 1.0, 0),
    "op: 'y' cannot be float32": program(
        tensors={
            "x": RESHAPE.inputs[0],
            "y": replace(RESHAPE.output, qtype=QType(IntType.FLOAT32, 1.0, 0)),
        }
    ),
    f"op: {RESHAPE.inputs[0]} -> {RESHAPE.output} is not a move to (1, 7)": program(
        ops=(replace(RESHAPE.op, shape=(1, 7)),)  # type: ignore[type-var]
    ),
    "op: has 2 inputs, not 1": program(ops=(replace(RESHAPE.op, inputs=("x", "x")),)),  # type: ignore[type-var]
    "op: 'z' has no type": program(ops=(replace(RESHAPE.op, output="z"),)),  # type: ignore[type-var]
    "op: reads 'z' before it is written": program(ops=(replace(RESHAPE.op, inputs=("z",)),)),  # type: ignore[type-var]
    "op: writes 'y' a second time": program(ops=(RESHAPE.op, RESHAPE.op)),
    "output 'y' is never written": program(ops=()),
    "input 'z' has no type": program(inputs=(QPort("z", "z"),)),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_well_formed_program_is_accepted(what: str) -> None:
    ACCEPTED[what].verify()


@pytest.mark.parametrize("message", REFUSED)
def test_a_program_that_kernels_cannot_hold_is_refused(message: str) -> None:
    with pytest.raises(ProgramError, match=re.escape(message)):
        REFUSED[message].verify()
