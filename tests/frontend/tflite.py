"""TFLite models written operator by operator, and TFLite's interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # type: ignore[import-untyped]

from dfqgen.graph.ir import Array

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
}


class TfliteNet:
    """A model under construction; tensors are called by their index."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.buffers = [schema.BufferT()]
        self.codes: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: Any = np.int8,
        scale: Sequence[float] | float | None = None,
        zero: int = 0,
        data: Array | None = None,
        axis: int = 0,
        variable: bool = False,
    ) -> int:
        """An activation, or a constant where there is data."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.type = list(shape), TYPES[np.dtype(dtype)]
        tensor.isVariable = variable
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, value: Array, **coding: Any) -> int:
        return self.tensor(value.shape, value.dtype, data=value, **coding)

    def operator(self, kind: str, inputs: Sequence[int], *outputs: int, **options: Any) -> int:
        """Append an operator; gives its first output. `options` go into its own record."""
        code = getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        record = options.pop("record", None)
        if record is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, record)
            operator.builtinOptions = getattr(schema, f"{record}T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self.graph.operators.append(operator)
        return outputs[0]

    def save(self, folder: Path, inputs: Sequence[int], outputs: Sequence[int]) -> Path:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [self.graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            record = schema.OperatorCodeT()
            record.builtinCode, record.deprecatedBuiltinCode, record.version = code, min(code, 127), 1
            model.operatorCodes.append(record)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path = folder / "net.tflite"
        path.write_bytes(builder.Output())
        return path


def interpreted(path: Path, samples: Mapping[int, Array]) -> list[Array]:
    """TFLite's outputs, [N, ...] each, for inputs [N, ...] in order; its reference kernels."""
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    results = []
    for sample in range(len(next(iter(samples.values())))):
        for place, detail in enumerate(interpreter.get_input_details()):
            interpreter.set_tensor(detail["index"], samples[place][sample : sample + 1])
        interpreter.invoke()
        results.append([interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()])
    return [np.concatenate(values) for values in zip(*results, strict=True)]
