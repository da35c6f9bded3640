"""Recurrent cells written out as nodes: one step of an LSTM, a GRU or a simple RNN.

What goes into each gate is a sum of products with constant matrices, however it is written: one product of
[x, h] or one of each, split before or after, biases added anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from dfqgen.frontend.importers.registry import Refused
from dfqgen.graph.ir import Array
from dfqgen.ops.recurrent import GRU, LSTM, RNN, Recurrent

UNKNOWN = "its body is none of TensorFlow's recurrent cells; export the layer as ONNX's LSTM, GRU or RNN"
SAME = frozenset(("Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten"))
"""On vectors of one sample."""


class Steps(Protocol):
    """The nodes that a cell is found among."""

    @property
    def makers(self) -> Mapping[str, onnx.NodeProto]:
        """The node that gives each tensor."""

    def source(self, name: str) -> str:
        """The tensor behind Identity."""

    def constant(self, name: str) -> Array | None:
        """Its value as float64, None where it is none."""

    def width(self, name: str) -> int | None:
        """Elements of a tensor that is no sum, None where nobody knows."""

    def state_of(self, output: str) -> str:
        """The state whose next value this is; it must begin with zeros."""

    def is_leaf(self, name: str) -> bool:
        """Whether a tensor is what the cell reads, however it is made."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent layer and the tensor of the body that it reads."""

    op: Recurrent
    x: str


@contextmanager
def _of_one_width() -> Iterator[None]:
    """numpy's complaint about widths that differ becomes a refusal: nobody has checked the model's."""
    try:
        yield
    except ValueError as error:
        raise Refused(UNKNOWN) from error


@dataclass(eq=False)
class Sum:
    """Terms: of each tensor the matrix [its width, W] that it goes through, or None; and a bias [W]."""

    terms: dict[str, Array | None] = field(default_factory=dict)
    bias: Array = field(default_factory=lambda: np.zeros(1))

    @_of_one_width()
    def through(self, matrix: Array) -> Sum:
        """The sum times a matrix [W, V]."""
        terms = {name: matrix if own is None else own @ matrix for name, own in self.terms.items()}
        return Sum(terms, np.broadcast_to(self.bias, matrix.shape[:1]) @ matrix)  # type: ignore[arg-type]

    @_of_one_width()
    def scaled(self, factor: Array) -> Sum:
        """Each element times a factor, of one or all elements."""
        terms = {n: (np.eye(factor.size) if own is None else own) * factor for n, own in self.terms.items()}
        return Sum(terms, self.bias * factor)  # type: ignore[arg-type]

    def part(self, where: slice) -> Sum:
        if any(own is None for own in self.terms.values()):
            raise Refused(UNKNOWN)
        terms = {name: None if own is None else own[:, where] for name, own in self.terms.items()}
        return Sum(terms, self.bias if self.bias.size == 1 else self.bias[where])

    @_of_one_width()
    def plus(self, other: Sum) -> Sum:
        terms = dict(self.terms)
        for name, matrix in other.terms.items():
            mine = terms.get(name)
            if name in terms and (mine is None or matrix is None):
                raise Refused(UNKNOWN)
            terms[name] = matrix if mine is None or matrix is None else mine + matrix
        return Sum(terms, self.bias + other.bias)

    def take(self, name: str) -> Array:
        """The matrix of a tensor, which leaves the sum."""
        matrix = self.terms.pop(name, None)
        if matrix is None:
            raise Refused(UNKNOWN)
        return matrix


