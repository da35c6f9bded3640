"""What the operators' proofs have in common: each check raises ProgramError with the operator and the reason.

An operator's `verify` is made of these. Together they say that whatever integers come in, every sum, product
and shift of a kernel stays within int32, every shift is one that C defines, and every constant fits the C
type that holds it. docs/proof.md lists the bounds.
"""

from __future__ import annotations

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import INT32_MAX, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType, QType, Requantize

LARGEST_SHIFT = 31
"""C defines no shift of an int32 by more."""
LARGEST_PRE_SHIFT = 30
"""Kernels multiply by 2**pre_shift, an int32."""


def check_within(name: str, what: str, values: Array | int, lowest: int, highest: int) -> None:
    """Every one of `values` lies in [lowest, highest]."""
    array = np.asarray(values)
    if array.size and (array.min() < lowest or array.max() > highest):
        raise ProgramError(f"{name}: {what} lies outside [{lowest}, {highest}]")


def check_reach(name: str, what: str, worst: int) -> None:
    """The largest magnitude of an int32 in a kernel, found by the caller, fits."""
    if worst > INT32_MAX:
        raise ProgramError(f"{name}: {what} can reach {worst}, beyond 32 bits")


def check_int8(name: str, *tensors: QTensor) -> None:
    """All are int8."""
    for tensor in tensors:
        if tensor.qtype.dtype is not IntType.INT8:
            raise ProgramError(f"{name}: {tensor.name} is {tensor.qtype.dtype}, not int8")


def check_zero_point(name: str, zero_point: int, qtype: QType) -> None:
    """An integer of the type."""
    check_within(name, "a zero point", zero_point, qtype.dtype.minimum, qtype.dtype.maximum)


def check_shape(name: str, what: str, values: Array, shape: tuple[int, ...]) -> None:
    """Kernels read a constant by the layer's shape: one of another shape would be read beyond its end."""
    if values.shape != shape:
        raise ProgramError(f"{name}: {what} has shape {values.shape}, not {shape}")


def check_weights(name: str, what: str, weight: Array, dtype: IntType) -> None:
    """Integers of at most 8 bits in an int8 carrier."""
    if weight.dtype != np.int8:
        raise ProgramError(f"{name}: {what}s lie in {weight.dtype}, not int8")
    if dtype.bits > IntType.INT8.bits:
        raise ProgramError(f"{name}: {what}s have at most 8 bits, not {dtype.bits}")
    check_within(name, f"a {what}", weight, dtype.minimum, dtype.maximum)


def check_clamp(name: str, lo: Array | int, hi: Array | int, output: QTensor) -> None:
    """lo <= hi, integers of the output; arrays hold one for each channel."""
    for bound in (lo, hi):
        if isinstance(bound, np.ndarray):
            check_shape(name, "a clamp", bound, output.shape[-1:])
        check_within(name, "a clamp", bound, output.qtype.dtype.minimum, output.qtype.dtype.maximum)
    if np.any(np.asarray(lo) > np.asarray(hi)):
        raise ProgramError(f"{name}: a clamp's lower bound is above its upper one")


def check_factor(name: str, multiplier: Array, pre_shift: int) -> None:
    """What a 64-bit product with an int32 takes: `((acc << pre_shift) * multiplier + 2**31) >> 32`."""
    check_within(name, "a multiplier", multiplier, 0, INT32_MAX)
    check_within(name, "the pre-shift", pre_shift, 0, LARGEST_PRE_SHIFT)


def check_requantize(name: str, form: Requantize, largest: Array, output: QTensor) -> None:
    """`largest` [channels] bounds |accumulator|: none leaves int32, shifted by pre_shift, either."""
    check_shape(name, "the table of multipliers", form.multiplier, output.shape[-1:])
    check_factor(name, form.multiplier, form.pre_shift)
    check_zero_point(name, form.zero_point, output.qtype)
    check_clamp(name, form.lo, form.hi, output)
    worst = int(np.max(largest)) << form.pre_shift
    if worst > INT32_MAX:
        channel = int(np.argmax(largest))
        raise ProgramError(
            f"{name}: the accumulator of channel {channel} can reach {worst}, beyond 32 bits; "
            "the weights or the bias are too large for these scales"
        )
