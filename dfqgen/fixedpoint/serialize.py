"""Program <-> JSON, by looking at the dataclasses.

Arrays are base64 with a type and a shape. A file from elsewhere is checked while it is read: whatever is
wrong with it comes out as a UserError, and nothing in it is ever executed.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
from typing import Any

import numpy as np

from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.fields import Malformed, as_list, decode
from dfqgen.fixedpoint.program import Program, QOp, QPort, QState, QTensor
from dfqgen.ops import integer_operators

FORMAT = "dfqgen-program-1"


def program_to_json(program: Program) -> str:
    """The program as JSON text, ASCII, one operator a line."""
    operators = [json.dumps({"operator": type(op).__name__, **_encode(op)}) for op in program.ops]
    tensors = [json.dumps(_encode(tensor)) for tensor in program.tensors.values()]
    head = {
        "format": FORMAT,
        "name": program.name,
        "inputs": [_encode(port) for port in program.inputs],
        "outputs": [_encode(port) for port in program.outputs],
    }
    if program.states:
        head["states"] = [_encode(state) for state in program.states]
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append('"tensors": [\n' + ",\n".join(tensors) + "\n]")
    lines.append('"ops": [\n' + ",\n".join(operators) + "\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def program_from_json(text: str | bytes) -> Program:
    """The program that `program_to_json` wrote, verified. Raises UserError for anything else."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise Malformed(f"it is not a {FORMAT} file")
        tensors = decode(tuple[QTensor, ...], data.get("tensors"), "tensors")
        program = Program(
            name=decode(str, data.get("name"), "name"),
            inputs=decode(tuple[QPort, ...], data.get("inputs"), "inputs"),
            outputs=decode(tuple[QPort, ...], data.get("outputs"), "outputs"),
            tensors={tensor.name: tensor for tensor in tensors},
            ops=tuple(_operator(item, i) for i, item in enumerate(as_list(data.get("ops"), "ops"))),
            states=decode(tuple[QState, ...], data.get("states", []), "states"),
        )
        program.verify()
        return program
    except (Malformed, ProgramError, RecursionError) as error:
        raise UserError(f"this file holds no valid fixed-point program: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise UserError(f"this file holds no valid fixed-point program ({detail})") from error


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        if isinstance(value, QOp):  # what operators got later says nothing where it is as it was before
            for item in dataclasses.fields(value):
                if item.default is not dataclasses.MISSING and fields[item.name] == item.default:
                    del fields[item.name]
        return {name: _encode(content) for name, content in fields.items()}
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        return {
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "base64": base64.b64encode(little.tobytes()).decode("ascii"),
        }
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a program holds no {type(value).__name__}")


def _operator(data: Any, index: int) -> QOp:
    where = f"ops[{index}]"
    if not isinstance(data, dict):
        raise Malformed(f"{where} is not an object")
    kind = integer_operators().get(str(data.get("operator")))
    if kind is None:
        raise Malformed(f"{where}: there is no operator {data.get('operator')!r}")
    fields = {key: value for key, value in data.items() if key != "operator"}
    operator = decode(kind, fields, where)
    assert isinstance(operator, QOp)
    return operator
