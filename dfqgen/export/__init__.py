"""A fixed-point program as a model that other tools read: ONNX with QuantizeLinear and DequantizeLinear."""

from dfqgen.export.compare import LayerSteps, compare_with_onnxruntime
from dfqgen.export.qdq import qdq_model

__all__ = ["LayerSteps", "compare_with_onnxruntime", "qdq_model"]
