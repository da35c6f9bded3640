"""Program <-> JSON, by looking at the dataclasses.

Arrays are base64 with a type and a shape. A file from elsewhere is checked while it is read: whatever is
wrong with it comes out as a UserError, and nothing in it is ever executed.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.program import Program, QOp, QPort, QTensor
from dfqgen.ops import integer_operators

FORMAT = "dfqgen-program-1"
DTYPES = ("int8", "int16", "int32", "int64")
MAX_ELEMENTS = 1 << 30


class _Malformed(Exception):
    """What is wrong and where; becomes a UserError."""


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
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append('"tensors": [\n' + ",\n".join(tensors) + "\n]")
    lines.append('"ops": [\n' + ",\n".join(operators) + "\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def program_from_json(text: str | bytes) -> Program:
    """The program that `program_to_json` wrote, verified. Raises UserError for anything else."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise _Malformed(f"it is not a {FORMAT} file")
        tensors = _decode(tuple[QTensor, ...], data.get("tensors"), "tensors")
        program = Program(
            name=_decode(str, data.get("name"), "name"),
            inputs=_decode(tuple[QPort, ...], data.get("inputs"), "inputs"),
            outputs=_decode(tuple[QPort, ...], data.get("outputs"), "outputs"),
            tensors={tensor.name: tensor for tensor in tensors},
            ops=tuple(_operator(item, i) for i, item in enumerate(_list(data.get("ops"), "ops"))),
        )
        program.verify()
        return program
    except (_Malformed, ProgramError, RecursionError) as error:
        raise UserError(f"this file holds no valid fixed-point program: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise UserError(f"this file holds no valid fixed-point program ({detail})") from error


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _encode(getattr(value, item.name)) for item in dataclasses.fields(value)}
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


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Malformed(f"{where} is not a list")
    return value


def _operator(data: Any, index: int) -> QOp:
    where = f"ops[{index}]"
    if not isinstance(data, dict):
        raise _Malformed(f"{where} is not an object")
    kind = integer_operators().get(str(data.get("operator")))
    if kind is None:
        raise _Malformed(f"{where}: there is no operator {data.get('operator')!r}")
    fields = {key: value for key, value in data.items() if key != "operator"}
    operator = _decode(kind, fields, where)
    assert isinstance(operator, QOp)
    return operator


@cache
def _field_types(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`, checked."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value is None and type(None) in options:
            return None
        (kind,) = (option for option in options if option is not type(None))
        return _decode(kind, value, where)
    if origin is np.ndarray:
        return _array(value, where)
    if origin is tuple:
        return _tuple(typing.get_args(kind), value, where)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        items = _tuple(tuple(_field_types(kind).values()), value, where)
        return kind(*items)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind[value]
        except KeyError:
            raise _Malformed(f"{where} is no {kind.__name__}") from None
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    return _scalar(kind, value, where)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _list(value, where)
    if len(kinds) == 2 and kinds[1] is ...:
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise _Malformed(f"{where} has {len(items)} entries, not {len(kinds)}")
    return tuple(
        _decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _Malformed(f"{where} is not an object")
    hints = _field_types(kind)
    names = [item.name for item in dataclasses.fields(kind)]
    if set(value) != set(names):
        raise _Malformed(f"{where} has not exactly the entries {', '.join(names)}")
    return kind(**{name: _decode(hints[name], value[name], f"{where}.{name}") for name in names})


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _Malformed(f"{where} is no {getattr(kind, '__name__', kind)}")


def _array(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "base64"}:
        raise _Malformed(f"{where} is not an array")
    if value["dtype"] not in DTYPES:
        raise _Malformed(f"{where} has no element type of {', '.join(DTYPES)}")
    shape = _decode(tuple[int, ...], value["shape"], f"{where}.shape")
    if any(size < 0 or size > MAX_ELEMENTS for size in shape):
        raise _Malformed(f"{where}.shape is out of bounds")
    try:
        raw = base64.b64decode(_decode(str, value["base64"], where), validate=True)
    except binascii.Error as error:
        raise _Malformed(f"{where}: {error}") from None
    dtype = np.dtype(value["dtype"])
    count = 1
    for size in shape:
        count *= size
    if len(raw) != count * dtype.itemsize:
        raise _Malformed(f"{where} has {len(raw)} bytes, not {count * dtype.itemsize}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
