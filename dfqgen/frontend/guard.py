"""Errors that libraries raise on damaged models.

dfqgen's own checks find what is wrong and say so. This is what stands behind them, at one boundary: whatever
onnx, protobuf and numpy may raise while a model is read ends as an error for the user too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from dfqgen.errors import DfqgenError, ModelFileError

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
    ProtobufError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def reason(error: Exception) -> str:
    """The first line of what a library says, with the kind of error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn LIBRARY_ERRORS into a ModelFileError that names the file."""
    try:
        yield
    except DfqgenError:
        raise
    except LIBRARY_ERRORS as error:
        raise ModelFileError(
            f"{path} cannot be read ({reason(error)})",
            "The file is probably damaged: check it with onnx.checker.check_model, or export it again.",
        ) from error
