"""Operators on quantized integers (QLinearConv and its like) as what they stand for.

DequantizeLinear, the operator on reals, QuantizeLinear: the form that quantized models have otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dfqgen.frontend.fused import Fused, NotPlain, RankOf, Rule

MICROSOFT = "com.microsoft"
_CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL_ATTRIBUTES = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _dequantized(fused: Fused, coded: Sequence[str], axis: int = 1) -> str:
    """(integers, scale, zero point) as reals; scales of a vector lie along `axis`."""
    return fused.add("DequantizeLinear", *_without_end(coded), axis=axis)


def _quantized(fused: Fused, real: str, coding: Sequence[str]) -> str:
    """A real tensor as integers; (scale, zero point)."""
    return fused.add("QuantizeLinear", real, *_without_end(coding))


def _without_end(names: Sequence[str]) -> Sequence[str]:
    """Names without empty ones at the end: inputs that are left out."""
    return names if not names or names[-1] else _without_end(names[:-1])


def _inputs(fused: Fused, count: int) -> list[str]:
    """The inputs, filled up with "" to `count`."""
    return [*fused.inputs, *[""] * (count - len(fused.inputs))]


def _biased(fused: Fused, bias: str, x_scale: str, w_scale: str, alpha: float = 1.0) -> list[str]:
    """The integers of a bias as reals, in steps of both scales together; [] without one."""
    if not bias:
        return []
    scale = fused.add("Mul", x_scale, w_scale)
    if alpha != 1.0:
        scale = fused.add("Mul", scale, fused.constant(np.float32(alpha)))
    return [fused.add("DequantizeLinear", bias, scale, axis=0)]


def _conv(fused: Fused, rank_of: RankOf) -> str:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = _inputs(fused, 9)
    reals = [
        _dequantized(fused, (x, x_scale, x_zero)),
        _dequantized(fused, (w, w_scale, w_zero), axis=0),
        *_biased(fused, bias, x_scale, w_scale),
    ]
    if fused.attributes.get("channels_last"):
        raise NotPlain("has its channels last; export it with channels first")
    result = fused.add("Conv", *reals, **fused.kept(*_CONV_ATTRIBUTES))
    return _quantized(fused, result, (y_scale, y_zero))


def _matmul(fused: Fused, rank_of: RankOf) -> str:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = _inputs(fused, 8)
    rank = rank_of(b)
    sides = [
        _dequantized(fused, (a, a_scale, a_zero)),
        _dequantized(fused, (b, b_scale, b_zero), axis=1 if rank is None else rank - 1),
    ]
    return _quantized(fused, fused.add("MatMul", *sides), (y_scale, y_zero))


def _gemm(fused: Fused, rank_of: RankOf) -> str:
    """C is in steps of alpha times both scales; without a scale for it, the result is real."""
    a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero = _inputs(fused, 9)
    alpha = fused.number("alpha", 1.0)
    reals = [
        _dequantized(fused, (a, a_scale, a_zero)),
        _dequantized(fused, (b, b_scale, b_zero), axis=0 if fused.attributes.get("transB") else 1),
        *_biased(fused, bias, a_scale, b_scale, alpha),
    ]
    result = fused.add("Gemm", *reals, **fused.kept("alpha", "transA", "transB"))
    return _quantized(fused, result, (y_scale, y_zero)) if y_scale else result


def _of_two(operator: str) -> Rule:
    def rule(fused: Fused, rank_of: RankOf) -> str:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = _inputs(fused, 8)
        sides = [_dequantized(fused, (a, a_scale, a_zero)), _dequantized(fused, (b, b_scale, b_zero))]
        return _quantized(fused, fused.add(operator, *sides), (y_scale, y_zero))

    return rule


def _of_one(operator: str, *kept: str) -> Rule:
    def rule(fused: Fused, rank_of: RankOf) -> str:
        x, x_scale, x_zero, y_scale, y_zero = _inputs(fused, 5)
        if fused.attributes.get("channels_last"):
            raise NotPlain("has its channels last; export it with channels first")
        real = fused.add(operator, _dequantized(fused, (x, x_scale, x_zero)), **fused.kept(*kept))
        return _quantized(fused, real, (y_scale, y_zero))

    return rule


def _concat(fused: Fused, rank_of: RankOf) -> str:
    y_scale, y_zero, *rest = fused.inputs
    parts = [_dequantized(fused, rest[i : i + 3]) for i in range(0, len(rest), 3)]
    return _quantized(fused, fused.add("Concat", *parts, **fused.kept("axis")), (y_scale, y_zero))


def _standard(operator: str) -> Rule:
    """onnxruntime's own QuantizeLinear takes types that the standard one got later."""

    def rule(fused: Fused, rank_of: RankOf) -> str:
        return fused.add(operator, *_without_end(fused.inputs), **fused.kept("axis"))

    return rule


QUANTIZED: Mapping[tuple[str, str], Rule] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (MICROSOFT, "DequantizeLinear"): _standard("DequantizeLinear"),
    (MICROSOFT, "QuantizeLinear"): _standard("QuantizeLinear"),
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _of_two("Add"),
    (MICROSOFT, "QLinearMul"): _of_two("Mul"),
    (MICROSOFT, "QLinearAveragePool"): _of_one("AveragePool", *_POOL_ATTRIBUTES),
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearGlobalAveragePool"): _of_one("GlobalAveragePool"),
    (MICROSOFT, "QLinearLeakyRelu"): _of_one("LeakyRelu", "alpha"),
    (MICROSOFT, "QLinearSigmoid"): _of_one("Sigmoid"),
    (MICROSOFT, "QLinearSoftmax"): _of_one("Softmax", "axis"),
}
"""How each is written out, by domain and name."""
