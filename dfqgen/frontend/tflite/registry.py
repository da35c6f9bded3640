"""How a TFLite operator becomes ONNX nodes: the registry, and what a function of it sees of its operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dfqgen.errors import Problem
from dfqgen.frontend.tflite.tensors import Refused, Translation
from dfqgen.graph.ir import Shape

Layer = Callable[["Operator"], str | None]
"""Gives the first output's reals; None where it has said everything itself."""

_LAYERS: dict[str, Layer] = {}


class Operator:
    """One TFLite operator while it is written out."""

    def __init__(self, translation: Translation, operator: Any, kind: str) -> None:
        self.to, self.kind = translation, kind
        self.inputs = [int(i) for i in ([] if operator.inputs is None else operator.inputs)]
        self.outputs = [int(i) for i in ([] if operator.outputs is None else operator.outputs)]
        self.options = operator.builtinOptions

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and self.inputs[place] >= 0

    def real(self, place: int = 0) -> str:
        """The reals of an input."""
        if not self.has(place):
            raise Refused(f"its input {place} is missing; the file is damaged")
        return self.to.real(self.inputs[place])

    def shape(self, place: int = 0) -> Shape:
        return self.to.shape(self.inputs[place])

    def integers(self, place: int) -> list[int]:
        """A constant input that lists axes or sizes."""
        return [int(v) for v in self.to.constant(self.inputs[place]).ravel()]

    @property
    def output_shape(self) -> Shape:
        return self.to.shape(self.outputs[0])

    def activated(self, real: str) -> str:
        """The activation that is part of the layer."""
        names = {
            value: name
            for name, value in vars(self.to.schema.ActivationFunctionType).items()
            if name.isupper()
        }
        kind = names.get(self.options.fusedActivationFunction, "unknown")
        if kind == "NONE":
            return real
        if kind == "RELU":
            return self.to.node("Relu", real)
        if kind == "TANH":
            return self.to.node("Tanh", real)
        bounds = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
        if kind not in bounds:
            raise Refused(f"fuses the activation {kind}, which is not supported")
        return clipped(self, real, *bounds[kind])

    def pads(self, size: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> list[int]:
        """ONNX's pads for TFLite's SAME or VALID, over height and width."""
        if self.options.padding == self.to.schema.Padding.VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            before.append(total // 2)
            after.append(total - total // 2)
        return before + after


def layer(*names: str) -> Callable[[Layer], Layer]:
    """Register a function for TFLite's builtin operators."""

    def register(function: Layer) -> Layer:
        _LAYERS.update(dict.fromkeys(names, function))
        return function

    return register


def translate(translation: Translation) -> list[Problem]:
    """Write out every operator; what cannot be, with the reasons."""
    kinds = {v: k for k, v in vars(translation.schema.BuiltinOperator).items() if k.isupper()}
    problems = []
    failed: set[int] = set()
    for proto in translation.graph.operators or []:
        code = translation.model.operatorCodes[proto.opcodeIndex]
        kind = kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")
        operator = Operator(translation, proto, kind)
        if failed.intersection(operator.inputs):
            failed.update(operator.outputs)
            continue
        try:
            if kind not in _LAYERS:
                raise Refused("is not supported")
            result = _LAYERS[kind](operator)
            if result is not None:
                translation.produce(operator.outputs[0], result)
        except Refused as refusal:
            label = translation.names[operator.outputs[0]] if operator.outputs else kind
            problems.append(Problem(kind, label, str(refusal)))
            failed.update(operator.outputs)
    return problems


def clipped(op: Operator, real: str, lo: float, hi: float) -> str:
    ends = [op.to.stored(np.array(end, np.float32), "bound") for end in (lo, hi)]
    return op.to.node("Clip", real, *ends)
