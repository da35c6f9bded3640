"""TFLite models, as the ONNX they would be: with QuantizeLinear and DequantizeLinear around every layer.

So one frontend reads both, and onnxruntime runs what was read.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import onnx

from dfqgen.errors import DfqgenError, ModelFileError, UnsupportedModel, UserError
from dfqgen.frontend.guard import LIBRARY_ERRORS, reason
from dfqgen.frontend.tflite import layers, recurrent  # noqa: F401 - they register
from dfqgen.frontend.tflite.registry import translate
from dfqgen.frontend.tflite.tensors import Translation

_DAMAGE: tuple[type[Exception], ...] = (*LIBRARY_ERRORS, struct.error, AssertionError)
"""What the flatbuffers of a damaged file raise when they are read."""

__all__ = ["is_tflite", "onnx_from_tflite"]


def is_tflite(data: bytes) -> bool:
    """Whether a file's bytes are a flatbuffer that says it is one of TFLite's."""
    return data[4:8] == b"TFL3"


def onnx_from_tflite(data: bytes, path: Path) -> onnx.ModelProto:
    """The model of a .tflite file; its first subgraph.

    Raises UserError without the package that reads it, ModelFileError for a damaged file, UnsupportedModel
    with every operator that is not known.
    """
    schema = _schema()
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
        translation = Translation(schema, model, path.stem)
        problems = translate(translation)
        if problems:
            count = "1 operator" if len(problems) == 1 else f"{len(problems)} operators"
            raise UnsupportedModel(f"{count} of this model cannot be compiled", tuple(problems))
        return translation.finished()
    except DfqgenError:
        raise
    except _DAMAGE as error:
        raise ModelFileError(
            f"{path} cannot be read as a TFLite model ({reason(error)})",
            "The file is probably damaged: convert the model again.",
        ) from error


def _schema() -> Any:
    """The schema as classes, from the package that TFLite's own team keeps."""
    try:
        # Here, not above: an extra.
        from ai_edge_litert import schema_py_generated  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(
            "reading TFLite models needs a package that is not installed", "pip install 'dfqgen[tflite]'"
        ) from None
    return schema_py_generated
