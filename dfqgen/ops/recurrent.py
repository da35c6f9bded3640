"""Recurrent layers over a sequence: LSTM, GRU and the simple RNN, as ONNX defines them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np

from dfqgen.fixedpoint.program import QOp
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.gates import (
    CELL_BITS,
    TANH_BITS,
    Conversion,
    Peephole,
    input_rows,
    rounded_weight,
    state_rows,
    state_type,
    to_state,
    word_bits,
)
from dfqgen.ops.recurrent_integer import QGru, QLstm, QRnn
from dfqgen.statistics.channel import ChannelStatistics

LARGEST_CELL = 16.0
"""A cell state saturates there: its hyperbolic tangent is 1 from 10 on, and few memories grow so far."""


class Recurrent(Op):
    """What recurrent layers have in common: x [N,T,I], then initial states [N,1,H] as inputs, or zeros.

    `weight` [G H, I], `recurrent` [G H, P] and `bias` [G H] have the rows of each of the G gates together,
    in ONNX's order. `reverse` runs from the last step to the first; the output has the input's order.
    `gives` is "sequence", the hidden state of every step [N,T,H], "last", that of the last one [N,1,H], or
    of an LSTM "cell", the last cell state, or "states", the last hidden state and behind it the last cell
    state [N,1,P+H]. `clip` bounds what goes into each activation function.
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    """How many initial states are inputs, where any is."""
    measured: ClassVar[bool] = True

    weight: Array
    recurrent: Array
    bias: Array
    reverse: bool
    gives: str
    clip: float

    @property
    def hidden(self) -> int:
        """Units of the layer."""
        return int(self.weight.shape[0]) // self.gates

    @property
    def width(self) -> int:
        """Elements of the hidden state."""
        return int(self.recurrent.shape[1])

    @property
    def widths(self) -> tuple[int, ...]:
        """Elements of each state."""
        return (self.width,)

    @property
    def matrices(self) -> Mapping[str, Array]:
        """Weights that become integers of a width to choose, by field."""
        return {"weight": self.weight, "recurrent": self.recurrent}

    def rounded(self, weight_type: IntType) -> Self:
        """The layer with the reals that its weights become as integers of this type."""
        fields = {name: rounded_weight(matrix, weight_type) for name, matrix in self.matrices.items()}
        return replace(self, **fields)  # type: ignore[type-var]

    def is_layer_of(self, other: Recurrent) -> bool:
        """Whether both are one layer, whatever they give of it."""
        names = [field.name for field in fields(self) if field.name != "gives"]  # type: ignore[arg-type]
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )

    def infer_shape(self, *shapes: Shape) -> Shape:
        n, steps, features = shapes[0]
        rows = self.gates * self.hidden
        if self.weight.shape != (rows, features):
            raise ValueError(f"{features} features meet weights {self.weight.shape}")
        if self.recurrent.shape != (rows, self.width) or self.bias.shape != (rows,):
            raise ValueError(f"weights {self.recurrent.shape}, a bias {self.bias.shape}: not of {rows} rows")
        if len(shapes) > 1 and shapes[1:] != tuple((n, 1, width) for width in self.widths):
            raise ValueError(f"initial states {shapes[1:]} do not fit {self.widths}")
        width = {"cell": self.hidden, "states": sum(self.widths)}.get(self.gives, self.width)
        return n, steps if self.gives == "sequence" else 1, width

    def evaluate(self, *inputs: Array) -> Array:
        x, dtype = inputs[0], inputs[0].dtype
        zeros = (np.zeros((x.shape[0], width), dtype) for width in self.widths)
        states = tuple(state[:, 0] for state in inputs[1:]) or tuple(zeros)
        sums = x @ self.weight.T.astype(dtype) + self.bias.astype(dtype)
        steps = range(x.shape[1])
        outputs: list[Array] = []
        for step in reversed(steps) if self.reverse else steps:
            states = self.step(sums[:, step], states)
            outputs.append(states[0])
        if self.gives != "sequence":
            return self.given(states)[:, None].astype(dtype)
        return np.stack(outputs[::-1] if self.reverse else outputs, axis=1).astype(dtype)

    def given(self, states: tuple[Array, ...]) -> Array:
        """What the output has of the last states."""
        if self.gives == "states":
            return np.concatenate(states, axis=-1)
        return states[1 if self.gives == "cell" else 0]

    @abstractmethod
    def step(self, sums: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        """The states [N, ...] after one step, from the input's part of the gates' sums [N, G H]."""

    def sigmoid(self, x: Array) -> Array:
        """Of the clipped sums."""
        return 0.5 + 0.5 * np.tanh(0.5 * np.clip(x, -self.clip, self.clip))

    def tanh(self, x: Array) -> Array:
        """Of the clipped sums."""
        return np.tanh(np.clip(x, -self.clip, self.clip))

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """A hyperbolic tangent times a sigmoid: bounded, and of a deviation that is not known better."""
        channels = self.infer_shape(*shapes)[-1]
        return ChannelStatistics.normal(np.zeros(channels), np.full(channels, 0.5), -1.0, 1.0)

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> None:
        """Axis 1 is time."""

    def reshaped(self, before: Shape, after: Shape) -> None:
        """Axis 1 is time."""

    def starts(self, site: Site, bits: tuple[int, ...]) -> tuple[Conversion, ...]:
        """From the types of the initial states to the words of the layer."""
        return tuple(to_state(x.qtype, n) for x, n in zip(site.inputs[1:], bits, strict=False))

    def end(self, site: Site, bits: int) -> Conversion:
        """From the words of the state that the output has to the output's type, a fused clip included."""
        lo, hi = site.integer_bounds()
        return Conversion.between(state_type(bits), site.output.qtype, int(lo.max()), int(hi.min()))


@dataclass(frozen=True, slots=True, eq=False)
class LSTM(Recurrent):
    """Long short-term memory. Gates i, o, f, g:

        i, o, f = sigmoid(sums + peephole * c), of the new c for o;  g = tanh(sums)
        c = f * c + i * g;  h = o * tanh(c), through `projection` [P, H] where there is one

    `peephole` [3, H] is of i, o, f. States h, c.
    """

    weight: Array
    recurrent: Array
    bias: Array
    peephole: Array | None = None
    projection: Array | None = None
    reverse: bool = False
    gives: str = "sequence"
    clip: float = np.inf
    cell_reach: float = LARGEST_CELL

    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    @property
    def widths(self) -> tuple[int, ...]:
        return self.width, self.hidden

    @property
    def matrices(self) -> Mapping[str, Array]:
        more = {} if self.projection is None else {"projection": self.projection}
        return {"weight": self.weight, "recurrent": self.recurrent, **more}

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.peephole is not None and self.peephole.shape != (3, self.hidden):
            raise ValueError(f"peepholes {self.peephole.shape} do not fit {self.hidden} units")
        expected = (self.width, self.hidden)
        if self.projection is not None and self.projection.shape != expected:
            raise ValueError(f"a projection {self.projection.shape} is not {expected}")
        if self.projection is None and self.width != self.hidden:
            raise ValueError(f"{self.width} recurrent weights a row meet {self.hidden} units")
        return Recurrent.infer_shape(self, *shapes)

    def step(self, sums: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        i, o, f, g = np.split(sums + h @ self.recurrent.T.astype(h.dtype), 4, axis=1)
        peephole = np.zeros((3, 1)) if self.peephole is None else self.peephole
        c_new = self.sigmoid(f + peephole[2] * c) * c + self.sigmoid(i + peephole[0] * c) * self.tanh(g)
        h = self.sigmoid(o + peephole[1] * c_new) * np.tanh(c_new)
        return (h if self.projection is None else h @ self.projection.T), c_new

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """As the family's; a cell grows by 1 a step at most, a projection by its weights."""
        reach, spread = np.ones(self.width), np.full(self.width, 0.5)
        if self.projection is not None:
            reach = np.abs(self.projection).sum(axis=1)
            spread = 0.5 * np.sqrt((self.projection**2).sum(axis=1))
        of_cell = np.full(self.hidden, self.cell_reach), np.ones(self.hidden)
        if self.gives == "cell":
            reach, spread = of_cell
        elif self.gives == "states":
            reach, spread = (np.concatenate(pair) for pair in zip((reach, spread), of_cell, strict=True))
        return ChannelStatistics.normal(np.zeros(len(reach)), spread, -reach, reach)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        steps = x.shape[1]
        begins = max(map(abs, site.inputs[2].qtype.real_range)) if len(site.inputs) > 1 else 0.0
        # A step adds 1 at most.
        cell = max(begins, min(self.cell_reach, begins + steps))
        cell_bits = min(CELL_BITS, word_bits(cell))
        hidden_bits = TANH_BITS
        if self.projection is not None:
            reach = float(np.abs(self.projection).sum(axis=1).max())
            if self.gives not in ("cell", "states"):
                reach = min(reach, max(map(abs, y.qtype.real_range)))
            hidden_bits = word_bits(reach)
        halved = np.repeat([0.5, 0.5, 0.5, 1.0], self.hidden)
        projection = None
        if self.projection is not None:
            ones = np.ones(self.width) * 2.0 ** (hidden_bits - 12)
            projection = state_rows(self.projection, None, TANH_BITS, ones, site.weight_type)
        return (
            QLstm(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                of_input=input_rows(self.weight, self.bias, x.qtype, halved, site.weight_type),
                of_state=state_rows(self.recurrent, None, hidden_bits, halved, site.weight_type),
                peephole=None if self.peephole is None else Peephole.of(0.5 * self.peephole, cell_bits),
                projection=projection,
                hidden_bits=hidden_bits,
                cell_bits=cell_bits,
                steps=x.shape[1],
                reverse=self.reverse,
                gives_cell=self.gives == "cell",
                starts=self.starts(site, (hidden_bits, cell_bits)),
                end=self.end(site, cell_bits if self.gives == "cell" else hidden_bits),
                cell_end=self.end(site, cell_bits) if self.gives == "states" else None,
                sequence=self.gives == "sequence",
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class GRU(Recurrent):
    """Gated recurrent unit. Gates z, r, n:

        z, r = sigmoid(sums);  n = tanh(W x + b + R (r * h)), or, where `reset_after`,
        n = tanh(W x + b + r * (R h + recurrent_bias));  h = (1 - z) * n + z * h

    `recurrent_bias` [H] is zero unless `reset_after`. State h.
    """

    weight: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Array
    reset_after: bool = False
    reverse: bool = False
    gives: str = "sequence"
    clip: float = np.inf

    gates: ClassVar[int] = 3
    states: ClassVar[int] = 1

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.width != self.hidden or self.recurrent_bias.shape != (self.hidden,):
            raise ValueError(f"{self.hidden} units meet weights {self.recurrent.shape}")
        return Recurrent.infer_shape(self, *shapes)

    def step(self, sums: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        units = self.hidden
        recurrent = self.recurrent.T.astype(h.dtype)
        zr = self.sigmoid(sums[:, : 2 * units] + h @ recurrent[:, : 2 * units])
        z, r = zr[:, :units], zr[:, units:]
        if self.reset_after:
            inner = r * (h @ recurrent[:, 2 * units :] + self.recurrent_bias)
        else:
            inner = (r * h) @ recurrent[:, 2 * units :]
        return ((1.0 - z) * self.tanh(sums[:, 2 * units :] + inner) + z * h,)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        factors = np.repeat([0.5, 0.5, 0.5 if self.reset_after else 1.0], self.hidden)
        bias = np.concatenate([np.zeros(2 * self.hidden), self.recurrent_bias])
        return (
            QGru(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                of_input=input_rows(self.weight, self.bias, x.qtype, factors, site.weight_type),
                of_state=state_rows(self.recurrent, bias, TANH_BITS, factors, site.weight_type),
                reset_after=self.reset_after,
                steps=x.shape[1],
                reverse=self.reverse,
                starts=self.starts(site, (TANH_BITS,)),
                end=self.end(site, TANH_BITS),
                sequence=self.gives == "sequence",
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class RNN(Recurrent):
    """h = tanh(W x + b + R h). State h."""

    weight: Array
    recurrent: Array
    bias: Array
    reverse: bool = False
    gives: str = "sequence"
    clip: float = np.inf

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    def infer_shape(self, *shapes: Shape) -> Shape:
        if self.width != self.hidden:
            raise ValueError(f"{self.hidden} units meet weights {self.recurrent.shape}")
        return Recurrent.infer_shape(self, *shapes)

    def step(self, sums: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        return (self.tanh(sums + states[0] @ self.recurrent.T.astype(sums.dtype)),)

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0], site.output
        ones = np.ones(self.hidden)
        return (
            QRnn(
                name=site.name,
                inputs=site.input_names,
                output=y.name,
                of_input=input_rows(self.weight, self.bias, x.qtype, ones, site.weight_type),
                of_state=state_rows(self.recurrent, None, TANH_BITS, ones, site.weight_type),
                steps=x.shape[1],
                reverse=self.reverse,
                starts=self.starts(site, (TANH_BITS,)),
                end=self.end(site, TANH_BITS),
                sequence=self.gives == "sequence",
            ),
        )
