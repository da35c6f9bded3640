"""A program as text to read: one line a tensor, one operator a paragraph, large constants summarised.

program digits: 1.2 M MAC, 23.4 KB of constants
input  image  int8[1,28,28,1] scale=0.00392 zp=-128

0  QConv2D 'conv1'
   image -> conv1_out  int8[1,28,28,8] scale=0.0235 zp=-128
   weight int8[8,3,3,1] -127..127, bias int32[8] -1040..2207
   stride (1, 1), ...
"""

from __future__ import annotations

import dataclasses
import enum
import zlib
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.fixedpoint.qtype import Array, QType, Requantize

SHORT_ARRAY = 4


def program_text(program: Program) -> str:
    """The whole program. Equal programs give equal text; constants appear with a checksum."""
    totals = f"{program.macs:,} MAC, {program.weight_bytes:,} bytes of constants"
    blocks = [f"program {_quoted(program.name)}: {totals}"]
    ports = [f"input  {_port(program, port)}" for port in program.inputs]
    ports += [f"output {_port(program, port)}" for port in program.outputs]
    blocks.append("\n".join(ports))
    blocks += [operator_text(program, op, index) for index, op in enumerate(program.ops)]
    return "\n\n".join(blocks) + "\n"


def operator_text(program: Program, op: QOp, index: int) -> str:
    """One operator: what it reads and writes, then its attributes."""
    output = program.tensors[op.output]
    lines = [
        f"{index:<3} {type(op).__name__} {_quoted(op.name)}",
        f"    {', '.join(op.inputs)} -> {tensor_text(output)}",
    ]
    for item in dataclasses.fields(op):  # type: ignore[arg-type]
        if item.name not in ("name", "inputs", "output"):
            lines.append(f"    {item.name:<11} {_value(getattr(op, item.name))}")
    return "\n".join(lines)


def tensor_text(tensor: QTensor) -> str:
    """A tensor with its type, shape and scale."""
    return f"{tensor.name}  {_type(tensor.qtype, tensor.shape)}"


def _type(qtype: QType, shape: tuple[int, ...]) -> str:
    sizes = ",".join(map(str, shape))
    return f"{qtype.dtype}[{sizes}] scale={qtype.scale:.6g} zp={qtype.zero_point}"


def _port(program: Program, port: QPort) -> str:
    moved = f"  axes {port.permutation}" if port.permutation else ""
    return f"{_quoted(port.name)} = {tensor_text(program.tensors[port.tensor])}{moved}"


def _quoted(text: str) -> str:
    return ascii(text)


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return array_text(value)
    if isinstance(value, Requantize):
        return _requantize(value)
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(str(item) for item in value) + ")"
    return str(value)


def _requantize(form: Requantize) -> str:
    factors = form.multiplier * 2.0 ** (form.pre_shift - 32)
    shifts = form.shifts
    scale = f">> {_range(shifts)}" if shifts is not None else f"x {_range(factors)}"
    return f"{scale}, zero point {form.zero_point}, clamp {_range(form.lo)} .. {_range(form.hi)}"


def _range(values: Array) -> str:
    lo, hi = values.min(), values.max()
    return f"{lo:.6g}" if lo == hi else f"[{lo:.6g} .. {hi:.6g}]"


def array_text(values: Array) -> str:
    """A constant: its elements if few, else type, shape, range and checksum."""
    if values.size <= SHORT_ARRAY and values.ndim == 1:
        return "[" + ", ".join(map(str, values.tolist())) + "]"
    sizes = ",".join(map(str, values.shape))
    checksum = zlib.crc32(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes())
    return f"{values.dtype}[{sizes}] {values.min()}..{values.max()} crc32={checksum:08x}"
