"""Plain data -> dataclasses, by their annotations, checked field by field: for files and texts."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

DTYPES = ("int8", "int16", "int32", "int64")
MAX_ELEMENTS = 1 << 30


class Malformed(Exception):
    """What is wrong and where; becomes a UserError."""


def as_list(value: Any, where: str) -> list[Any]:
    """The value, which must be a list."""
    if not isinstance(value, list):
        raise Malformed(f"{where} is not a list")
    return value


@cache
def _field_types(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def decode(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gives it, as the annotated type `kind`; raises Malformed.

    Arrays may be there already, and so may dataclasses.
    """
    if isinstance(kind, type) and dataclasses.is_dataclass(value) and isinstance(value, kind):
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value is None and type(None) in options:
            return None
        (kind,) = (option for option in options if option is not type(None))
        return decode(kind, value, where)
    if origin is np.ndarray:
        return value if isinstance(value, np.ndarray) else _array(value, where)
    if origin is tuple:
        return _tuple(typing.get_args(kind), value, where)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        items = _tuple(tuple(_field_types(kind).values()), value, where)
        return kind(*items)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind[value]
        except KeyError:
            raise Malformed(f"{where} is no {kind.__name__}") from None
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    return _scalar(kind, value, where)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = as_list(value, where)
    if len(kinds) == 2 and kinds[1] is ...:
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise Malformed(f"{where} has {len(items)} entries, not {len(kinds)}")
    return tuple(
        decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Malformed(f"{where} is not an object")
    names = [item.name for item in dataclasses.fields(kind)]
    needed = {item.name for item in dataclasses.fields(kind) if item.default is dataclasses.MISSING}
    if not needed <= set(value) <= set(names):
        raise Malformed(f"{where} has not exactly the entries {', '.join(names)}")
    return kind(**decode_fields(kind, value, where))


def decode_fields(kind: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of a dataclass's fields, each as its annotation says; raises Malformed."""
    hints = _field_types(kind)
    return {name: decode(hints[name], value, f"{where}.{name}") for name, value in values.items()}


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Malformed(f"{where} is no {getattr(kind, '__name__', kind)}")


def _array(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "base64"}:
        raise Malformed(f"{where} is not an array")
    if value["dtype"] not in DTYPES:
        raise Malformed(f"{where} has no element type of {', '.join(DTYPES)}")
    shape = decode(tuple[int, ...], value["shape"], f"{where}.shape")
    if any(size < 0 or size > MAX_ELEMENTS for size in shape):
        raise Malformed(f"{where}.shape is out of bounds")
    try:
        raw = base64.b64decode(decode(str, value["base64"], where), validate=True)
    except binascii.Error as error:
        raise Malformed(f"{where}: {error}") from None
    dtype = np.dtype(value["dtype"])
    count = 1
    for size in shape:
        count *= size
    if len(raw) != count * dtype.itemsize:
        raise Malformed(f"{where} has {len(raw)} bytes, not {count * dtype.itemsize}")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
