"""The bounds of the proofs of operators with int16 inputs or outputs that int8 alone does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.ops.argmax import CLASS, QArgMax
from dfqgen.ops.log_softmax import QWideLogSoftmax
from dfqgen.ops.lookup import SYMMETRIC, symmetric
from dfqgen.ops.movement import QPad
from dfqgen.ops.multiply import QWideMul
from dfqgen.ops.normalize import QWideLpNormalize
from dfqgen.ops.real import REAL, QDequantize, QQuantize
from dfqgen.ops.resize import QResizeLinear
from dfqgen.ops.softmax import PROBABILITY, QWideSoftmax
from tests.fixedpoint.edges import (
    IMAGE,
    INT8,
    INT16,
    LOW16,
    PAIR,
    Edge,
    axes,
    broadcasting,
    case,
    clamps,
    ends,
    falling,
    full,
    with_input,
    with_op,
    with_output,
)
from tests.kernels.strategies import Case


def products() -> Iterator[Edge]:
    op = QWideMul("op", ("a", "b"), "y", (3, 3), 1, 0, 0, -128, 127)
    base = with_input(case(op, *PAIR), 1, qtype=INT16)
    yield from broadcasting(base)
    yield from ends("multiplier", base, "multiplier", 0, INT32_MAX, "a multiplier")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from clamps(base)
    yield Edge("pre-shift 0", base, with_op(base, pre_shift=-1), "the pre-shift lies outside [0, 30]")
    yield Edge("pre-shift 31", base, with_op(base, pre_shift=31), "the pre-shift lies outside [0, 30]")
    for near, far in (((-128, 3), (-129, 3)), ((127, 3), (128, 3))):
        inside, outside = (with_op(base, zero_points=zero_points) for zero_points in (near, far))
        yield Edge(f"zero points {near}", inside, outside, "a zero point lies outside [-128, 127]")
    for near, far in (((3, -32768), (3, -32769)), ((3, 32767), (3, 32768))):
        inside, outside = (with_op(base, zero_points=zero_points) for zero_points in (near, far))
        yield Edge(f"zero points {near}", inside, outside, "a zero point lies outside [-32768, 32767]")
    both = with_input(with_op(base, zero_points=(0, 0)), 0, qtype=INT16)
    message = "the product can reach 2147483648, beyond 32 bits"
    yield Edge("product", both, with_op(both, pre_shift=1), message)
    low = with_op(both, zero_points=(-32768, 0), multiplier=INT32_MAX)
    message = "the product can reach 4294836225, beyond 32 bits"
    yield Edge("product from the end", low, with_op(low, zero_points=(-32768, -32768)), message)


def tables(base: Case) -> Iterator[Edge]:
    """Pairs of tables that softmax and log-softmax refuse."""
    for name in ("coarse", "fine"):
        first = int(getattr(base.op, name)[0])
        short = with_op(base, **{name: falling(first)[:255]})
        yield Edge(name, base, short, "a table of exponentials has shape (255,), not (256,)")
        for place, (near, far) in ((1, (first, first + 1)), (255, (0, -1))):
            pair = [falling(first), falling(first)]
            pair[0][place], pair[1][place] = near, far
            inside, outside = (with_op(base, **{name: table}) for table in pair)
            yield Edge(f"{name} {far}", inside, outside, f"an exponential lies outside [0, {first}]")


def softmax(size: int, coarse: int, levels: int = 256 << 15) -> Case:
    """A lane of int16; the exponential of 0 is coarse / 4."""
    op = QWideSoftmax("op", ("x",), "y", 1, falling(coarse), falling(1 << 30), levels, -128, 127)
    return case(op, (1, size), (1, size), x=INT16, y=PROBABILITY)


def softmaxes() -> Iterator[Edge]:
    op = QWideSoftmax("op", ("x",), "y", 2, falling(1 << 20), falling(1 << 30), 256 << 15, -128, 127)
    base = case(op, (1, 2, 3), (1, 2, 3), x=INT16, y=PROBABILITY)
    yield from axes(base)
    yield from tables(base)
    yield from ends("levels", softmax(2, 1 << 28), "levels", 1, INT32_MAX, "the number of levels")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("largest", base, "hi", -128, 127, "the largest output")
    message = "the exponential of 0 is 0: a sum could be 0"
    yield Edge("first entry", softmax(2, 4, 1), softmax(2, 3, 1), message)
    message = "the sum of 65536 exponentials overflows"
    inside, outside = softmax(65536, (1 << 18) - 4), softmax(65536, 1 << 18)
    yield Edge("sum", inside, outside, message)
    message = "a share can reach 4294967296, beyond 32 bits"
    yield Edge("share", softmax(2, 4 << 15, (1 << 30) - 1), softmax(2, 4 << 15, 1 << 30), message)
    whole = case(replace(op, coarse=falling(1 << 20)[:1]), (1, 2, 3), (1, 2, 3), y=PROBABILITY)
    message = "a table of exponentials has shape (256,), not (1,)"
    yield Edge("coarse of int8", whole, with_op(whole, coarse=falling(1 << 20)), message)
    outside = with_output(base, shape=(1, 3, 2))
    yield Edge("shape", base, outside, f"{outside.inputs[0]} -> {outside.output} is not of one shape")


def log_softmaxes() -> Iterator[Edge]:
    logs = full(1, 257)
    op = QWideLogSoftmax(
        "op", ("x",), "y", 2, falling(4 << 2), falling(1 << 30), 2, 1, logs, 1, 1, 0, -128, 127
    )  # fmt: skip
    base = case(op, (1, 2, 3), (1, 2, 3), x=INT16)
    yield from axes(base)
    yield from tables(base)
    yield from clamps(base)
    yield from ends("shift", base, "shift", 1, 31, "the shift")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    message = "the number of bits lies outside [0, 30]"
    one = with_op(base, coarse=falling(1 << 2), bits=0)
    yield Edge("bits 0", one, with_op(one, bits=-1), message)
    yield Edge("bits 31", base, with_op(base, bits=31), message)
    yield Edge("first entry", base, with_op(base, bits=3), "the exponential of 0 is 4, not 8")
    short = with_op(base, logs=full(1, 256))
    yield Edge("logarithms", base, short, "the table of logarithms has shape (256,), not (257,)")
    other = with_output(base, shape=(1, 3, 2))
    yield Edge("shape", base, other, f"{base.inputs[0]} -> {other.output} is not of one shape")

    def lane(size: int, first: int, **fields: Any) -> Case:
        nothing: dict[str, Any] = {"multiplier": 0, "logs": full(0, 257), "log_two": 0}
        bits = first.bit_length() - 1
        tall = replace(op, axis=1, coarse=falling(first << 2), bits=bits, **(nothing | fields))
        return case(tall, (1, size), (1, size), x=INT16)

    yield Edge("sum", lane(65535, 1 << 16), lane(65536, 1 << 16), "the sum of 65536 exponentials overflows")
    step = np.where(np.arange(257) < 100, 0, 8421503)
    message = f"a step of the logarithms can reach {8421504 * 255 + 128}, beyond 32 bits"
    for sign in (1, -1):
        inside, outside = (lane(2, 1 << 16, logs=sign * values) for values in (step, step + (step > 0) * 1))
        yield Edge(f"step {sign}", inside, outside, message)
    message = "a logarithm can reach 2147483648, beyond 32 bits"
    for sign in (1, -1):
        for what, fields, near in (
            ("logarithm", {}, INT32_MAX - 1),
            ("multiplier", {"multiplier": sign * 32768}, INT32_MAX - 1 - 65535 * 32768),
            ("logarithm of two", {"log_two": sign * 143165576}, INT32_MAX - 1 - 15 * 143165576),
        ):
            inside = lane(65535, 1 << 16, logs=full(sign * near, 257), **fields)
            outside = lane(65535, 1 << 16, logs=full(sign * (near + 1), 257), **fields)
            yield Edge(f"{what} {sign}", inside, outside, message)
    half = lane(2, 1 << 16, shift=31, logs=full((1 << 30) - 1, 257))
    yield Edge("rounding half", half, with_op(half, logs=full(1 << 30, 257)), message)


def normalizations() -> Iterator[Edge]:
    op = QWideLpNormalize("op", ("x",), "y", 2, 2, 3, 128)
    base = case(op, (1, 2, 3), (1, 2, 3), x=INT16, y=SYMMETRIC)
    yield from axes(base)
    yield from ends("zero point", base, "input_zero_point", -32768, 32767, "a zero point")
    yield from ends("one", base, "one", 128, 128, "one")
    wide = with_output(with_op(base, one=32768), qtype=symmetric(IntType.INT16))
    yield from ends("one, int16", wide, "one", 32768, 32768, "one")
    yield Edge("p", with_op(base, p=1), with_op(base, p=0), "p = 0 is neither 1 nor 2")
    yield Edge("larger p", base, with_op(base, p=3), "p = 3 is neither 1 nor 2")

    def lane(size: int, zero_point: int) -> Case:
        tall = replace(op, axis=1, input_zero_point=zero_point)
        return case(tall, (1, size), (1, size), x=LOW16, y=SYMMETRIC)

    for zero_point, most in ((-32768, 16384), (0, 65535)):
        message = f"the length of {most + 1} elements can overflow"
        inside, outside = (lane(size, zero_point) for size in (most, most + 1))
        yield Edge(f"length, zero point {zero_point}", inside, outside, message)
    for what, outside in (
        ("shape", with_output(base, shape=(1, 3, 2))),
        ("output's type", with_output(base, qtype=INT8)),
    ):
        message = f"{outside.inputs[0]} -> {outside.output} is not a normalization"
        yield Edge(what, base, outside, message)


def resizes() -> Iterator[Edge]:
    rows, columns = full(0, 3), full(0, 2)
    op = QResizeLinear("op", ("x",), "y", rows, rows, rows, columns, columns, columns, 7)
    base = case(op, (1, 2, 4, 3), (1, 3, 2, 3), x=INT16, y=INT16)
    message = "the sum can reach 2147516416, beyond 32 bits"
    yield Edge("sum of int16", base, with_op(base, between=6), message)


def positions() -> Iterator[Edge]:
    def lane(size: int) -> Case:
        y = replace(CLASS, dtype=IntType.INT16)
        return case(QArgMax("op", ("x",), "y", 1, True, True), (1, size), (1, 1), y=y)

    outside = lane(32897)
    message = f"{outside.inputs[0]} -> {outside.output} is not a class map"
    yield Edge("size, int16", lane(32896), outside, message)
    inside = lane(3)
    outside = with_output(inside, qtype=INT16)
    message = f"{outside.inputs[0]} -> {outside.output} is not a class map"
    yield Edge("type, int16", inside, outside, message)


def moves() -> Iterator[Edge]:
    """The value of a border is one of int16."""
    pad = case(QPad("op", ("x",), "y", (0, 1, 0), (0, 0, 2), 0), (1, 2, 3), (1, 3, 5), x=INT16, y=INT16)
    yield from ends("value, int16", pad, "value", -32768, 32767, "the border")


def real_ports() -> Iterator[Edge]:
    to = case(QQuantize("op", ("x",), "y", 2.0, 3, -128, 127), IMAGE, IMAGE, x=REAL)
    yield from ends("zero point", to, "zero_point", -128, 127, "a zero point")
    yield from ends("lower clamp", to, "lo", -128, -128, "a clamp")
    yield from ends("upper clamp", to, "hi", 127, 127, "a clamp")
    back = case(QDequantize("op", ("x",), "y", 3, 0.5), IMAGE, IMAGE, y=REAL)
    yield from ends("zero point", back, "zero_point", -128, 127, "a zero point")
    sums = with_op(with_input(back, qtype=QType(IntType.INT32, 1.0, 0)), zero_point=0)
    yield from ends("zero point of sums", sums, "zero_point", 0, 0, "a zero point")
    for base, name, what in ((to, "twice", "the factor"), (back, "scale", "the scale")):
        small = with_op(base, **{name: float(np.float32(1e-45))})
        largest = with_op(base, **{name: float(np.finfo(np.float32).max)})
        for inside, value in ((small, 0.0), (small, -1.0), (largest, np.inf), (base, np.nan), (base, 0.1)):
            message = f"{what} {value!r} is no positive float32"
            yield Edge(f"{name} {value}", inside, with_op(base, **{name: value}), message)
    for base, end, text in (
        (to, INT8, "makes no integers of reals"),
        (back, REAL, "makes no reals of integers"),
    ):
        others = (with_output(base, shape=(1, 1, 2, 3)), with_input(base, qtype=end))
        wrong = with_output(base, qtype=REAL if base is to else INT8)
        for number, outside in enumerate((*others, wrong)):
            message = f"{outside.inputs[0]} -> {outside.output} {text}"
            yield Edge(f"{text} {number}", base, outside, message)


WIDE_EDGES = [
    *products(), *softmaxes(), *log_softmaxes(), *normalizations(), *resizes(), *positions(), *moves(),
    *real_ports(),
]  # fmt: skip
