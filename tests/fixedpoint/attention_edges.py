"""Bounds of the proof of products of activations, normalizations, quotients, magnitudes (see edges.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX
from dfqgen.ops.divide import QDiv
from dfqgen.ops.magnitude import QMagnitude
from dfqgen.ops.matmul import QMatMul
from dfqgen.ops.standardize import QStandardize
from tests.fixedpoint.edges import (
    INT16,
    PAIR,
    Edge,
    broadcasting,
    case,
    clamps,
    ends,
    full,
    with_input,
    with_op,
    with_output,
)
from tests.kernels.strategies import Case


def pair_zero_points(base: Case) -> Iterator[Edge]:
    for index in (0, 1):
        for inside, outside in ((-128, -129), (127, 128)):

            def at(value: int, index: int = index) -> Case:
                return with_op(base, zero_points=(value, 0) if index == 0 else (0, value))

            yield Edge(
                f"zero point {index} at {inside}", at(inside), at(outside),
                "a zero point lies outside [-128, 127]",
            )  # fmt: skip


def matrix_products() -> Iterator[Edge]:
    op = QMatMul("op", ("a", "b"), "y", False, (0, 0), (0, 0), 1, 0, 0, -128, 127)
    base = case(op, (1, 2, 3), (1, 3, 4), (1, 2, 4))
    yield from clamps(base)
    yield from pair_zero_points(base)
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("multiplier", base, "multiplier", 0, INT32_MAX, "a multiplier")
    for name in ("-1", "31"):
        message = "the pre-shift lies outside [0, 30]"
        yield Edge(f"pre-shift {name}", base, with_op(base, pre_shift=int(name)), message)
    for shifts, near in (((-1, 0), (0, 0)), ((16, 0), (15, 0)), ((0, -1), (0, 0)), ((0, 16), (0, 15))):
        message = "an operand's shift lies outside [0, 15]"
        yield Edge(f"shifts {shifts}", with_op(base, shifts=near), with_op(base, shifts=shifts), message)
    # 3 * 128 * 128 at zero points of 0; the shift doubles it until 32 bits are full.
    inside = with_op(base, pre_shift=15)
    yield Edge(
        "accumulator", inside, with_op(base, pre_shift=16),
        "the accumulator can reach 3221225472, beyond 32 bits",
    )  # fmt: skip
    far = with_op(base, zero_points=(127, -128), pre_shift=13)
    message = f"the accumulator can reach {3 * 255 * 255 << 14}, beyond 32 bits"
    yield Edge("distance from the zero points", far, with_op(far, pre_shift=14), message)
    wide = case(replace(op, shifts=(1, 1)), (1, 2, 3), (1, 3, 4), (1, 2, 4), x=INT16)
    message = f"the accumulator can reach {3 << 30}, beyond 32 bits"
    yield Edge("int16 operands", wide, with_op(wide, shifts=(0, 0)), message)
    message = "the accumulator can reach 2147483648, beyond 32 bits"
    halves = case(replace(op, shifts=(0, 1)), (1, 1, 3), (1, 3, 1), (1, 1, 1), x=INT16)
    four = case(replace(op, shifts=(0, 1)), (1, 1, 4), (1, 4, 1), (1, 1, 1), x=INT16)
    yield Edge("depth of int16 operands", halves, four, message)
    for index, shape in ((0, (1, 2, 4)), (1, (1, 4, 4)), (0, (1, 1, 2, 3)), (0, (1, 3))):
        unlike = with_input(base, index, shape=shape)
        a, b = (x.shape for x in unlike.inputs)
        yield Edge(f"operand {shape}", base, unlike, f"{a} and {b} are no factors of a product of matrices")
    front = case(op, (1, 2, 2, 3), (1, 2, 3, 4), (1, 2, 2, 4))
    unlike = with_input(front, 1, shape=(1, 1, 3, 4))
    message = "(1, 2, 2, 3) and (1, 1, 3, 4) are no factors of a product of matrices"
    yield Edge("axes in front", front, unlike, message)
    flat = case(op, (1, 3), (3, 4), (1, 4))
    yield Edge("two axes", base, flat, "(1, 3) and (3, 4) are no factors of a product of matrices")
    rows = case(replace(op, transpose_b=True), (1, 2, 3), (1, 4, 3), (1, 2, 4))
    message = "(1, 2, 3) and (1, 4, 3) are no factors of a product of matrices"
    yield Edge("rows", rows, with_op(rows, transpose_b=False), message)
    yield Edge(
        "shape", base, with_output(base, shape=(1, 2, 5)), "(1, 2, 3) times (1, 3, 4) is not (1, 2, 5)"
    )


def standardizations() -> Iterator[Edge]:
    one = np.ones(1, np.int32)
    op = QStandardize("op", ("x",), "y", 2, 1, True, 0, 1, one, 0, one, 0, -128, 127)
    shape = (1, 2, 4)
    base = case(op, shape, shape)
    yield from clamps(base)
    yield from ends("input's zero point", base, "input_zero_point", -128, 127, "a zero point")
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("epsilon", base, "epsilon", 1, 1 << 61, "the epsilon")
    yield Edge("pre-shift", base, with_op(base, pre_shift=-1), "the pre-shift lies outside [0, 30]")
    # sqrt(4) with 15 bits, and a little more, is above 65536.
    message = f"a normalized value can reach {65546 << 15}, beyond 32 bits"
    yield Edge("normalized values", with_op(base, pre_shift=14), with_op(base, pre_shift=15), message)
    yield Edge("pre-shift, largest", base, with_op(base, pre_shift=31), "the pre-shift lies outside [0, 30]")
    for name, what in (("multiplier", "multipliers"), ("bias", "biases")):
        low, high = (full(end, 1, dtype=np.int32) for end in (-INT32_MAX, -INT32_MAX - 1))
        message = f"one of the {what} lies outside [-2147483647, 2147483647]"
        yield Edge(f"{name}, smallest", with_op(base, **{name: low}), with_op(base, **{name: high}), message)
        table, long = (full(1, n, dtype=np.int32) for n in (4, 5))
        message = f"the table of {what} has shape (5,), not (4,)"
        yield Edge(
            f"{name} by channel", with_op(base, **{name: table}), with_op(base, **{name: long}), message
        )
        message = f"{what} lie in int64, not int32"
        yield Edge(f"type of {name}", base, with_op(base, **{name: full(1, 1)}), message)
    for axis, groups in ((0, 1), (3, 1), (2, 0), (2, 3)):
        message = f"(1, 2, 4) has no {groups} groups from axis {axis} on"
        yield Edge(f"axis {axis}, groups {groups}", base, with_op(base, axis=axis, groups=groups), message)
    first, last = with_op(base, axis=1), with_op(base, groups=4)
    yield Edge("first axis", first, with_op(first, axis=0), "(1, 2, 4) has no 1 groups from axis 0 on")
    yield Edge("most groups", last, with_op(last, groups=8), "(1, 2, 4) has no 8 groups from axis 2 on")
    yield Edge(
        "shape", base, with_output(base, shape=(1, 4, 2)), "(1, 2, 4) -> (1, 4, 2) is not a normalization"
    )
    # 2 * count * 2**15 in int32.
    near, far = ((1, 1, count) for count in ((1 << 15) - 1, 1 << 15))
    inside, outside = (case(op, size, size, x=INT16) for size in (near, far))
    message = "a difference from the mean can reach 2147483648, beyond 32 bits"
    yield Edge("count of int16", inside, outside, message)
    far_zero = with_op(inside, input_zero_point=-32768)
    message = f"a difference from the mean can reach {2 * 32767 * 65535}, beyond 32 bits"
    yield Edge("distance from the zero point", inside, far_zero, message)


def magnitudes() -> Iterator[Edge]:
    op = QMagnitude("op", ("a", "b"), "y", (0, 0), (1 << 14, 1 << 14), 14, 1, 0, 0, -128, 127)
    base = case(op, *PAIR)
    yield from broadcasting(base)
    yield from clamps(base)
    yield from pair_zero_points(base)
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("shift", base, "shift", 0, 30, "the shift")
    yield from ends("multiplier", base, "multiplier", 0, 32767, "the multiplier")
    near, far = (with_op(base, multipliers=(1, m)) for m in (1 << 14, (1 << 14) + 1))
    yield Edge("part's multiplier", near, far, "a part's multiplier lies outside [0, 16384]")
    # With zero at -14, 141 * 10517 is 15 short of 46341 << 5: the rounding half takes it there.
    zero = {"zero_points": (-14, 0), "part_shift": 5}
    near, far = (with_op(base, multipliers=(m, 1), **zero) for m in (10516, 10517))
    yield Edge("part by its half", near, far, "a part lies outside [0, 46340]")
    # 128 * 11585 >> 5 is 46340.
    near, far = (with_op(base, multipliers=(m, 1), part_shift=5) for m in (11585, 11586))
    yield Edge("part", near, far, "a part lies outside [0, 46340]")
    far = with_op(base, part_shift=31)
    yield Edge("shift of parts", with_op(base, part_shift=30), far, "the shift of parts lies outside [0, 30]")


def quotients() -> Iterator[Edge]:
    op = QDiv("op", ("a", "b"), "y", (0, 0), 1, 0, 0, -128, 127)
    base = case(op, *PAIR)
    yield from broadcasting(base)
    yield from clamps(base)
    yield from pair_zero_points(base)
    yield from ends("zero point", base, "zero_point", -128, 127, "a zero point")
    yield from ends("shift", base, "shift", 0, 24, "the shift")
    yield Edge(
        "multiplier", base, with_op(base, multiplier=-1), "the multiplier lies outside [0, 2147483647]"
    )
    largest = (INT32_MAX - (1 << 17)) // 128
    near, far = (with_op(base, multiplier=m) for m in (largest, largest + 1))
    message = f"the numerator can reach {(largest + 1) * 128 + (1 << 17)}, beyond 32 bits"
    yield Edge("numerator", near, far, message)
    more = (INT32_MAX - (1 << 17)) // 255
    near, far = (with_op(base, zero_points=(127, 0), multiplier=m) for m in (more, more + 1))
    message = f"the numerator can reach {(more + 1) * 255 + (1 << 17)}, beyond 32 bits"
    yield Edge("numerator far from its zero point", near, far, message)
    beyond = with_op(base, multiplier=INT32_MAX + 1)
    yield Edge("largest multiplier", base, beyond, "the multiplier lies outside [0, 2147483647]")
    wide = with_input(with_op(base, multiplier=65531), 0, qtype=INT16)
    message = f"the numerator can reach {65532 * 32768 + (1 << 17)}, beyond 32 bits"
    yield Edge("numerator of int16", wide, with_op(wide, multiplier=65532), message)


ATTENTION_EDGES = [*matrix_products(), *standardizations(), *quotients(), *magnitudes()]
