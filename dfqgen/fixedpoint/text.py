"""A fixed-point program as text, and back, in the dialect of `dialect.py`.

    program net  # 1,728 MAC, 156 bytes of constants
      input %x int8[1,8,8,3] scale=0.0078125 zero_point=0
      %y = QReshape(%x) shape=(1, 192) -> int8[1,192] scale=0.0078125 zero_point=0 of flatten
      output %y

`is`, `axes` and `of` are as in `graph/text.py`. `state %before type = %after` stands where inputs do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfqgen.fixedpoint.dialect import (
    Reader,
    fields_text,
    made,
    name_text,
    port_text,
    shape_text,
    statement_text,
    tensor_text,
    value_text,
)
from dfqgen.fixedpoint.program import Program, QOp, QPort, QState, QTensor
from dfqgen.fixedpoint.qtype import IntType, QType, Requantize
from dfqgen.ops import integer_operators
from dfqgen.ops.gates import Conversion, GateRows, Peephole

TYPES = {str(dtype): dtype for dtype in IntType}


def program_text(program: Program, *, full: bool = False) -> str:
    """The program; with `full` it can be parsed, else large constants are summarised, with a checksum.

    Equal programs give equal text.
    """
    totals = f"{program.macs:,} MAC, {program.weight_bytes:,} bytes of constants"
    lines = [f"program {name_text(program.name)}  # {totals}"]
    for port in program.inputs:
        lines.append(f"  input {port_text(port, _type_text(program.tensors[port.tensor], full))}")
    for state in program.states:
        kind = _type_text(program.tensors[state.input], full)
        tie = f"{tensor_text(state.input)} {kind} = {tensor_text(state.output)}"
        lines.append(f"  state {tie} is {name_text(state.name)}")
    lines += [_operator_text(program, op, full) for op in program.ops]
    lines += [f"  output {port_text(port)}" for port in program.outputs]
    return "\n".join(lines) + "\n"


def _operator_text(program: Program, op: QOp, full: bool) -> str:
    named = "" if op.name == op.output else f" of {name_text(op.name)}"
    attributes = fields_text(op, full=full, skip=("name", "inputs", "output"))
    kind = _type_text(program.tensors[op.output], full)
    return statement_text(op.output, type(op).__name__, op.inputs, attributes, f"-> {kind}{named}")


def _type_text(tensor: QTensor, full: bool) -> str:
    qtype = tensor.qtype
    scale = value_text(qtype.scale, full=full)
    return f"{qtype.dtype}{shape_text(tensor.shape)} scale={scale} zero_point={qtype.zero_point}"


def parse_program(text: str) -> Program:
    """The program of `program_text(..., full=True)`, verified.

    Raises TextError where the text is none, ProgramError where the program could overflow.
    """
    reader = Reader(text, lambda word, fields: _record(reader, word, fields))
    reader.take(text="program")
    name = reader.name()
    ports: dict[str, list[QPort]] = {"input": [], "output": []}
    tensors: dict[str, QTensor] = {}
    ops: list[QOp] = []
    states: list[QState] = []
    while not reader.done:
        if reader.sees_kind("tensor"):
            ops.append(_operator(reader, tensors))
            continue
        if reader.takes("state"):
            states.append(_state(reader, tensors))
            continue
        side = "input" if reader.takes("input") else reader.take(text="output")
        tensor = reader.tensor()
        if side == "input":
            tensors[tensor] = _tensor(reader, tensor)
        name_of_port, permutation = reader.port_end(tensor)
        ports[side].append(QPort(name_of_port, tensor, permutation))
    program = Program(name, tuple(ports["input"]), tuple(ports["output"]), tensors, tuple(ops), tuple(states))
    program.verify()
    return program


def _state(reader: Reader, tensors: dict[str, QTensor]) -> QState:
    before = reader.tensor()
    tensors[before] = _tensor(reader, before)
    reader.take(text="=")
    after = reader.tensor()
    reader.take(text="is")
    return QState(reader.name(), before, after)


def _operator(reader: Reader, tensors: dict[str, QTensor]) -> QOp:
    output, name, inputs = reader.statement()
    kind = integer_operators().get(name)
    if kind is None:
        raise reader.error(f"there is no operator {name}")
    values = reader.fields()
    reader.take("arrow")
    if output in tensors:
        raise reader.error(f"{tensor_text(output)} is written a second time")
    tensors[output] = _tensor(reader, output)
    title = reader.name() if reader.takes("of") else output
    op = made(reader, kind, {"name": title, "inputs": list(inputs), "output": output, **values}, name)
    assert isinstance(op, QOp)
    return op


def _tensor(reader: Reader, name: str) -> QTensor:
    dtype = TYPES.get(word := reader.take("word"))
    if dtype is None:
        raise reader.error(f"{word} is no integer type")
    shape = reader.shape()
    qtype = made(reader, QType, {"dtype": dtype.name, **reader.fields()}, tensor_text(name))
    return QTensor(name, shape, qtype)


RECORDS = {kind.__name__: kind for kind in (Requantize, GateRows, Peephole, Conversion)}


def _record(reader: Reader, word: str, values: Mapping[str, Any]) -> Any:
    if word not in RECORDS:
        raise reader.error(f"there is no record {word}")
    return made(reader, RECORDS[word], values, word)
