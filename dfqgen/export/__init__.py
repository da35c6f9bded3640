"""A fixed-point program as a model that other tools read: ONNX with QuantizeLinear and DequantizeLinear."""

from typing import TYPE_CHECKING

from dfqgen.lazy import on_demand

if TYPE_CHECKING:
    from dfqgen.export.compare import LayerSteps, compare_with_onnxruntime
    from dfqgen.export.qdq import qdq_model

__all__ = ["LayerSteps", "compare_with_onnxruntime", "qdq_model"]

__getattr__ = on_demand(
    __name__,
    {
        "LayerSteps": "dfqgen.export.compare",
        "compare_with_onnxruntime": "dfqgen.export.compare",
        "qdq_model": "dfqgen.export.qdq",
    },
)
