"""The descriptor fields of a requantization: tables only where channels differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX
from dfqgen.fixedpoint.qtype import Array, Requantize
from dfqgen.kernels.base import ConstArray, Field, channel_array


@dataclass(frozen=True, slots=True, eq=False)
class RequantizeCode:
    """Fields of `dfq_requantize_t`, their tables, and the bias int64 [channels] the form asks for."""

    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...]
    bias: Array


def one_clamp(lo: Array, hi: Array) -> bool:
    """Whether all channels have the same bounds."""
    return bool(np.all(lo == lo[0]) and np.all(hi == hi[0]))


def requantize_code(form: Requantize, bias: Array, largest: Array, *, bounds: str = "int8") -> RequantizeCode:
    """The cheapest exact form; `largest` [channels] bounds |accumulator|, bias included.

    `bounds` is the C type of tables of bounds: dfq_requantize_t has int8, dfq_requantize_s16_t int16.

    Power-of-two scales become shifts, with the rounding half and the zero point in the bias, where
    that sum provably stays in 32 bits.
    """
    fields: list[Field] = []
    arrays: list[ConstArray] = []

    def add(name: str, table: str, values: Array, dtype: str, comment: str = "") -> None:
        if np.all(values == values[0]):
            fields.append(Field(name, int(values[0]), comment))
        else:
            arrays.append(channel_array(table, values, dtype))
            fields.append(Field(table, table))

    shifts = form.shifts
    folded = None if shifts is None else (1 << (shifts - 1)) + (form.zero_point << shifts)
    if shifts is not None and folded is not None and np.all(largest + np.abs(folded) <= INT32_MAX):
        bias = bias.astype(np.int64) + folded
        add("shift", "shifts", shifts, "int8")
    else:
        add("multiplier", "multipliers", form.multiplier, "int32", real_factor(form))
        if form.pre_shift:
            fields.append(Field("pre_shift", form.pre_shift))
        fields.append(Field("zero_point", form.zero_point))
    add("lo", "los", form.lo, bounds)
    add("hi", "his", form.hi, bounds)
    return RequantizeCode(tuple(fields), tuple(arrays), bias)


def real_factor(form: Requantize) -> str:
    """The first channel's factor as a real number, for a comment."""
    return f"x {float(form.multiplier[0]) * 2.0 ** (form.pre_shift - 32):.6g}"


def bounds_code(lo: Array, hi: Array) -> tuple[tuple[Field, ...], tuple[ConstArray, ...]]:
    """Fields lo, hi, or tables los, his, of an output clamp."""
    fields: list[Field] = []
    arrays: list[ConstArray] = []
    for name, values in (("lo", lo), ("hi", hi)):
        if np.all(values == values[0]):
            fields.append(Field(name, int(values[0])))
        else:
            arrays.append(channel_array(f"{name}s", values, "int8"))
            fields.append(Field(f"{name}s", f"{name}s"))
    return tuple(fields), tuple(arrays)
