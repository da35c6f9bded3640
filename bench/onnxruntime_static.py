"""onnxruntime's static quantization (QDQ), as a peer: calibrated on samples, run as what the file says.

Its graph optimizations stay off when the quantized network runs, so that QuantizeLinear and
DequantizeLinear are computed as ONNX defines them: fused int8 kernels saturate on processors without VNNI,
which says something of the processor, not of the quantization.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Array = npt.NDArray[Any]
Feeds = Sequence[Mapping[str, Array]]
"""Arrays by input name in the model's own axes, one mapping a sample."""

PER_CHANNEL_OPSET = 13


class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Samples, one by one."""

    def __init__(self, feeds: Feeds) -> None:
        self._rest = iter(feeds)

    def get_next(self) -> dict[str, Array] | None:
        following = next(self._rest, None)
        return None if following is None else dict(following)


def run(model: Path | bytes, feeds: Feeds, *, optimize: bool = True) -> dict[str, Array]:
    """Outputs by name, [N, ...], of a model over samples one by one."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    results = [session.run(names, dict(feed)) for feed in feeds]
    return {name: np.concatenate([np.atleast_1d(r[i]) for r in results]) for i, name in enumerate(names)}


def fix_shapes(model: onnx.ModelProto, feed: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with its inputs' shapes as fed, and nothing said of the tensors in between."""
    for value in model.graph.input:
        if value.name in feed:
            del value.type.tensor_type.shape.dim[:]
            for size in feed[value.name].shape:
                value.type.tensor_type.shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    return model


def _prepared(model: Path, output: Path, *, symbolic: bool) -> bool:
    """onnxruntime's preparation, batch normalization folded among others; it does not know every graph."""
    try:
        quant_pre_process(str(model), str(output), skip_symbolic_shape=not symbolic)
    except Exception:  # its exceptions share no base class
        return False
    return True


def quantized_outputs(
    model: Path, calibration: Feeds, feeds: Feeds, *, per_channel: bool = True
) -> dict[str, Array]:
    """Outputs of the network that onnxruntime quantizes (int8, MinMax). Raises what it raises."""
    return run(quantized_model(model, calibration, per_channel=per_channel), feeds, optimize=False)


def quantized_model(
    model: Path,
    calibration: Feeds,
    *,
    per_channel: bool = True,
    form: QuantFormat = QuantFormat.QDQ,
    activations: QuantType = QuantType.QInt8,
    weights: QuantType = QuantType.QInt8,
) -> bytes:
    """The ONNX file that onnxruntime's static quantization (MinMax) makes. Raises what it raises."""
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
        fixed, prepared, quantized = (Path(scratch) / f"{name}.onnx" for name in ("fixed", "prep", "quant"))
        proto = fix_shapes(onnx.load(str(model)), calibration[0])
        if next(o.version for o in proto.opset_import if o.domain == "") < PER_CHANNEL_OPSET:
            proto = onnx.version_converter.convert_version(proto, PER_CHANNEL_OPSET)
        onnx.save(proto, str(fixed))
        if not _prepared(fixed, prepared, symbolic=True) and not _prepared(fixed, prepared, symbolic=False):
            prepared = fixed
        quantize_static(
            str(prepared),
            str(quantized),
            Reader(calibration),
            quant_format=form,
            per_channel=per_channel,
            activation_type=activations,
            weight_type=weights,
        )
        return quantized.read_bytes()
