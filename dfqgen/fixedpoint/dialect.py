"""What the texts of graphs and programs have in common: names, values, types, statements.

A statement is `%output = Operator(%input, ...) field=value ... -> type of name`; line breaks mean nothing.
`#` begins a comment.
Values are numbers, true, false, none, words, "strings", (tuples), {records} and arrays, `int8[2,2]{1 2 3 4}`,
or `int8[2,2]{0}` where all elements are one. Texts for reading leave out the elements of large arrays and say
so (`{...}`); such a text cannot be parsed.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dfqgen.errors import UserError
from dfqgen.fixedpoint.fields import Malformed, decode_fields

Array = npt.NDArray[Any]

LINE = 110
"""Statements longer than this go on in indented lines."""
SHORT_ARRAY, SHORT_TUPLE = 4, 8
"""Of more elements than these, texts for reading only give a summary."""
LARGEST_ARRAY = 1 << 24

_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME = r"[A-Za-z0-9_./:#-]+"
_WORDS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"])+')
"""Where a statement may be broken: not within strings."""
_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*")
_TOKENS = re.compile(
    rf"""(?:\s|\#[^\n]*(?:\n|\Z))*(?:
    (?P<array>(?:float|u?int)\d+\[[\d,]*\]\{{[^{{}}]*\}})
  | (?P<tensor>%(?:{_NAME}|"(?:[^"\\]|\\.)*"))
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<number>-?(?:inf|nan|\d+\.?\d*(?:e[+-]?\d+)?)(?![A-Za-z0-9_]))
  | (?P<arrow>->)
  | (?P<word>{_WORD})
  | (?P<mark>[=(){{}}\[\],%])
  )""",
    re.VERBOSE,
)


class Named(Protocol):
    """A port of a graph or of a program."""

    @property
    def name(self) -> str: ...
    @property
    def tensor(self) -> str: ...
    @property
    def permutation(self) -> tuple[int, ...] | None: ...


# --- writing ---


def name_text(name: str) -> str:
    """A name as it is where it is a word, else a string: no name can break a line or a terminal."""
    return name if re.fullmatch(_WORD, name) and name not in ("inf", "nan") else _string(name)


def tensor_text(name: str) -> str:
    """%name, where more characters are plain."""
    return "%" + (name if re.fullmatch(_NAME, name) else _string(name))


def _string(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def statement_text(output: str, kind: str, inputs: Iterable[str], attributes: Iterable[str], end: str) -> str:
    """One statement, in several lines where it is long."""
    lines = ["  "]
    for part in (f"{tensor_text(output)} = {kind}({', '.join(map(tensor_text, inputs))})", *attributes, end):
        for word in [part] if len(part) < LINE - 10 else _WORDS.findall(part):
            if len(lines[-1]) + len(word) > LINE and lines[-1].strip():
                lines.append("      ")
            lines[-1] += word + " "
    return "\n".join(line.rstrip() for line in lines)


def port_text(port: Named, kind: str = "") -> str:
    """%tensor kind, then the port's own name and the permutation from the model's axes, if any."""
    text = f"{tensor_text(port.tensor)} {kind}".rstrip()
    if port.name != port.tensor:
        text += f" is {name_text(port.name)}"
    return text if port.permutation is None else f"{text} axes {value_text(port.permutation, full=True)}"


def fields_text(value: Any, *, full: bool, skip: Iterable[str] = ()) -> list[str]:
    """`field=value` for each field of a dataclass that differs from its default."""
    return [
        f"{field.name}={value_text(getattr(value, field.name), full=full)}"
        for field in dataclasses.fields(value)
        if field.name not in skip and not _is_default(field, getattr(value, field.name))
    ]


def value_text(value: Any, *, full: bool) -> str:
    """A value; with `full` all of it, else large arrays and tuples are only summarised."""
    if isinstance(value, np.ndarray):
        return _array_text(value, full=full)
    if isinstance(value, tuple):
        items = [value_text(item, full=full) for item in value]
        if not full and len(items) > SHORT_TUPLE:
            items = [*items[:3], f"... {len(items)} in all"]
        return f"({', '.join(items)})"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}{{{' '.join(fields_text(value, full=full))}}}"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return _string(value) if isinstance(value, str) else _number(value, full=full)


def _number(value: Any, *, full: bool) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value) if full or not isinstance(value, float) else f"{value:.6g}"


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    return field.default is not dataclasses.MISSING and bool(np.all(value == field.default))


def _array_text(values: Array, *, full: bool) -> str:
    kind = f"{values.dtype.name}{shape_text(values.shape)}"
    flat = values.ravel()
    if flat.size and _same(flat):
        return f"{kind}{{{_number(flat[0], full=full)}}}"
    if full or flat.size <= SHORT_ARRAY:
        return f"{kind}{{{' '.join(_number(item, full=full) for item in flat.tolist())}}}"
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    ends = f"{_number(values.min(), full=False)} to {_number(values.max(), full=False)}"
    return f"{kind}{{... {ends} crc32 {zlib.crc32(little.tobytes()):08x}}}"


def _same(flat: Array) -> bool:
    return bool(flat.tobytes() == flat[:1].tobytes() * flat.size)  # -0.0 is not 0.0


# --- reading ---


class TextError(UserError):
    """A text is none of the dialect; says in which line."""


class Reader:
    """The tokens of a text, taken one by one. `record` makes `Kind{...}` values."""

    def __init__(self, text: str, record: Callable[[str, Mapping[str, Any]], Any]) -> None:
        self._text, self._record = text, record
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        place = 0
        while _BLANK.match(text, place).end() < len(text):  # type: ignore[union-attr]
            found = _TOKENS.match(text, place)
            if found is None:
                start = _BLANK.match(text, place).end()  # type: ignore[union-attr]
                raise self._error(f"cannot read {text[start : start + 20]!r}", start)
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)], found.end()))
            place = found.end()

    def _error(self, message: str, place: int) -> TextError:
        return TextError(f"line {self._text.count(chr(10), 0, place) + 1}: {message}")

    def error(self, message: str) -> TextError:
        """An error at the token taken last."""
        return self._error(message, self._tokens[self._next - 1][2] if self._next else 0)

    @property
    def done(self) -> bool:
        return self._next == len(self._tokens)

    def sees(self, text: str) -> bool:
        """Whether the next token is this one."""
        return not self.done and self._tokens[self._next][1] == text

    def sees_kind(self, kind: str) -> bool:
        return not self.done and self._tokens[self._next][0] == kind

    def take(self, kind: str | None = None, text: str | None = None) -> str:
        """The next token, which must be of this kind and text."""
        if self.done:
            raise self.error(f"the text ends where {text or kind or 'more'} should be")
        found = self._tokens[self._next]
        self._next += 1
        if (kind is not None and found[0] != kind) or (text is not None and found[1] != text):
            raise self.error(f"{found[1]!r} stands where {text or f'a {kind}'} should be")
        return found[1]

    def takes(self, text: str) -> bool:
        """Take the next token if it is this one."""
        if self.sees(text):
            self._next += 1
            return True
        return False

    def tensor(self) -> str:
        return self._name(self.take("tensor")[1:])

    def name(self) -> str:
        """A word or a string."""
        return self._name(self.take("string" if self.sees_kind("string") else "word"))

    def _name(self, text: str) -> str:
        return str(json.loads(text)) if text.startswith('"') else text

    def statement(self) -> tuple[str, str, tuple[str, ...]]:
        """%output = Kind(%input, ...): the output, the kind, the inputs."""
        output = self.tensor()
        self.take(text="=")
        return output, self.take("word"), tuple(self.items(self.tensor))

    def port_end(self, tensor: str) -> tuple[str, tuple[int, ...] | None]:
        """The name and the permutation of a port (see `port_text`)."""
        name = self.name() if self.takes("is") else tensor
        axes = tuple(self.items(lambda: int(self.take("number")))) if self.takes("axes") else None
        return name, axes

    def shape(self) -> tuple[int, ...]:
        """[1,8,8,3]"""
        self.take(text="[")
        sizes: list[int] = []
        while not self.takes("]"):
            if sizes:
                self.take(text=",")
            sizes.append(int(self.take("number")))
        return tuple(sizes)

    def items(self, item: Callable[[], Any]) -> list[Any]:
        """(item, item, ...)"""
        self.take(text="(")
        found: list[Any] = []
        while not self.takes(")"):
            if found:
                self.take(text=",")
            found.append(item())
        return found

    def fields(self) -> dict[str, Any]:
        """field=value field=value ..., as far as they go."""
        found: dict[str, Any] = {}
        while self.sees_kind("word") and self._next + 1 < len(self._tokens):
            if self._tokens[self._next + 1][1] != "=":
                break
            name = self.take("word")
            self.take(text="=")
            found[name] = self.value()
        return found

    def value(self) -> Any:
        """Any value: tuples as lists, words as strings, records by `record`."""
        if self.sees("("):
            return self.items(self.value)
        if self.sees_kind("array"):
            return self._array(self.take())
        if self.sees_kind("number"):
            text = self.take()
            return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        if self.sees_kind("string"):
            return self._name(self.take())
        word = self.take("word")
        if self.takes("{"):
            found = self.fields()
            self.take(text="}")
            return self._record(word, found)
        return {"true": True, "false": False, "none": None}.get(word, word)

    def _array(self, text: str) -> Array:
        found = re.fullmatch(r"(\w+)\[([\d,]*)\]\{(.*)\}", text, re.DOTALL)
        assert found is not None
        shape = tuple(int(size) for size in found[2].split(",") if size)
        if "..." in found[3]:
            raise self.error("a constant is only summarised here: this text is for reading")
        count = int(np.prod(shape, dtype=np.float64)) if shape else 1
        try:
            values = np.array(
                [float(v) if "float" in found[1] else int(v) for v in found[3].split()], found[1]
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise self.error(f"a bad constant: {error}") from None
        if count > LARGEST_ARRAY or values.size not in (1, count):
            raise self.error(f"a constant has {values.size} elements, not {count}")
        return np.full(shape, values[0]) if values.size == 1 else values.reshape(shape)


def made(reader: Reader, kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """A dataclass from the values of its fields; those left out take their defaults."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - fields)
    lacking = [n for n, field in fields.items() if n not in values and field.default is dataclasses.MISSING]
    if unknown or lacking:
        wrong = f"has no {', '.join(unknown)}" if unknown else f"needs {', '.join(lacking)}"
        raise reader.error(f"{where}: {kind.__name__} {wrong}")
    try:
        return kind(**decode_fields(kind, values, where))
    except Malformed as error:
        raise reader.error(str(error)) from None