class CellReader:
    """Reads the cell that gives a new hidden state."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._leaves: set[str] = set()

    def read(self, hidden: str) -> Cell:
        state = self.steps.state_of(hidden)
        kind = self._kind(hidden)
        if kind == "Tanh":
            return self._rnn(hidden, state)
        return self._gru(hidden, state) if kind == "Add" else self._lstm(hidden, state)

    # --- cells ---

    def _rnn(self, hidden: str, state: str) -> Cell:
        """h' = tanh(W x + R h + b)."""
        total = self.sum(self._made(hidden, "Tanh")[0])
        recurrent = total.take(state)
        x, weight = self._only(total)
        return Cell(RNN(weight.T, recurrent.T, _filled(total.bias, len(recurrent))), x)

    def _gru(self, hidden: str, state: str) -> Cell:
        """h' = u * h + (1 - u) * tanh(...), r and u sigmoids of sums, r before or after R h."""
        update, candidate = self._mixed(hidden, state)
        new = self.sum(self._made(candidate, "Tanh")[0])
        (inner,) = [name for name in new.terms if self._kind(name) == "Mul"] or [""]
        if not inner:
            raise Refused(UNKNOWN)
        matrix = new.terms.pop(inner)
        inner_bias = np.zeros(1)
        if matrix is None:  # r * (R h + b)
            reset, product = self._gate_of(self._made(inner, "Mul"))
            after = self.sum(product)
            matrix, inner_bias = after.take(state), after.bias
            self._nothing(after)
        else:  # R (r * h)
            reset = self._other(self._made(inner, "Mul"), state)
            product = ""
        gates = [self._sigmoid(update), self._sigmoid(reset)]
        units = matrix.shape[1]
        recurrent = np.concatenate([*(gate.take(state) for gate in gates), matrix], axis=1)
        weights = [self._only(total) for total in (*gates, new)]
        (x,) = {name for name, _ in weights} if len({name for name, _ in weights}) == 1 else {""}
        if not x:
            raise Refused(UNKNOWN)
        weight = np.concatenate([own for _, own in weights], axis=1)
        bias = np.concatenate([_filled(total.bias, units) for total in (*gates, new)])
        op = GRU(weight.T, recurrent.T, bias, _filled(inner_bias, units), reset_after=bool(product))
        return Cell(op, x)

    def _mixed(self, hidden: str, state: str) -> tuple[str, str]:
        """The update gate u and the candidate n of u * h + (1 - u) * n, or of n + u * (h - n)."""
        first, second = self._made(hidden, "Add")
        if "Tanh" in (self._kind(first), self._kind(second)):
            candidate, product = self._order([first, second], "Tanh")
            difference, update = self._order(self._made(product, "Mul"), "Sub")
            if self._made(difference, "Sub") != [state, candidate]:
                raise Refused(UNKNOWN)
            return update, candidate
        kept, fresh = (first, second) if state in self._made(first, "Mul") else (second, first)
        update = self._other(self._made(kept, "Mul"), state)
        candidate, rest = self._order(self._made(fresh, "Mul"), "Tanh")
        one, same = self._made(rest, "Sub")
        value = self.steps.constant(one)
        if same != update or value is None or not np.all(value == 1.0):
            raise Refused(UNKNOWN)
        return update, candidate

    def _lstm(self, hidden: str, state: str) -> Cell:
        """c' = f * c + i * tanh(g), h' = o * tanh(c') @ projection."""
        projection = None
        if self._kind(hidden) == "MatMul":
            hidden, kernel = self._made(hidden, "MatMul")
            projection = self.steps.constant(kernel)
        out, squashed = self._gate_of(self._made(hidden, "Mul"))
        new = self._made(squashed, "Tanh")[0]
        cell = self.steps.state_of(new)
        self._leaves.add(new)  # which the output gate may see
        first, second = self._made(new, "Add")
        kept, fresh = (first, second) if cell in self._made(first, "Mul") else (second, first)
        forget = self._other(self._made(kept, "Mul"), cell)
        into, candidate = self._gate_of(self._made(fresh, "Mul"))
        sums = [self._sigmoid(gate) for gate in (into, out, forget)]
        sums.append(self.sum(self._made(candidate, "Tanh")[0]))
        recurrent = np.concatenate([total.take(state) for total in sums], axis=1)
        units = recurrent.shape[1] // 4
        peepholes = [
            np.diagonal(total.take(of)) if of in total.terms else np.zeros(units)
            for total, of in zip(sums, (cell, new, cell), strict=False)
        ]
        weights = [self._only(total) for total in sums]
        if len({name for name, _ in weights}) != 1:
            raise Refused(UNKNOWN)
        weight = np.concatenate([own for _, own in weights], axis=1)
        bias = np.concatenate([_filled(total.bias, units) for total in sums])
        peephole = np.stack(peepholes) if any(p.any() for p in peepholes) else None
        turned = None if projection is None else projection.T
        return Cell(LSTM(weight.T, recurrent.T, bias, peephole, turned), weights[0][0])

    # --- sums ---

    def sum(self, name: str) -> Sum:
        """What a tensor is, as a sum of products with constants."""
        name = self.steps.source(name)
        value = self.steps.constant(name)
        if value is not None:
            return Sum(bias=value.ravel())
        maker = self.steps.makers.get(name)
        if maker is None or name in self._leaves or self.steps.is_leaf(name):
            return Sum({name: None})
        inputs = list(maker.input)
        kind = maker.op_type
        if kind in SAME:
            return self.sum(inputs[0])
        if kind in ("Add", "Sub"):
            second = self.sum(inputs[1])
            return self.sum(inputs[0]).plus(second if kind == "Add" else second.scaled(-np.ones(1)))
        if kind == "Mul":
            for one, other in (inputs, inputs[::-1]):
                factor = self.steps.constant(other)
                if factor is not None:
                    return self.sum(one).scaled(factor.ravel())
        if kind in ("MatMul", "Gemm"):
            return self._product(maker)
        if kind in ("Split", "Slice"):
            return self.sum(inputs[0]).part(self._where(maker, name))
        return Sum({name: None})

    def _product(self, maker: onnx.NodeProto) -> Sum:
        attributes = {a.name: helper.get_attribute_value(a) for a in maker.attribute}
        kernel = self.steps.constant(maker.input[1])
        if kernel is None or kernel.ndim != 2 or attributes.get("transA"):
            raise Refused(UNKNOWN)
        kernel = attributes.get("alpha", 1.0) * (kernel.T if attributes.get("transB") else kernel)
        joined = self.steps.makers.get(self.steps.source(maker.input[0]))
        if joined is not None and joined.op_type == "Concat":
            total, top = Sum(), 0
            names = [self.steps.source(name) for name in joined.input]
            known = [self.steps.width(name) for name in names]
            for name, width in zip(names, known, strict=True):
                if width is None:
                    if known.count(None) > 1:
                        raise Refused(UNKNOWN)
                    width = len(kernel) - sum(other for other in known if other is not None)
                total = total.plus(self.sum(name).through(kernel[top : top + width]))
                top += width
        else:
            total = self.sum(maker.input[0]).through(kernel)
        if len(maker.input) > 2 and maker.input[2]:
            beta = np.full(1, attributes.get("beta", 1.0))
            added = self.sum(maker.input[2])
            total = total.plus(added if beta[0] == 1.0 else added.scaled(beta))
        return total

    def _where(self, maker: onnx.NodeProto, name: str) -> slice:
        """The elements of a vector that a Split or a Slice takes."""
        attributes = {a.name: helper.get_attribute_value(a) for a in maker.attribute}
        lists = [self.steps.constant(other) if other else None for other in maker.input[1:]]
        if maker.op_type == "Split":
            place = [self.steps.source(other) for other in maker.output].index(name)
            sizes = lists[0] if lists else attributes.get("split")
            if attributes.get("axis", 0) not in (1, -1):
                raise Refused(UNKNOWN)
            if sizes is None:
                width = self._split_width(maker)
                sizes = [width // len(maker.output)] * len(maker.output)
            parts = np.asarray(sizes, np.int64).ravel()
            if len(parts) != len(maker.output):
                raise Refused(UNKNOWN)
            return slice(int(parts[:place].sum()), int(parts[: place + 1].sum()))
        starts, ends_, axes = (lists + [None] * 3)[:3]
        if starts is None or ends_ is None or axes is None or (len(lists) > 3 and lists[3] is not None):
            raise Refused(UNKNOWN)
        found = slice(None)
        if not starts.size == ends_.size == axes.size:
            raise Refused(UNKNOWN)
        for start, end, axis in zip(starts.ravel(), ends_.ravel(), axes.ravel(), strict=True):
            if int(axis) in (1, -1):
                found = slice(int(start), int(min(end, 1 << 31)))
            elif start != 0:
                raise Refused(UNKNOWN)
        return found

    def _split_width(self, maker: onnx.NodeProto) -> int:
        total = self.sum(maker.input[0])
        widths = {own.shape[1] for own in total.terms.values() if own is not None}
        if len(widths) != 1:
            raise Refused(UNKNOWN)
        return int(widths.pop())

    def _sigmoid(self, gate: str) -> Sum:
        """What goes into a sigmoid, whose result may be split."""
        maker = self.steps.makers.get(gate)
        if maker is not None and maker.op_type in ("Split", "Slice"):
            inner = self.sum(self._made(maker.input[0], "Sigmoid")[0])
            if (
                maker.op_type == "Split"
                and len(maker.input) == 1
                and not any(a.name == "split" for a in maker.attribute)
            ):
                width = next(own.shape[1] for own in inner.terms.values() if own is not None)
                place, count = list(maker.output).index(gate), len(maker.output)
                return inner.part(slice(place * width // count, (place + 1) * width // count))
            return inner.part(self._where(maker, gate))
        return self.sum(self._made(gate, "Sigmoid")[0])

    # --- nodes ---

    def _kind(self, name: str) -> str:
        maker = self.steps.makers.get(self.steps.source(name))
        return "" if maker is None else str(maker.op_type)

    def _made(self, name: str, kind: str) -> list[str]:
        """The inputs of the node of this kind that gives the tensor."""
        if self._kind(name) != kind:
            raise Refused(UNKNOWN)
        return [self.steps.source(i) for i in self.steps.makers[self.steps.source(name)].input]

    def _other(self, inputs: list[str], one: str) -> str:
        """Of two inputs, the one that is not `one`."""
        if len(inputs) != 2 or one not in inputs:
            raise Refused(UNKNOWN)
        return inputs[1 - inputs.index(one)]

    def _order(self, inputs: list[str], kind: str) -> tuple[str, str]:
        """Two inputs, the one that a node of this kind gives first."""
        found = [name for name in inputs if self._kind(name) == kind]
        if len(inputs) != 2 or len(found) != 1:
            raise Refused(UNKNOWN)
        return found[0], self._other(inputs, found[0])

    def _gate_of(self, inputs: list[str]) -> tuple[str, str]:
        """Of two factors the gate, and the other one."""
        gates = [name for name in inputs if self._kind(name) == "Sigmoid"]
        if not gates:
            gates = [
                name for name in inputs
                if self._kind(name) in ("Split", "Slice")
                and self._kind(self.steps.makers[name].input[0]) == "Sigmoid"
            ]  # fmt: skip
        if len(inputs) != 2 or len(gates) != 1:
            raise Refused(UNKNOWN)
        return gates[0], self._other(inputs, gates[0])

    def _only(self, total: Sum) -> tuple[str, Array]:
        """The one tensor that is left in a sum, and its matrix."""
        if len(total.terms) != 1:
            raise Refused(UNKNOWN)
        (name,) = total.terms
        return name, total.take(name)

    def _nothing(self, total: Sum) -> None:
        if total.terms:
            raise Refused(UNKNOWN)


def _filled(bias: Array, width: int) -> Array:
    if bias.size not in (1, width):
        raise Refused(UNKNOWN)
    return np.broadcast_to(bias, (width,)).astype(np.float64)


def computed(maker: onnx.NodeProto, feeds: dict[str, Array], name: str) -> Array | None:
    """What a node gives on constants, None where ONNX's reference implementation cannot tell."""
    try:
        results = [np.asarray(value) for value in ReferenceEvaluator(maker).run(None, feeds)]
    except Exception:  # whatever the library raises, it is no constant then
        return None
    return results[list(maker.output).index(name)]
