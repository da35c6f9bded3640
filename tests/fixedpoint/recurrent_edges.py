"""The bounds of recurrent layers' proof (see edges.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np

from dfqgen.fixedpoint.program import INT32_MAX
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.ops.gates import Conversion, GateRows, Peephole
from dfqgen.ops.recurrent_integer import QGru, QLstm, QRecurrent, QRnn
from tests.fixedpoint.edges import INT8, INT16, Edge, case, ends, full, with_input, with_op, with_output
from tests.kernels.strategies import Case

STEPS, FEATURES, UNITS = 2, 3, 2
SEQUENCE, RESULT, STATE = (1, STEPS, FEATURES), (1, STEPS, UNITS), (1, 1, UNITS)
IN = Conversion(1 << 30, 2, 3, 0, -32768, 32767)
OUT = Conversion(1 << 24, 0, 0, 3, -128, 127)


def rows(count: int, depth: int) -> GateRows:
    return GateRows(full(1, count, depth, dtype=np.int8), full(0, count), full(1 << 20, count), 0)


def base_of(kind: type[QRecurrent], **fields: object) -> Case:
    count = kind.gates * UNITS
    op = kind(  # type: ignore[call-arg]
        name="op", inputs=("x",), output="y", of_input=rows(count, FEATURES), of_state=rows(count, UNITS),
        steps=STEPS, reverse=False, sequence=True, starts=(), end=OUT, **fields,
    )  # fmt: skip
    return case(op, SEQUENCE, RESULT)


def lstm(**fields: object) -> Case:
    settings: dict[str, object] = {"peephole": None, "projection": None, "hidden_bits": 15}
    return base_of(QLstm, **(settings | {"cell_bits": 12, "gives_cell": False} | fields))


def from_states(base: Case) -> Case:
    """With initial states of int8."""
    count = len(base.op.widths)  # type: ignore[attr-defined]
    names = tuple(f"s{i}" for i in range(count))
    op = replace(base.op, inputs=("x", *names), starts=(IN,) * count)  # type: ignore[type-var]
    return case(op, SEQUENCE, *[STATE] * count, RESULT)


def four_bits(base: Case, name: str, value: int) -> Case:
    """All weights in this field are `value`, those in the others as they are; all of 4 bits."""
    op = base.op
    rows = {f.name: getattr(op, f.name) for f in fields(op) if isinstance(getattr(op, f.name), GateRows)}  # type: ignore[arg-type]
    narrow = {field: replace(found, weight_type=IntType.INT4) for field, found in rows.items()}
    narrow[name] = replace(narrow[name], weight=full(value, *rows[name].weight.shape, dtype=np.int8))
    return with_op(base, **narrow)


def gate_rows(base: Case, name: str, what: str) -> Iterator[Edge]:
    """The rows in this field; all but one multiplier are small."""
    found: GateRows = getattr(base.op, name)

    def at(**fields: object) -> Case:
        return with_op(base, **{name: replace(found, **fields)})  # type: ignore[arg-type]

    count, depth = found.weight.shape
    if name != "of_state":  # its depth is the state's
        message = f"{what} weights has shape ({count}, {depth + 1}), not ({count}, {depth})"
        yield Edge(f"{name}: depth", base, at(weight=full(1, count, depth + 1, dtype=np.int8)), message)
    elif count > UNITS:
        message = f"{what} weights has shape ({count + 1}, {depth}), not ({count}, {depth})"
        yield Edge(f"{name}: rows", base, at(weight=full(1, count + 1, depth, dtype=np.int8)), message)
    message = f"{what} weights lie in int16, not int8"
    yield Edge(f"{name}: type", base, at(weight=found.weight.astype(np.int16)), message)
    if name != "projection":  # its type is another one than the others'
        wide = at(weight_type=IntType.INT16)
        yield Edge(f"{name}: width", base, wide, f"{what} weights have at most 8 bits, not 16")
    yield Edge(f"{name}: widths", base, at(weight_type=IntType.INT6), "its weights are of several types")
    for value, beyond in ((-8, -9), (7, 8)):
        inside, outside = (four_bits(base, name, integer) for integer in (value, beyond))
        yield Edge(f"{name}: weight {value}", inside, outside, f"a {what} weight lies outside [-8, 7]")
    for field, label in (("bias", "bias"), ("multiplier", "multipliers")):
        message = f"{what} {label} has shape ({count + 1},), not ({count},)"
        yield Edge(f"{name}: {label}", base, at(**{field: full(0, count + 1)}), message)
    quiet = full(0, count, depth, dtype=np.int8)
    for sign in (1, -1):
        inside = at(weight=quiet, bias=full(sign * INT32_MAX, count))
        outside = at(weight=quiet, bias=full(sign * (INT32_MAX + 1), count))
        yield Edge(f"{name}: bias {sign}", inside, outside, f"a {what} bias lies outside")
    for value, beyond in ((0, -1), (INT32_MAX, INT32_MAX + 1)):
        inside, outside = at(multiplier=full(value, count)), at(multiplier=full(beyond, count))
        yield Edge(
            f"{name}: multiplier {value}", inside, outside, f"a multiplier lies outside [0, {INT32_MAX}]"
        )
    yield Edge(f"{name}: pre-shift", at(pre_shift=0), at(pre_shift=-1), "the pre-shift lies outside [0, 30]")
    reach = depth * (32768 if name != "of_input" else 128)
    inside, outside = (at(bias=full(INT32_MAX - reach + more, count)) for more in (0, 1))
    message = f"the {what} accumulator can reach 2147483648, beyond 32 bits"
    yield Edge(f"{name}: accumulator", inside, outside, message)


def conversion(base: Case, name: str, form: Conversion, qtype: QType, target: QType) -> Iterator[Edge]:
    """The one in this field, `starts` or `end`, from an integer type to another."""

    def at(**fields: object) -> Case:
        made = replace(form, **fields)  # type: ignore[arg-type]
        return with_op(base, **{name: (made,) if name == "starts" else made})

    for field, kind in (("from_zero", qtype), ("to_zero", target)):
        for value, beyond in (
            (kind.dtype.minimum, kind.dtype.minimum - 1),
            (kind.dtype.maximum, kind.dtype.maximum + 1),
        ):
            still = at(**{field: value, "pre_shift": 0})
            yield Edge(f"{name}: {field} {value}", still, at(**{field: beyond}), "a zero point lies outside")
    yield Edge(f"{name}: multiplier", at(multiplier=0), at(multiplier=-1), "a multiplier lies outside")
    low, high = target.dtype.minimum, target.dtype.maximum
    yield Edge(f"{name}: lo", at(lo=low), at(lo=low - 1), "a clamp lies outside")
    yield Edge(f"{name}: hi", at(hi=high), at(hi=high + 1), "a clamp lies outside")
    message = "a clamp's lower bound is above its upper one"
    yield Edge(f"{name}: order", at(lo=5, hi=5), at(lo=6, hi=5), message)
    # 255 * 2**23 and 65535 * 2**15 fit; 255 * 2**24 and 65535 * 2**16 do not.
    widest = 23 if qtype.dtype.bits == 8 else 15
    zero = qtype.dtype.minimum
    inside, outside = (at(from_zero=zero, pre_shift=shift) for shift in (widest, widest + 1))
    yield Edge(f"{name}: pre-shift", inside, outside, "a converted state can reach")


def family(base: Case) -> Iterator[Edge]:
    """What all have in common."""

    def refused(what: str, inside: Case, outside: Case) -> Edge:
        x, y = outside.inputs[0].shape, outside.output.shape
        steps = STEPS if inside.output.shape[1] == STEPS else 1
        return Edge(what, inside, outside, f"{x} -> {y} is not 2 steps to (1, {steps}, 2)")

    yield refused("rank", base, with_input(base, shape=(1, STEPS, 1, FEATURES)))
    yield refused("steps", base, with_input(base, shape=(1, STEPS + 1, FEATURES)))
    yield refused("units", base, with_output(base, shape=(1, STEPS, UNITS + 1)))
    yield refused("batch", base, with_output(base, shape=(2, STEPS, UNITS)))
    yield refused("one step", base, with_output(base, shape=STATE))
    last = with_output(with_op(base, sequence=False), shape=STATE)
    yield refused("last", last, with_output(last, shape=RESULT))
    message = "input weights has shape"
    yield Edge("features", base, with_input(base, shape=(1, STEPS, FEATURES + 1)), message)
    yield from gate_rows(base, "of_input", "input")
    yield from gate_rows(base, "of_state", "state")
    count = base.op.of_state.rows  # type: ignore[attr-defined]

    def loud(less: int) -> Case:
        def part(depth: int, bias: int) -> GateRows:
            zeros = full(0, count, depth, dtype=np.int8)
            return GateRows(zeros, full(bias, count), full(INT32_MAX, count), 0)

        return with_op(
            base, of_input=part(FEATURES, INT32_MAX - less), of_state=part(UNITS, INT32_MAX)
        )  # fmt: skip

    message = "a gate's sum can reach 2147483648, beyond 32 bits"
    yield Edge("sum of input and state", loud(4), loud(0), message)
    started = from_states(base)
    states = len(started.inputs) - 1
    yield Edge("states", started, with_op(started, starts=()), f"has {states} initial states")
    alone = with_op(base, starts=(IN,))
    yield Edge("no states", base, alone, "has 0 initial states")
    for index in range(1, states + 1):
        for shape in ((1, 1, UNITS + 1), (1, 2, UNITS), (2, 1, UNITS)):
            other = with_input(started, index, shape=shape)
            yield Edge(
                f"shape of state {index}", started, other, f"an initial state {shape} is not of 2 units"
            )
    yield from conversion(base, "end", OUT, INT16, INT8)


def simple() -> Iterator[Edge]:
    base = base_of(QRnn)
    yield from family(base)
    yield from conversion(from_states(base), "starts", IN, INT8, INT16)


def gated() -> Iterator[Edge]:
    yield from family(base_of(QGru, reset_after=False))


def memories() -> Iterator[Edge]:
    base = lstm()
    yield from family(base)
    three = with_op(from_states(base), starts=(IN,), inputs=("x", "s0"))
    one = replace(three, inputs=three.inputs[:2])
    yield Edge("one state of two", from_states(base), one, "has 1 initial states")
    yield from ends("cell's bits", base, "cell_bits", 0, 15, "the bits of the cell")
    projected = lstm(projection=rows(UNITS, UNITS))
    yield from ends("hidden bits", projected, "hidden_bits", 0, 15, "the bits of the hidden state")
    yield from gate_rows(projected, "projection", "projection")
    message = "2 units do not fit 2 columns"
    yield Edge("bits without a projection", base, with_op(base, hidden_bits=14), message)
    wider = with_output(with_op(base, of_state=rows(8, UNITS + 1)), shape=(1, STEPS, UNITS + 1))
    yield Edge("units without a projection", base, wider, "2 units do not fit 3 columns")

    shape = (1, 1, 2 * UNITS)
    both = with_output(with_op(base, sequence=False, cell_end=OUT), shape=shape)
    message = f"{SEQUENCE} -> {STATE} is not 2 steps to {shape}"
    yield Edge("both states", both, with_output(both, shape=STATE), message)
    yield from conversion(both, "cell_end", OUT, INT16, INT8)

    def peeping(shape: tuple[int, ...] = (3, UNITS), value: int = 32767, shift: int = 30) -> Case:
        return lstm(peephole=Peephole(full(value, *shape), shift))

    message = "the peepholes has shape (3, 3), not (3, 2)"
    yield Edge("peepholes", peeping(), peeping(shape=(3, 3)), message)
    for sign in (1, -1):
        message = "a peephole lies outside [-32767, 32767]"
        yield Edge(f"peephole {sign}", peeping(value=sign * 32767), peeping(value=sign * 32768), message)
    for shift, beyond in ((0, -1), (30, 31)):
        message = "the peepholes' shift lies outside [0, 30]"
        yield Edge(f"shift {shift}", peeping(shift=shift), peeping(shift=beyond), message)


RECURRENT_EDGES = [*simple(), *gated(), *memories()]
