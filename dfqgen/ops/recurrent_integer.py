"""Integer recurrent layers: int16 states within the layer whatever its input and output are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor, Work
from dfqgen.fixedpoint.proof import check_reach, check_within
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.ops.gates import (
    CELL_BITS,
    INT16,
    SUM_BITS,
    TANH_BITS,
    Conversion,
    GateRows,
    Peephole,
    clamp16,
    rounded,
    sigmoid,
    state_type,
    tanh,
)


class QRecurrent(QOp):
    """What integer recurrent layers have in common: x [1,T,I], initial states [1,1,H] or zeros -> [1,T,H].

    Sums of gates are int16 with 12 bits: clamp(of_input(x) + of_state(h)). States are int16 and converted
    where they come in (`starts`) and at the end. `sequence` gives every step, else the last one [1,1,H].
    """

    arity: ClassVar[int | None] = None
    gates: ClassVar[int]

    of_input: GateRows
    of_state: GateRows
    steps: int
    reverse: bool
    sequence: bool
    starts: tuple[Conversion, ...]
    end: Conversion

    @property
    def units(self) -> int:
        """Units of the layer."""
        return self.of_state.rows // self.gates

    @property
    def widths(self) -> tuple[int, ...]:
        """Elements of each state."""
        return (self.of_state.depth,)

    @property
    def given(self) -> tuple[tuple[int, Conversion], ...]:
        """The states that the output has, by number, one behind the other, and how they become it."""
        return ((0, self.end),)

    def evaluate(self, *inputs: Array) -> Array:
        x = inputs[0].astype(np.int64)
        if self.starts:
            pairs = zip(inputs[1:], self.starts, strict=True)
            states = tuple(start.apply(state[:, 0]) for state, start in pairs)
        else:
            states = tuple(np.zeros((x.shape[0], width), np.int64) for width in self.widths)
        steps = range(self.steps)
        kept = []
        for step in reversed(steps) if self.reverse else steps:
            states = self.step(x[:, step], states)
            parts = [end.apply(states[number]) for number, end in self.given]
            kept.append(np.concatenate(parts, axis=-1))
        if not self.sequence:
            return kept[-1][:, None]
        return np.stack(kept[::-1] if self.reverse else kept, axis=1)

    @abstractmethod
    def step(self, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        """States int64 [N, ...] after one step of x int64 [N, I]."""

    def sums(self, x: Array, h: Array, first: int, last: int) -> Array:
        """What goes into the functions of the gates from `first` to before `last`, [N, gates * H]."""
        part = slice(first * self.units, last * self.units)
        return clamp16(self.of_input.apply(x, part) + self.of_state.apply(h, part))

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        x, *states = inputs
        expected = (
            1,
            self.steps if self.sequence else 1,
            sum(self.widths[number] for number, _ in self.given),
        )
        if len(x.shape) != 3 or x.shape[1] != self.steps or output.shape != expected:
            raise ProgramError(
                f"{self.name}: {x.shape} -> {output.shape} is not {self.steps} steps to {expected}"
            )
        rows = self.gates * self.units
        given = self.of_input.verify(self.name, "input", rows, x.shape[2], x.qtype.dtype)
        fed_back = self.of_state.verify(self.name, "state", rows, self.widths[0], INT16)
        check_reach(self.name, "a gate's sum", int((given + fed_back).max()))
        if any(some.weight_type is not self.weight_type for some in self.all_rows):
            raise ProgramError(f"{self.name}: its weights are of several types")
        if len(states) != len(self.starts) or len(states) not in (0, len(self.widths)):
            raise ProgramError(f"{self.name}: has {len(states)} initial states")
        for state, start, size, bits in zip(states, self.starts, self.widths, self.bits, strict=False):
            if state.shape != (1, 1, size):
                raise ProgramError(f"{self.name}: an initial state {state.shape} is not of {size} units")
            start.verify(self.name, state.qtype, state_type(bits))
        for number, end in self.given:
            end.verify(self.name, state_type(self.bits[number]), output.qtype)

    @property
    def bits(self) -> tuple[int, ...]:
        """Of each state."""
        return (TANH_BITS,)

    @property
    def all_rows(self) -> tuple[GateRows, ...]:
        """All its weights, which are of one type."""
        return self.of_input, self.of_state

    @property
    def weight_type(self) -> IntType:
        return self.of_input.weight_type

    def macs(self, output: QTensor) -> int:
        return self.steps * sum(rows.weight.size for rows in self.all_rows)

    def work(self, inputs: Sequence[QTensor], output: QTensor) -> Work:
        gates = float(self.steps * self.of_state.rows)
        return QOp.work(self, inputs, output) | {"mac": float(self.macs(output)), "gate": gates}

    @property
    def weights(self) -> tuple[tuple[Array, IntType], ...]:
        return tuple((rows.weight, rows.weight_type) for rows in self.all_rows)

    @property
    def weight_bytes(self) -> int:
        return sum(rows.weight_bytes for rows in self.all_rows)


@dataclass(frozen=True, slots=True, eq=False)
class QLstm(QRecurrent):
    """Gates i, o, f, g; cell c with `cell_bits`, everything rounded half up and saturated to int16:

        i, f = sigmoid(sums + peephole(c));  g = tanh(sums)
        c = (f * c + (i * g >> 15 - cell_bits) + 2**14) >> 15
        o = sigmoid(sums + peephole(c));  h = (o * tanh(c with 12 bits) + 2**14) >> 15

    `projection` makes h of that with as many bits as of_state expects: `hidden_bits`. The output is h, or c
    where `gives_cell`; or, where there is `cell_end`, h and behind it c.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    of_input: GateRows
    of_state: GateRows
    peephole: Peephole | None
    projection: GateRows | None
    hidden_bits: int
    cell_bits: int
    steps: int
    reverse: bool
    sequence: bool
    gives_cell: bool
    starts: tuple[Conversion, ...]
    end: Conversion
    cell_end: Conversion | None = None

    gates: ClassVar[int] = 4

    @property
    def widths(self) -> tuple[int, ...]:
        return self.of_state.depth, self.units

    @property
    def bits(self) -> tuple[int, ...]:
        return self.hidden_bits, self.cell_bits

    @property
    def given(self) -> tuple[tuple[int, Conversion], ...]:
        more = () if self.cell_end is None else ((1, self.cell_end),)
        return ((1 if self.gives_cell else 0, self.end), *more)

    def step(self, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        i, o, f, g = np.split(self.sums(x, h, 0, 4), 4, axis=1)
        i, f = sigmoid(self._peep(i, 0, c)), sigmoid(self._peep(f, 2, c))
        c = clamp16(rounded(f * c + rounded(i * tanh(g), TANH_BITS - self.cell_bits), 15))
        o = sigmoid(self._peep(o, 1, c))
        h = rounded(o * tanh(clamp16(self.argument(c))), 15)
        return (h if self.projection is None else clamp16(self.projection.apply(h))), c

    def argument(self, c: Array) -> Array:
        """A cell with 12 bits."""
        if self.cell_bits < SUM_BITS:
            return c << (SUM_BITS - self.cell_bits)
        return rounded(c, self.cell_bits - SUM_BITS)

    def _peep(self, sums: Array, gate: int, c: Array) -> Array:
        return sums if self.peephole is None else clamp16(sums + self.peephole.apply(gate, c))

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        check_within(self.name, "the bits of the cell", self.cell_bits, 0, CELL_BITS)
        check_within(self.name, "the bits of the hidden state", self.hidden_bits, 0, TANH_BITS)
        QRecurrent.verify(self, inputs, output)
        if self.peephole is not None:
            self.peephole.verify(self.name, self.units)
        if self.projection is not None:
            self.projection.verify(self.name, "projection", self.of_state.depth, self.units, INT16)
        elif self.of_state.depth != self.units or self.hidden_bits != TANH_BITS:
            raise ProgramError(f"{self.name}: {self.units} units do not fit {self.of_state.depth} columns")

    @property
    def all_rows(self) -> tuple[GateRows, ...]:
        more = () if self.projection is None else (self.projection,)
        return self.of_input, self.of_state, *more

    @property
    def weight_bytes(self) -> int:
        more = 0 if self.peephole is None else self.peephole.weight.nbytes
        return sum(rows.weight_bytes for rows in self.all_rows) + more


@dataclass(frozen=True, slots=True, eq=False)
class QGru(QRecurrent):
    """Gates z, r, n; everything rounded half up and saturated to int16:

        z, r = sigmoid(sums);  n = tanh(of_input(x) + of_state((r * h + 2**14) >> 15))
        h = (z * h + (32768 - z) * n + 2**14) >> 15

    With `reset_after` the rows of n have 11 bits, of_input's and of_state's clamped by themselves, and
    n = tanh(2 * of_input(x) + ((r * of_state(h) + 2**13) >> 14)).
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    of_input: GateRows
    of_state: GateRows
    reset_after: bool
    steps: int
    reverse: bool
    sequence: bool
    starts: tuple[Conversion, ...]
    end: Conversion

    gates: ClassVar[int] = 3

    def step(self, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        z, r = (sigmoid(sums) for sums in np.split(self.sums(x, h, 0, 2), 2, axis=1))
        if self.reset_after:
            last = slice(2 * self.units, None)
            given, fed_back = clamp16(self.of_input.apply(x, last)), clamp16(self.of_state.apply(h, last))
            n = tanh(clamp16(2 * given + rounded(r * fed_back, 14)))
        else:
            n = tanh(self.sums(x, rounded(r * h, 15), 2, 3))
        return (clamp16(rounded(z * h + (32768 - z) * n, 15)),)


@dataclass(frozen=True, slots=True, eq=False)
class QRnn(QRecurrent):
    """h = tanh(sums), 15 bits."""

    name: str
    inputs: tuple[str, ...]
    output: str
    of_input: GateRows
    of_state: GateRows
    steps: int
    reverse: bool
    sequence: bool
    starts: tuple[Conversion, ...]
    end: Conversion

    gates: ClassVar[int] = 1

    def step(self, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        return (tanh(self.sums(x, states[0], 0, 1)),)
